//! A provider that asks to be left alone is left alone, by every worker.

use futures_util::future::join_all;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis};
use serde_json::json;

use crate::fleet::{Fleet, soon};

/// One call is answered with 429 and this hint.
async fn limit_one_call(fleet: &Fleet, seconds: u32) {
    let limit = json!({"do": "status", "status": 429, "retry_after": seconds});
    fleet.simulator.control(json!({"rules": [{"times": 1, "action": limit}]})).await;
}

/// The first call's distance to the second, in seconds.
async fn quiet_after_the_first(fleet: &Fleet) -> f64 {
    let arrivals = fleet.simulator.arrivals().await;
    (arrivals[1] - arrivals[0]) / 1_000.0
}

#[tokio::test]
async fn one_rate_limit_keeps_three_workers_away_for_all_of_its_hint() {
    const HINT: u32 = 20;
    let fleet = Fleet::new(&[("WORKER_SLOTS", "2")]).await;
    let ingress = fleet.ingress().await;
    let _workers = tokio::join!(fleet.worker(), fleet.worker(), fleet.worker());
    limit_one_call(&fleet, HINT).await;
    let (user, job) = ingress.submit_one().await;
    soon("the limit", ingress.event(user, job, "attempt_failed")).await;

    let mut jobs = vec![(user, job)];
    for _ in 0..5 {
        jobs.push(ingress.submit_one().await);
    }
    // Six jobs fill all slots of three workers, with one call made so far.
    let running = "select count(*) from regimen.jobs where state = 'running'";
    fleet.until_count(running, 6).await;
    let holders = "select count(distinct worker_id) from regimen.jobs where state = 'running'";
    assert_eq!(fleet.count(holders).await, 3);
    assert_eq!(fleet.simulator.arrivals().await.len(), 1);

    let ends = join_all(jobs.iter().map(|(user, job)| ingress.ended(*user, *job))).await;
    assert!(ends.iter().all(|view| view["status"] == "succeeded"), "{ends:?}");
    assert_eq!(fleet.simulator.arrivals().await.len(), 7);
    let quiet = quiet_after_the_first(&fleet).await;
    assert!(quiet >= f64::from(HINT), "a call arrived {quiet} s after the limit");
}

#[tokio::test]
async fn without_redis_a_worker_keeps_its_own_jobs_away() {
    const HINT: u32 = 10;
    let (postgres, mut redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    redis.kill9().await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    limit_one_call(&fleet, HINT).await;
    let (user, job) = ingress.submit_one().await;
    let limited = soon("the limit", ingress.event(user, job, "attempt_failed")).await;
    assert_eq!(limited["data"]["class"], "rate_limited", "{limited}");

    let mut jobs = vec![(user, job)];
    for _ in 0..3 {
        jobs.push(ingress.submit_one().await);
    }
    let ends = join_all(jobs.iter().map(|(user, job)| ingress.ended(*user, *job))).await;
    assert!(ends.iter().all(|view| view["status"] == "succeeded"), "{ends:?}");
    let quiet = quiet_after_the_first(&fleet).await;
    assert!(quiet >= f64::from(HINT), "a call arrived {quiet} s after the limit");
    // They were not merely late: the worker had them while it kept away.
    let waited = "select count(*) from regimen.jobs j
                  where (select min(started_at) from regimen.job_attempts where job_id = j.id)
                        > first_claimed_at + interval '1 second'";
    assert_eq!(fleet.count(waited).await, 3);
}
