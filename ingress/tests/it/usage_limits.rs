//! Rate limits, the monthly quota and backpressure, as a client meets them.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Ingress, Send, plans, quiz};

const JOBS: &str = "select count(*) from regimen.jobs where user_id = $1";

#[tokio::test]
async fn the_sixth_request_of_an_hour_is_refused_and_says_when_to_come_back() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    for left in (0..5).rev() {
        let answer = ingress.post("/v1/plans", user, &plans()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let policy = r#""generate-plans";q=5;w=3600, "daily";q=60;w=86400"#;
        assert_eq!(answer.header("ratelimit-policy"), Some(policy));
        let limit = answer.header("ratelimit").unwrap();
        assert!(limit.starts_with(&format!(r#""generate-plans";r={left};t="#)), "{limit}");
    }
    let refused = ingress.post("/generate-plans", user, &json!({"answers": quiz()})).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "quota-exceeded"));
    let iana = "https://iana.org/assignments/http-problem-types#quota-exceeded";
    assert_eq!(refused.body["type"], iana);
    assert_eq!(refused.body["violated-policies"], json!(["generate-plans"]));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((600..=720).contains(&wait), "{wait}");
    let limit = format!(r#""generate-plans";r=0;t={wait}, "daily";r=55;t="#);
    assert!(refused.header("ratelimit").unwrap().starts_with(&limit), "{refused:?}");

    let somebody_else = ingress.post("/v1/plans", Uuid::new_v4(), &plans()).await;
    assert_eq!(somebody_else.status, 202);
    let other_action =
        ingress.request(Method::POST, "/generate-meal-plan", user).json(&json!({})).answer().await;
    assert_eq!(other_action.status, 422, "another limit is not touched");
    assert_eq!(ingress.count(JOBS, user).await, 10);
}

#[tokio::test]
async fn a_refused_or_repeated_request_uses_nothing_up() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    for _ in 0..7 {
        let invalid = ingress.post("/v1/plans", user, &json!({"answers": {}})).await;
        assert_eq!(invalid.status, 422);
        let limit = invalid.header("ratelimit").unwrap();
        assert!(limit.starts_with(r#""generate-plans";r=5;"#), "{limit}");
    }
    let request = || ingress.request(Method::POST, "/v1/plans", user).json(&plans());
    for _ in 0..7 {
        let answer = request().header("idempotency-key", "once").answer().await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let limit = answer.header("ratelimit").unwrap();
        assert!(limit.starts_with(r#""generate-plans";r=4;"#), "{limit}");
    }
    let usage = ingress.get("/v1/usage", user).await.body;
    assert_eq!(usage["tier"], "free");
    assert_eq!(usage["generations"]["used"], 1);
    assert_eq!(remaining(&usage), [30, 59, 4, 10, 10]);
}

/// What is left of billing, daily, generate-plans, meal-plan and workout-plan.
fn remaining(usage: &Value) -> Vec<u64> {
    let rates = usage["rates"].as_array().unwrap();
    rates.iter().map(|rate| rate["remaining"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn two_hundred_requests_at_once_start_five_generations() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let body = plans();
    let answers = (0..200).map(|_| ingress.post("/v1/plans", user, &body));
    let answers = futures_util::future::join_all(answers).await;
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(202), with(429)), (5, 195));
    assert_eq!(ingress.count(JOBS, user).await, 10);
}

#[tokio::test]
async fn paying_users_may_more_often() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let sql = "insert into public.profiles (id, email, plan_id) values ($1, 'x', 'pro')";
    ingress.database.client().await.execute(sql, &[&user]).await.unwrap();
    let answer = ingress.post("/v1/plans", user, &plans()).await;
    assert_eq!(answer.status, 202);
    assert!(answer.header("ratelimit-policy").unwrap().starts_with(r#""generate-plans";q=20;"#));
    let usage = ingress.get("/v1/usage", user).await.body;
    assert_eq!((&usage["tier"], &usage["generations"]["allowed"]), (&json!("pro"), &json!(100)));
}

#[tokio::test]
async fn the_limits_hold_without_redis() {
    let ingress = Ingress::start(&[("REDIS_URL", "redis://127.0.0.1:1/0")]).await;
    let user = Uuid::new_v4();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(ingress.post("/v1/plans", user, &plans()).await.status.as_u16());
    }
    assert_eq!(statuses, [202, 202, 202, 202, 202, 429]);
}

#[tokio::test]
async fn a_shadowed_limit_reports_and_lets_pass() {
    let settings = [("RATE_GENERATE_PLANS", "1/h"), ("RATE_SHADOW", "generate-plans")];
    let ingress = Ingress::start(&settings).await;
    let user = Uuid::new_v4();
    for _ in 0..3 {
        assert_eq!(ingress.post("/v1/plans", user, &plans()).await.status, 202);
    }
}

#[tokio::test]
async fn the_month_is_counted_once_a_generation_and_given_back_for_our_failures() {
    let ingress = Ingress::start(&[]).await;
    let (user, client) = (Uuid::new_v4(), ingress.database.client().await);
    let two = "update public.plans set monthly_ai_generations = 2 where id = 'free'";
    client.batch_execute(two).await.unwrap();
    for _ in 0..2 {
        assert_eq!(ingress.post("/v1/plans", user, &plans()).await.status, 202);
    }
    let refused = ingress.post("/v1/plans", user, &plans()).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "quota-exceeded"));
    assert_eq!(refused.body["violated-policies"], json!(["monthly-generations"]));
    assert_eq!(ingress.count(JOBS, user).await, 4);

    // Nobody started one job of the first generation in time: it no longer counts.
    let expire = "update regimen.jobs set state = 'expired', finished_at = now()
                  where id = (select id from regimen.jobs where user_id = $1 order by id limit 1)";
    client.execute(expire, &[&user]).await.unwrap();
    let usage = ingress.get("/v1/usage", user).await.body;
    assert_eq!(usage["generations"]["left"], 1);
    assert_eq!(ingress.post("/v1/plans", user, &plans()).await.status, 202);
}

#[tokio::test]
async fn too_much_waiting_is_answered_with_the_time_it_takes_to_drain() {
    let ingress = Ingress::start(&[("MAX_QUEUED", "4")]).await;
    for _ in 0..2 {
        assert_eq!(ingress.post("/v1/plans", Uuid::new_v4(), &plans()).await.status, 202);
    }
    let user = Uuid::new_v4();
    let refused = ingress.post("/v1/plans", user, &plans()).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.problem(), "temporary-reduced-capacity");
    assert_eq!(refused.header("retry-after"), Some("60"), "nothing drains");
    assert_eq!(ingress.count(JOBS, user).await, 0);
    let usage = ingress.get("/v1/usage", user).await.body;
    assert_eq!(usage["generations"]["used"], 0);
    assert_eq!(remaining(&usage), [30, 60, 5, 10, 10]);
}
