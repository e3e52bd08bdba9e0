//! SIGTERM: nothing new, what can finish finishes, the rest runs elsewhere.

use std::time::Duration;

use regimen_common::job::JobClass;
use regimen_common::test_support::Binary;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::fleet::{Fleet, soon};

const IN_FLIGHT: usize = 500;

/// Half of the jobs finish during the drain, half hang until it is cut short:
/// how long 250 endings take is the machine's affair.
#[tokio::test]
async fn five_hundred_jobs_in_flight_finish_or_are_handed_back() {
    // No lease runs out meanwhile: what comes back was released.
    let settings = [("WORKER_SLOTS", "500"), ("DRAIN_SECONDS", "3600"), ("LEASE_SECONDS", "60")];
    let fleet = Fleet::new(&settings).await;
    let mut jobs = Vec::with_capacity(IN_FLIGHT);
    for _ in 0..IN_FLIGHT {
        jobs.extend(fleet.accept(Uuid::new_v4(), JobClass::Free, 1).await);
    }
    let (finishing, hanging) = jobs.split_at(IN_FLIGHT / 2);
    let hang = |job: &Uuid| json!({"name": "hang", "marker": job, "action": {"do": "hang"}});
    let rules: Vec<Value> = hanging.iter().map(hang).collect();
    fleet.simulator.control(json!({ "rules": rules })).await;
    fleet.simulator.hold("finish", &[]).await;
    // Only now: a worker would take up what waits before the rules are there.
    let mut worker = fleet.worker().await;
    fleet.push(JobClass::Free, &jobs).await;
    fleet.simulator.wait("open=500").await;
    // Claims of that moment have a bound, whatever the number of slots.
    let at_once = "select max(jobs) from (select count(*) as jobs from regimen.job_events
                   where kind = 'claimed' group by at) claims";
    assert!(fleet.count(at_once).await <= 256);

    worker.process.terminate();
    fleet.until_draining(&worker).await;
    fleet.simulator.release("finish").await;
    let done = "select count(*) from regimen.jobs where state = 'succeeded'";
    fleet.until_count(done, 250).await;
    let transactions = "select count(distinct xmin::text) from regimen.plan_origins";
    assert!(fleet.count(transactions).await < 250, "jobs that end together are written together");
    let running = "select count(*) from regimen.jobs where state = 'running'";
    assert_eq!(fleet.count(running).await, 250, "a drain waits for those that hang");
    worker.process.terminate();
    assert_eq!(soon("the exit", worker.process.wait_exit()).await.code(), Some(0));

    let handed_back = "select count(*) from regimen.jobs where state = 'queued' and drained
                       and attempts = 1 and lost = 0 and dispatched_at is not null
                       and worker_id is null";
    assert_eq!(fleet.count(handed_back).await, 250);
    assert_eq!((fleet.plans().await, finishing.len()), (250, 250));

    // They run elsewhere, and the attempt that was cut short does not count.
    fleet.simulator.forget("hang").await;
    let other = fleet.worker().await;
    fleet.until_count(done, 500).await;
    assert_eq!(fleet.count("select max(attempts)::bigint from regimen.jobs").await, 1);
    assert_eq!(fleet.plans().await, 500);
    drop(other);
}

async fn one_hanging_job(fleet: &Fleet) -> (Binary, Uuid) {
    let worker = fleet.worker().await;
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let job = fleet.accept(Uuid::new_v4(), JobClass::Free, 1).await[0];
    fleet.push(JobClass::Free, &[job]).await;
    fleet.simulator.wait("open=1").await;
    (worker, job)
}

#[tokio::test]
async fn a_drain_ends_when_its_time_is_up() {
    let drain = Duration::from_secs(3);
    let fleet = Fleet::new(&[("DRAIN_SECONDS", "3"), ("LEASE_SECONDS", "60")]).await;
    let (mut worker, job) = one_hanging_job(&fleet).await;
    let asked_at = Instant::now();
    worker.process.terminate();
    assert_eq!(soon("the exit", worker.process.wait_exit()).await.code(), Some(0));
    let took = asked_at.elapsed();
    // Five more seconds are the limit that nothing can stretch.
    assert!(took >= drain && took < drain + Duration::from_secs(5), "{took:?}");
    let expected = ["accepted", "claimed", "attempt_started", "drained"];
    assert_eq!(fleet.history(job).await, expected);
}

#[tokio::test]
async fn the_second_signal_hands_back_at_once() {
    let fleet = Fleet::new(&[("DRAIN_SECONDS", "3600"), ("LEASE_SECONDS", "60")]).await;
    let (mut worker, job) = one_hanging_job(&fleet).await;
    worker.process.terminate();
    // The first is taken in before the second is sent.
    fleet.until_draining(&worker).await;
    worker.process.terminate();
    assert_eq!(soon("the exit", worker.process.wait_exit()).await.code(), Some(0));
    fleet.simulator.wait("aborted=1").await;
    let expected = ["accepted", "claimed", "attempt_started", "drained"];
    assert_eq!(fleet.history(job).await, expected);
}

#[tokio::test]
async fn a_draining_worker_takes_nothing_new() {
    let fleet = Fleet::new(&[("DRAIN_SECONDS", "3600"), ("LEASE_SECONDS", "60")]).await;
    let (worker, _) = one_hanging_job(&fleet).await;
    worker.process.terminate();
    fleet.until_draining(&worker).await;
    let late = fleet.accept(Uuid::new_v4(), JobClass::Free, 1).await[0];
    fleet.push(JobClass::Free, &[late]).await;
    // Somebody else takes it although the draining one has seven free slots.
    let _other = fleet.worker().await;
    fleet.simulator.wait(&format!("calls=1&marker={late}")).await;
    let sql = "select count(distinct worker_id) from regimen.jobs where state = 'running'";
    assert_eq!(fleet.count(sql).await, 2);
}

#[tokio::test]
async fn an_idle_worker_ends_at_once() {
    let fleet = Fleet::new(&[("DRAIN_SECONDS", "3600")]).await;
    let mut worker = fleet.worker().await;
    worker.process.terminate();
    assert_eq!(soon("the exit", worker.process.wait_exit()).await.code(), Some(0));
}
