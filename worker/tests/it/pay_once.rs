//! A reply that was paid for is used, whatever happens between its arrival and
//! the commit of its plan.

use regimen_common::db::Client;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis};
use serde_json::json;
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, soon};

/// Sessions of this database that wait for a lock on the table of meal plans.
const WAITING_TO_SAVE: &str = "
    select count(*) from pg_locks
    where not granted and relation = 'public.ai_meal_plans'::regclass
      and database = (select oid from pg_database where datname = current_database())";

async fn one_plan_for_one_call(fleet: &Fleet, ingress: &Ingress, user: Uuid, job: Uuid) {
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert_eq!(fleet.simulator.calls_of(job).await, 1, "{:?}", fleet.history(job).await);
    assert_eq!(fleet.plans().await, 1);
    assert_eq!(fleet.count("select count(*) from regimen.job_attempts").await, 1);
}

/// Sessions of this database that wait for the row in which to store a reply.
const WAITING_TO_STORE: &str = "
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '-- store reply%'";

/// Lets the reply of [`Fleet::one_held_job`] come while its row is locked, for as
/// long as the returned session stays in its transaction.
async fn reply_that_waits_to_be_stored(fleet: &Fleet) -> Client {
    let blocker = fleet.db().await;
    let lock = "begin; select from regimen.job_attempts for update";
    blocker.batch_execute(lock).await.unwrap();
    fleet.simulator.release("reply").await;
    fleet.until_count(WAITING_TO_STORE, 1).await;
    blocker
}

/// Kills a worker that has its reply and is about to commit the plan; what it
/// wrote about the reply by then is left as `judged` says.
async fn killed_before_the_commit(judged: &str) {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let mut worker = fleet.worker().await;
    let mut blocker = fleet.db().await;
    let blocking = blocker.transaction();
    blocking.batch_execute("lock table public.ai_meal_plans in exclusive mode").await.unwrap();
    let (user, job) = ingress.submit_one().await;
    fleet.until_count(WAITING_TO_SAVE, 1).await;
    worker.process.kill9().await;
    blocking.rollback().await.unwrap();
    blocker.batch_execute(judged).await.unwrap();
    drop(blocker);
    let _other = fleet.worker().await;
    one_plan_for_one_call(&fleet, &ingress, user, job).await;
    assert!(fleet.history(job).await.contains(&"lease_lost".to_owned()));
}

#[tokio::test]
async fn a_worker_killed_after_it_found_the_reply_good() {
    killed_before_the_commit("select").await;
}

#[tokio::test]
async fn a_worker_killed_before_it_judged_the_reply() {
    killed_before_the_commit("update regimen.job_attempts set outcome = null").await;
}

#[tokio::test]
async fn a_reply_is_stored_before_it_is_read() {
    let fleet = Fleet::new(&[("LEASE_SECONDS", "60")]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    let (user, job) = fleet.one_held_job(&ingress).await;
    let blocker = reply_that_waits_to_be_stored(&fleet).await;
    let read = "regimen_plans_verified_total{kind=\"meal\",outcome=\"clean\"} 1\n";
    assert!(!fleet.metrics(&worker).await.contains(read));
    blocker.batch_execute("rollback").await.unwrap();
    one_plan_for_one_call(&fleet, &ingress, user, job).await;
    assert!(fleet.metrics(&worker).await.contains(read));
}

/// The next holder would not find it, and pay again.
#[tokio::test]
async fn no_job_is_handed_back_before_its_reply_is_stored() {
    let fleet = Fleet::new(&[("LEASE_SECONDS", "60"), ("DRAIN_SECONDS", "3600")]).await;
    let ingress = fleet.ingress().await;
    let mut worker = fleet.worker().await;
    let (user, job) = fleet.one_held_job(&ingress).await;
    let blocker = reply_that_waits_to_be_stored(&fleet).await;
    worker.process.terminate();
    fleet.until_draining(&worker).await;
    worker.process.terminate();
    let cancellation = async {
        while !worker.process.output().contains("stopped working on a job") {
            tokio::task::yield_now().await;
        }
    };
    soon("the second signal's effect", cancellation).await;
    // Releasing takes two statements; these are more.
    for _ in 0..50 {
        let held = "select count(*) from regimen.jobs where state = 'running'";
        assert_eq!(fleet.count(held).await, 1);
    }
    blocker.batch_execute("rollback").await.unwrap();
    assert_eq!(soon("the exit", worker.process.wait_exit()).await.code(), Some(0));
    let _other = fleet.worker().await;
    one_plan_for_one_call(&fleet, &ingress, user, job).await;
    assert!(fleet.history(job).await.contains(&"drained".to_owned()));
}

#[tokio::test]
async fn a_reply_that_comes_while_postgres_is_away_is_kept() {
    let (mut postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[("LEASE_SECONDS", "60")]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    let (user, job) = fleet.one_held_job(&ingress).await;
    postgres.kill9().await;
    fleet.simulator.release("reply").await;
    fleet.simulator.wait("answered=1").await;
    fleet.until_metric(&worker, "regimen_postgres_retries_total", 1.0).await;
    postgres.restart().await;
    one_plan_for_one_call(&fleet, &ingress, user, job).await;
    let expected = ["accepted", "claimed", "attempt_started", "verifying", "saved"];
    assert_eq!(fleet.history(job).await, expected);
}

/// The worker must not act on the job any more, but what it was paid for
/// reaches the next holder.
#[tokio::test]
async fn a_reply_outlives_a_lease_that_postgres_outage_ended() {
    let (mut postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    let (user, job) = fleet.one_held_job(&ingress).await;
    let _other = fleet.worker().await;
    postgres.kill9().await;
    fleet.simulator.release("reply").await;
    fleet.simulator.wait("answered=1").await;
    fleet.until_metric(&worker, "regimen_leases_abandoned_total", 1.0).await;
    postgres.restart().await;
    one_plan_for_one_call(&fleet, &ingress, user, job).await;
}

/// A worker that stood still for longer than its lease wakes up with a reply
/// in its hands: the job has its plan from somebody else and keeps it.
#[tokio::test]
async fn a_worker_that_wakes_up_late_changes_nothing() {
    let fleet = Fleet::new(&[("LEASE_SECONDS", "1")]).await;
    let ingress = fleet.ingress().await;
    let sleeper = fleet.worker().await;
    let rule = json!({"name": "first", "nth": 1, "action": {"do": "hold"}});
    fleet.simulator.control(json!({ "rules": [rule] })).await;
    let (user, job) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    sleeper.process.stop();
    let _other = fleet.worker().await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    let history = fleet.history(job).await;
    fleet.simulator.release("first").await;
    sleeper.process.cont();
    fleet.until_metric(&sleeper, "regimen_round_seconds_count", 1.0).await;
    assert_eq!(fleet.history(job).await, history);
    assert_eq!((fleet.plans().await, fleet.simulator.calls_of(job).await), (1, 2));
}
