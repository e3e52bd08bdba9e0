//! The cost of every job can be added up again from its attempts, and so can
//! the ledger, whatever befell the jobs.

use futures_util::future::join_all;
use serde_json::json;

use crate::fleet::{Fleet, soon};

/// Jobs whose three accounts differ: its own sum, its attempts', the ledger's.
const DIFFERING: &str = "
    select count(*) from regimen.jobs j
    cross join lateral (select coalesce(sum(cost_micros), 0) as micros
                        from regimen.job_attempts where job_id = j.id) attempts
    cross join lateral (select coalesce(sum(cost_micros), 0) as micros
                        from regimen.ai_usage where job_id = j.id) ledger
    where j.cost_micros <> attempts.micros or j.cost_micros <> ledger.micros";
const UNDER_WAY: &str = "select count(*) from regimen.jobs where state in ('queued', 'running')";
const ROUNDS: (&str, &str) = ("RETRY_ROUNDS_SECONDS", "0.1,0.1,0.1");

#[tokio::test]
async fn every_cost_adds_up_after_faults_kills_drains_and_cancellations() {
    let mut fleet = Fleet::new(&[ROUNDS, ("PROVIDER_FIRST_BYTE_SECONDS", "2")]).await;
    fleet.ask_all_providers();
    let ingress = fleet.ingress().await;
    let kinds = ["429", "500", "overloaded", "cut", "truncated", "invalid_json"];
    fleet
        .simulator
        .control(json!({
            "mix": {"percent": 30, "kinds": kinds, "seed": 11},
            "latency": {"uniform_ms": [20, 200]},
        }))
        .await;
    let (mut killed, drained, _kept) = tokio::join!(fleet.worker(), fleet.worker(), fleet.worker());
    let jobs = join_all((0..40).map(|_| ingress.submit_one())).await;
    fleet.simulator.wait("calls=10").await;
    killed.process.kill9().await;
    drained.process.terminate();
    // Whether these have ended by then or not, their accounts agree.
    join_all(jobs.iter().step_by(4).map(|(user, job)| ingress.cancel(*user, *job))).await;
    fleet.until_count(UNDER_WAY, 0).await;
    assert_eq!(fleet.count(DIFFERING).await, 0);
    let spent = "select coalesce(sum(cost_micros), 0)::bigint from regimen.ai_usage";
    assert!(fleet.count(spent).await > 0);
}

/// A cancelled call may have been billed in full, and counts so: in the job,
/// in its attempt and in the ledger.
#[tokio::test]
async fn a_cancelled_call_costs_the_most_it_can_in_every_account() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let (user, job) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    ingress.cancel(user, job).await;
    fleet.simulator.wait("aborted=1").await;
    let view = soon("the end", ingress.ended(user, job)).await;
    assert!(view["cost_usd"].as_f64().unwrap() > 0.001, "{view}");
    assert_eq!(fleet.count(DIFFERING).await, 0);
    let page = ingress.get(user, "/v1/jobs").await;
    assert_eq!(page["jobs"][0]["cost_usd"], view["cost_usd"], "{page}");
}

/// The old holder stood still, its job was cancelled, and then the reply came.
/// What the job was said to cost stays what it costs.
#[tokio::test]
async fn a_reply_that_is_judged_after_the_end_changes_no_account() {
    let fleet = Fleet::new(&[("LEASE_SECONDS", "60")]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    let (user, job) = fleet.one_held_job(&ingress).await;
    worker.process.stop();
    ingress.cancel(user, job).await;
    fleet.simulator.release("reply").await;
    fleet.simulator.wait("answered=1").await;
    worker.process.cont();
    fleet.until_metric(&worker, "regimen_round_seconds_count", 1.0).await;
    assert_eq!(fleet.count(DIFFERING).await, 0);
    assert_eq!(ingress.ended(user, job).await["status"], "cancelled");
}
