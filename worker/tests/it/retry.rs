//! Rounds, deadlines and expiry: waiting holds no slot, and everything ends.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, soon};

fn failing(job: Option<Uuid>, times: u64) -> Value {
    let mut rule = json!({"times": times, "action": {"do": "status", "status": 500}});
    if let Some(job) = job {
        rule["marker"] = json!(job);
    }
    json!({ "rules": [rule] })
}

#[tokio::test]
async fn a_job_waits_for_its_next_round_without_a_slot() {
    let settings =
        [("PROVIDER_ATTEMPTS", "1"), ("WORKER_SLOTS", "1"), ("RETRY_ROUNDS_SECONDS", "3600")];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    fleet.simulator.control(failing(None, 1)).await;
    let (user, waiting) = ingress.submit_one().await;
    let scheduled = soon("the retry", ingress.event(user, waiting, "retry_scheduled")).await;
    assert!(scheduled["data"]["at"].is_string(), "{scheduled}");

    let (other_user, other) = ingress.submit_one().await;
    let view = soon("the other's plan", ingress.ended(other_user, other)).await;
    assert_eq!(view["status"], "succeeded");
    let sql = "select count(*) from regimen.jobs
               where state = 'queued' and rounds = 1 and worker_id is null
                 and run_at > now() + interval '50 minutes' and deadline_at is null";
    assert_eq!(fleet.count(sql).await, 1);

    // Its time comes: found on the next look, and done in its second round.
    fleet.db().await.batch_execute("update regimen.jobs set run_at = now()").await.unwrap();
    let view = soon("the plan", ingress.ended(user, waiting)).await;
    assert_eq!((&view["status"], &view["claims"]), (&json!("succeeded"), &json!(2)), "{view}");
}

#[tokio::test]
async fn after_three_more_rounds_the_job_has_failed() {
    let rounds = ("RETRY_ROUNDS_SECONDS", "0.1,0.1,0.1");
    let fleet = Fleet::new(&[("PROVIDER_ATTEMPTS", "1"), rounds]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    fleet.simulator.control(failing(None, 1_000)).await;
    let (user, job) = ingress.submit_one().await;
    let view = soon("the end", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "failed");
    assert_eq!(view["error"]["code"], "providers_exhausted", "{view}");
    let history = fleet.history(job).await;
    let count = |kind| history.iter().filter(|event| *event == kind).count();
    assert_eq!((count("claimed"), count("retry_scheduled")), (4, 3), "{history:?}");
    assert_eq!(fleet.simulator.calls_of(job).await, 4);
    assert_eq!(fleet.plans().await, 0);
}

#[tokio::test]
async fn a_provider_that_hangs_costs_no_more_than_the_deadline() {
    // Five seconds are the least the fallback thinks worth a call.
    let settings = [("JOB_DEADLINE_SECONDS", "6"), ("RETRY_ROUNDS_SECONDS", "3600")];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let (user, job) = ingress.submit_one().await;
    fleet.simulator.wait("aborted=1").await;
    soon("the retry", ingress.event(user, job, "retry_scheduled")).await;
    let over = "select count(*) from regimen.jobs where updated_at > first_claimed_at
                + interval '6 seconds' + interval '5 seconds'";
    assert_eq!(fleet.count(over).await, 0);
}

#[tokio::test]
async fn a_job_nobody_can_start_in_time_expires() {
    let fleet = Fleet::new(&[("QUEUE_EXPIRY_SECONDS", "1"), ("WORKER_SLOTS", "1")]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    fleet.simulator.hold("slot", &[]).await;
    let (user, running) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    let (late_user, late) = ingress.submit_one().await;
    let view = soon("the expiry", ingress.ended(late_user, late)).await;
    assert_eq!(view["status"], "expired");
    assert_eq!(view["error"]["code"], "expired", "{view}");
    assert_eq!(ingress.cancel(late_user, late).await, 409);
    // A started job does not expire, however long it takes.
    fleet.simulator.release("slot").await;
    assert_eq!(soon("the plan", ingress.ended(user, running)).await["status"], "succeeded");
    assert_eq!(fleet.simulator.calls_of(late).await, 0);
}

/// Three workers in a row die of the same job.
#[tokio::test]
async fn a_job_that_kills_its_workers_is_given_up_with_the_evidence() {
    // A busy machine may stop a process for longer than a second.
    let fleet = Fleet::new(&[("LEASE_SECONDS", "3")]).await;
    let ingress = fleet.ingress().await;
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let (user, job) = ingress.submit_one().await;
    for call in 1..=3 {
        let mut worker = fleet.worker().await;
        fleet.simulator.wait(&format!("calls={call}")).await;
        worker.process.kill9().await;
    }
    let _survivor = fleet.worker().await;
    let failed = soon("the end", ingress.event(user, job, "failed")).await;
    assert_eq!(failed["data"]["code"], "poisoned", "{failed}");
    let evidence = failed["data"]["evidence"].as_array().unwrap();
    let workers: std::collections::HashSet<_> =
        evidence.iter().map(|lost| lost["worker"].as_str().unwrap()).collect();
    assert_eq!(workers.len(), 3, "{failed}");
    assert_eq!(ingress.ended(user, job).await["error"]["code"], "poisoned");
    assert_eq!(fleet.simulator.calls_of(job).await, 3);
}
