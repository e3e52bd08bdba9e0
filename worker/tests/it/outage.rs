//! A store goes away: what can go on goes on, nothing is half done, and all
//! comes back by itself.

use regimen_common::test_support::{PrivatePostgres, PrivateRedis};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::fleet::ingress::{body, job_ids};
use crate::fleet::{Fleet, Ingress, soon};

async fn gets_a_plan(ingress: &Ingress) {
    let (user, job) = soon("an answer", ingress.submit_one()).await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
}

async fn readiness(ingress: &Ingress) -> (StatusCode, Value) {
    let request = ingress.door().request(Method::GET, Uuid::new_v4(), "/readyz");
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn without_redis_jobs_are_accepted_watched_and_done() {
    let (postgres, mut redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    gets_a_plan(&ingress).await;
    redis.kill9().await;
    gets_a_plan(&ingress).await;
    fleet.until_metric(&worker, "regimen_redis_away", 1.0).await;
    let (status, ready) = readiness(&ingress).await;
    assert_eq!((status, ready["status"].as_str()), (StatusCode::OK, Some("degraded")));
    gets_a_plan(&ingress).await;

    redis.restart().await;
    // Nobody tells them; they find out.
    let back = async {
        while !worker.process.output().contains("Redis is back") {
            tokio::task::yield_now().await;
        }
    };
    soon("the worker's return to Redis", back).await;
    gets_a_plan(&ingress).await;
    assert_eq!(fleet.plans().await, 4);
}

/// Worse than gone: it holds the connections and answers nobody.
#[tokio::test]
async fn a_redis_that_hangs_holds_up_nobody() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    gets_a_plan(&ingress).await;
    redis.stop();
    gets_a_plan(&ingress).await;
    fleet.until_metric(&worker, "regimen_redis_away", 1.0).await;
    gets_a_plan(&ingress).await;
    redis.cont();
    gets_a_plan(&ingress).await;
    assert_eq!(fleet.plans().await, 4);
}

#[tokio::test]
async fn without_postgres_nothing_is_accepted_and_nothing_half_done() {
    let (mut postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    gets_a_plan(&ingress).await;
    postgres.kill9().await;

    let user = Uuid::new_v4();
    for _ in 0..3 {
        let request = body(&["meal", "workout"]);
        let answer = ingress.door().post_plans(user, &request, Some("key")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let pause: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&pause), "{pause}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unavailable");
    }
    let (status, ready) = readiness(&ingress).await;
    assert_eq!((status, &ready["postgres"]), (StatusCode::SERVICE_UNAVAILABLE, &false.into()));

    postgres.restart().await;
    let of_user = format!("select count(*) from regimen.jobs where user_id = '{user}'");
    assert_eq!(fleet.count(&of_user).await, 0);
    assert_eq!(fleet.count("select count(*) from regimen.idempotency_keys").await, 0);
    // The client's repetition is a first request.
    let request = body(&["meal", "workout"]);
    let answer = ingress.door().post_plans(user, &request, Some("key")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    for job in job_ids(&answer.json::<Value>().await.unwrap()) {
        assert_eq!(soon("a plan", ingress.ended(user, job)).await["status"], "succeeded");
    }
    assert_eq!(fleet.plans().await, 3);
}

/// An orderly restart, as a managed service does it under load.
#[tokio::test]
async fn jobs_under_way_survive_a_restart_of_postgres() {
    let (mut postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let ingress = fleet.ingress().await;
    let _workers = tokio::join!(fleet.worker(), fleet.worker());
    fleet.simulator.hold("running", &[]).await;
    let mut jobs = Vec::new();
    for _ in 0..12 {
        jobs.push(ingress.submit_one().await);
    }
    fleet.simulator.wait("open=12").await;
    postgres.restart().await;
    fleet.simulator.release("running").await;
    for (user, job) in jobs {
        let view = soon("a plan", ingress.ended(user, job)).await;
        assert_eq!(view["status"], "succeeded", "{view}");
        assert_eq!(fleet.simulator.calls_of(job).await, 1, "{:?}", fleet.history(job).await);
    }
    assert_eq!(fleet.plans().await, 12);
}
