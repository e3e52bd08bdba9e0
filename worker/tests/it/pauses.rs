//! What operators pause is left alone by real workers, whatever becomes of
//! Redis, and goes on when they say so.

use regimen_common::job::JobClass;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, soon};

async fn act(ingress: &Ingress, path: &str) {
    let request = ingress.door().request(Method::POST, Uuid::new_v4(), path);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "{path}");
}

async fn plan(ingress: &Ingress, user: Uuid, job: Uuid) -> Value {
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    view
}

#[tokio::test]
async fn a_paused_queue_waits_with_and_without_redis() {
    let (postgres, mut redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    act(&ingress, "/admin/queues/free/pause").await;
    fleet.until_metric(&worker, "regimen_queue_paused{class=\"free\"}", 1.0).await;
    let (user, waiting) = ingress.submit_one().await;
    let untouched = "select count(*) from regimen.jobs where class = 'free' and state = 'queued' and last_seq = 1";
    // The other class goes on, past what waits.
    let buyer = Uuid::new_v4();
    for _ in 0..3 {
        let jobs = fleet.accept(buyer, JobClass::Pro, 1).await;
        fleet.push(JobClass::Pro, &jobs).await;
        plan(&ingress, buyer, jobs[0]).await;
    }
    assert_eq!(fleet.count(untouched).await, 1);
    assert_eq!(fleet.queued_in_redis().await, 1, "its id was left where it stood");

    redis.kill9().await;
    fleet.until_metric(&worker, "regimen_redis_away", 1.0).await;
    let jobs = fleet.accept(buyer, JobClass::Pro, 1).await;
    plan(&ingress, buyer, jobs[0]).await;
    assert_eq!(fleet.count(untouched).await, 1);
    redis.restart().await;

    act(&ingress, "/admin/queues/free/resume").await;
    plan(&ingress, user, waiting).await;
}

#[tokio::test]
async fn a_paused_provider_is_passed_over() {
    let fleet = Fleet::new(&[("RETRY_ROUNDS_SECONDS", "3600")]).await;
    let ingress = fleet.ingress().await;
    let url = fleet.simulator.url().to_owned();
    let second = [("ANTHROPIC_API_KEY", "simulated"), ("ANTHROPIC_BASE_URL", url.as_str())];
    let worker = fleet.worker_with(&second).await;
    let paused = async |provider: &str, value: f64| {
        let name = format!("regimen_provider_paused{{provider=\"{provider}\"}}");
        fleet.until_metric(&worker, &name, value).await;
    };
    act(&ingress, "/admin/providers/openai/pause").await;
    paused("openai", 1.0).await;
    let (user, job) = ingress.submit_one().await;
    assert_eq!(plan(&ingress, user, job).await["provider"], "anthropic");
    assert_eq!(fleet.simulator.calls_of(job).await, 1);

    // With nobody left to ask, the job waits for another round.
    act(&ingress, "/admin/providers/anthropic/pause").await;
    paused("anthropic", 1.0).await;
    let (user, job) = ingress.submit_one().await;
    soon("the retry", ingress.event(user, job, "retry_scheduled")).await;
    assert_eq!(fleet.simulator.calls_of(job).await, 0);
    act(&ingress, "/admin/providers/openai/resume").await;
    let resumed = "select count(*) from regimen.pauses where name = 'openai'";
    assert_eq!(fleet.count(resumed).await, 0);
    // Its next round, once the worker has looked.
    let name = "regimen_provider_paused{provider=\"openai\"}";
    fleet.until_value(&worker, name, |value| value == 0.0).await;
    fleet.db().await.batch_execute("update regimen.jobs set run_at = now()").await.unwrap();
    assert_eq!(plan(&ingress, user, job).await["provider"], "openai");
}

#[tokio::test]
async fn resuming_a_provider_lifts_its_cool_downs_and_breakers_in_every_worker() {
    let fleet = Fleet::new(&[("RETRY_ROUNDS_SECONDS", "3600")]).await;
    let ingress = fleet.ingress().await;
    let (first, second) = tokio::join!(fleet.worker(), fleet.worker());
    let answers = [
        serde_json::json!({"do": "status", "status": 429, "retry_after": 1_895_400_000}),
        serde_json::json!({"do": "status", "status": 402}),
        serde_json::json!({"do": "status", "status": 401}),
    ];
    for (answer, lifts) in answers.into_iter().zip(1..) {
        let rule = serde_json::json!({"times": 1, "action": answer});
        fleet.simulator.control(serde_json::json!({"replace": true, "rules": [rule]})).await;
        let (user, job) = ingress.submit_one().await;
        soon("the failure", ingress.event(user, job, "attempt_failed")).await;
        let settled = format!(
            "select count(*) from regimen.jobs where id = '{job}' and state <> 'running'
             and last_seq > 2"
        );
        fleet.until_count(&settled, 1).await;

        // It has not been paused, and is set free all the same.
        act(&ingress, "/admin/providers/openai/resume").await;
        for worker in [&first, &second] {
            let lifted = "regimen_provider_lifts{provider=\"openai\"}";
            fleet.until_metric(worker, lifted, f64::from(lifts)).await;
        }
        for _ in 0..4 {
            let (user, job) = ingress.submit_one().await;
            plan(&ingress, user, job).await;
        }
    }
}
