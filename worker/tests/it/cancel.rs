//! Cancelling from any ingress, whether the job waits or runs.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::fleet::{Fleet, soon};

/// What the contract promises for the provider's side.
const PROMISE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_running_job_is_cancelled_by_another_ingress_and_the_call_dropped_within_a_second() {
    // The heartbeat would notice too, but not within a second.
    let fleet = Fleet::new(&[("LEASE_SECONDS", "60")]).await;
    let (ingress, other) = tokio::join!(fleet.ingress(), fleet.ingress());
    let _worker = fleet.worker().await;
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let (user, job) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    let asked_at = Instant::now();
    assert_eq!(other.cancel(user, job).await, StatusCode::ACCEPTED);
    fleet.simulator.wait("aborted=1").await;
    let took = asked_at.elapsed();
    assert!(took < PROMISE, "the provider's call was dropped after {took:?}");
    assert_eq!(ingress.ended(user, job).await["status"], "cancelled");
    assert_eq!(other.cancel(user, job).await, StatusCode::CONFLICT);
    assert_eq!(other.cancel(Uuid::new_v4(), job).await, StatusCode::NOT_FOUND);
    let expected = ["accepted", "claimed", "attempt_started", "cancelled"];
    assert_eq!(fleet.history(job).await, expected);
    assert_eq!(fleet.plans().await, 0);
}

/// While notices do not get through, the heartbeat learns of it.
#[tokio::test]
async fn a_cancellation_whose_notice_is_lost_is_noticed_by_the_heartbeat() {
    // The call itself would wait for longer than this test does.
    let settings = [("LEASE_SECONDS", "1.5"), ("PROVIDER_FIRST_BYTE_SECONDS", "3600")];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let (_, job) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    // Past every ingress: nobody publishes anything.
    let mut client = fleet.db().await;
    let tx = client.transaction();
    regimen_common::db::jobs::cancel(&tx, job, regimen_common::db::jobs::Canceller::Operator, 2)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    fleet.simulator.wait("aborted=1").await;
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_and_never_started() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let user = Uuid::new_v4();
    let jobs = ingress.submit(user, &["meal", "workout"]).await;
    let third = ingress.submit(user, &["meal"]).await[0];
    assert_eq!(ingress.cancel(user, jobs[0]).await, StatusCode::ACCEPTED);
    // Its place goes to the user's next job at once, not only by repair.
    let dispatched = "select count(*) from regimen.jobs
                      where state = 'queued' and dispatched_at is not null";
    assert_eq!(fleet.count(dispatched).await, 2);
    let _worker = fleet.worker().await;
    for job in [jobs[1], third] {
        assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    }
    assert_eq!(fleet.history(jobs[0]).await, ["accepted", "cancelled"]);
    assert_eq!(fleet.simulator.calls_of(jobs[0]).await, 0);
}

#[tokio::test]
async fn whoever_waits_for_a_job_hears_of_its_cancellation() {
    let fleet = Fleet::new(&[]).await;
    let (ingress, other) = tokio::join!(fleet.ingress(), fleet.ingress());
    let (user, job) = ingress.submit_one().await;
    let waiting = ingress.ended(user, job);
    let cancelling = other.cancel(user, job);
    let both = async { tokio::join!(waiting, cancelling) };
    let (view, status) = timeout(Duration::from_secs(30), both).await.unwrap();
    assert_eq!((&view["status"], status), (&json!("cancelled"), StatusCode::ACCEPTED));
}
