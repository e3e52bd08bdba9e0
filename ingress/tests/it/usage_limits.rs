//! Rate limits, the monthly quota and backpressure, as a client meets them.

use std::time::Duration;

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
    assert_eq!(remaining(&usage), [10, 30, 59, 4, 10, 10]);
}

/// The answers of the routes differ: one kept for a route is no answer of another.
#[tokio::test]
async fn an_idempotency_key_holds_for_the_route_it_was_used_on() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let body = json!({"answers": quiz()});
    let post = async |path: &str| {
        let request = ingress.request(Method::POST, path, user).json(&body);
        request.header("idempotency-key", "once").answer().await
    };
    let first = post("/generate-plans").await;
    assert_eq!(first.status, 200, "{first:?}");
    let alias = post("/generate-complete-plan").await;
    assert_eq!(alias.body, first.body, "two names of one route");
    assert_eq!(alias.header("idempotency-replayed"), Some("true"));
    let limit = alias.header("ratelimit").unwrap();
    assert!(limit.starts_with(r#""generate-plans";r=4;"#), "it used nothing up: {limit}");
    for other in ["/v1/plans", "/generate-meal-plan"] {
        let refused = post(other).await;
        let told = (refused.status.as_u16(), refused.problem());
        assert_eq!(told, (422, "idempotency-mismatch"), "{other}: {refused:?}");
    }
    assert_eq!(ingress.count(JOBS, user).await, 2);
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
        let answer = ingress.post("/v1/plans", user, &plans()).await;
        assert_eq!(answer.status, 202);
        let limit = answer.header("ratelimit").unwrap();
        assert!(limit.starts_with(r#""generate-plans";r=0;"#), "{limit}");
    }
    let counted = |outcome: &str, times: u32| {
        format!(
            "regimen_rate_limited_total{{policy=\"generate-plans\",outcome=\"{outcome}\"}} {times}\n"
        )
    };
    let metrics = ingress.metrics().await;
    assert!(metrics.contains(&counted("shadow", 2)), "{metrics}");
    assert!(metrics.contains(&counted("passed", 1)), "{metrics}");
    let usage = ingress.get("/v1/usage", user).await.body;
    assert_eq!(usage["rates"][3]["enforced"], false);
}

/// Whatever becomes of a request on a limited route, its user learns how the
/// limits stand; only who is not known yet has none.
#[tokio::test]
async fn every_answer_of_a_limited_route_tells_of_the_limits() {
    let settings =
        [("MAX_QUEUED", "2"), ("RATE_GENERATE_PLANS", "2/h"), ("BODY_TIMEOUT_SECONDS", "0.2")];
    let ingress = Ingress::start(&settings).await;
    let user = Uuid::new_v4();
    let post = || ingress.request(Method::POST, "/v1/plans", user);
    let json = |body: &'static str| post().header("content-type", "application/json").body(body);
    let foreign = json!({"answers": quiz(), "quiz_result_id": Uuid::new_v4()});
    let named = json!({"answers": quiz(), "user_id": Uuid::new_v4()});
    for (request, status, left) in [
        (json("{"), 400, 2),
        (post().json(&named), 403, 2),
        (post().json(&foreign), 404, 2),
        (post().body("answers=1"), 415, 2),
        (json("{}"), 422, 2),
        (post().json(&plans()), 202, 1),
        (post().json(&plans()), 503, 1),
    ] {
        let answer = request.answer().await;
        assert_eq!(answer.status, status, "{answer:?}");
        let policy = r#""generate-plans";q=2;w=3600, "daily";q=60;w=86400"#;
        assert_eq!(answer.header("ratelimit-policy"), Some(policy), "{answer:?}");
        let limit = answer.header("ratelimit").unwrap();
        assert!(limit.starts_with(&format!(r#""generate-plans";r={left};t="#)), "{answer:?}");
    }
    let unknown = ingress.anonymous(Method::POST, "/v1/plans").json(&plans()).answer().await;
    assert_eq!((unknown.status.as_u16(), unknown.header("ratelimit")), (401, None));
    let unlimited = ingress.get("/v1/usage", user).await;
    assert_eq!(unlimited.header("ratelimit"), None);
}

/// What `/v1/usage` says is what then happens: so many more requests pass, and
/// the next one does not.
#[tokio::test]
async fn usage_tells_the_truth() {
    let settings = [("RATE_GENERATE_PLANS", "4/h"), ("RATE_MEAL_PLAN", "9/h")];
    let ingress = Ingress::start(&settings).await;
    let (user, client) = (Uuid::new_v4(), ingress.database.client().await);
    let month = "update public.plans set monthly_ai_generations = 7 where id = 'free'";
    client.batch_execute(month).await.unwrap();
    let usage = async || ingress.get("/v1/usage", user).await.body;
    let counts = |usage: &Value| {
        let generations = &usage["generations"];
        let number = |name: &str| generations[name].as_u64().unwrap();
        (remaining(usage), number("used"), number("left"))
    };
    assert_eq!(counts(&usage().await), (vec![10, 30, 60, 4, 9, 10], 0, 7));
    assert_eq!(counts(&usage().await), (vec![10, 30, 60, 4, 9, 10], 0, 7), "asking costs nothing");
    for used in 1..=4 {
        let answer = ingress.post("/v1/plans", user, &plans()).await;
        assert_eq!(answer.status, 202);
        let expected = (vec![10, 30, 60 - used, 4 - used, 9, 10], used, 7 - used);
        let usage = usage().await;
        assert_eq!(counts(&usage), expected, "after {used}");
        let limit = answer.header("ratelimit").unwrap();
        assert!(limit.starts_with(&format!(r#""generate-plans";r={};"#, 4 - used)), "{limit}");
    }
    let refused = ingress.post("/v1/plans", user, &plans()).await;
    assert_eq!(refused.body["violated-policies"], json!(["generate-plans"]));
    let usage_now = usage().await;
    let next = usage_now["rates"][3]["next_in_seconds"].as_u64().unwrap();
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(wait.abs_diff(next) <= 5, "{wait} and {next}");

    // Three more generations of this month, from wherever: then it is used up.
    let count = "insert into regimen.generations (id, user_id, at)
                 select gen_random_uuid(), $1, now() from generate_series(1, 3)";
    client.execute(count, &[&user]).await.unwrap();
    assert_eq!(usage().await["generations"]["left"], 0);
    let meal = json!({"answers": quiz()});
    let refused = ingress.post("/generate-meal-plan", user, &meal).await;
    assert_eq!(refused.body["violated-policies"], json!(["monthly-generations"]), "{refused:?}");
    assert_eq!(remaining(&usage().await), [10, 30, 56, 0, 9, 10], "and it cost no rate");
}

/// What was accepted costs money, whatever becomes of it.
#[tokio::test]
async fn a_plan_that_fails_while_its_request_waits_counts() {
    let ingress = Ingress::start(&[("RATE_MEAL_PLAN", "9/h")]).await;
    let (user, client) = (Uuid::new_v4(), ingress.database.client().await);
    let meal = json!({"answers": quiz()});
    let ends = async {
        let open = "select id from regimen.jobs where user_id = $1 and state = 'queued'";
        let job: Uuid = loop {
            if let Some(row) = client.query_opt(open, &[&user]).await.unwrap() {
                break row.get(0);
            }
            tokio::task::yield_now().await;
        };
        let path = format!("/v1/jobs/{job}");
        let cancelled = ingress.request(Method::DELETE, &path, user).answer().await;
        assert_eq!(cancelled.status, 202, "{cancelled:?}");
    };
    let (failed, ()) = tokio::join!(ingress.post("/generate-meal-plan", user, &meal), ends);
    assert_eq!((failed.status.as_u16(), failed.problem()), (502, "plan-failed"));
    let usage = ingress.get("/v1/usage", user).await.body;
    assert_eq!(remaining(&usage), [10, 30, 59, 5, 8, 10]);
}

/// The jobs are accepted, so that the failure to look at them is not the request's.
#[tokio::test]
async fn an_accepted_request_is_answered_with_202_although_its_jobs_cannot_be_read() {
    let ingress = Ingress::start(&[]).await;
    let client = ingress.database.client().await;
    client.batch_execute("alter table regimen.callbacks rename to away").await.unwrap();
    let request = ingress.request(Method::POST, "/v1/plans", Uuid::new_v4()).json(&plans());
    let answer = request.header("prefer", "wait=30").answer().await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.body["jobs"].as_array().unwrap().len(), 2);
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
    assert_eq!(remaining(&usage), [10, 30, 60, 5, 10, 10]);
}

#[tokio::test]
async fn the_time_to_drain_is_measured() {
    let ingress = Ingress::start(&[("MAX_QUEUED", "4")]).await;
    for _ in 0..2 {
        assert_eq!(ingress.post("/v1/plans", Uuid::new_v4(), &plans()).await.status, 202);
    }
    // Six jobs have ended since half a minute: one every five seconds.
    let ended = "insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state,
                     run_at, created_at, expires_at, updated_at, finished_at)
                 select gen_random_uuid(), $1, gen_random_uuid(), 'meal', 'free', '{}', 'succeeded',
                     now(), now(), now(), now(), now() - n * interval '5 seconds'
                 from generate_series(1, 6) n";
    let (user, client) = (Uuid::new_v4(), ingress.database.client().await);
    assert_eq!(client.execute(ended, &[&user]).await.unwrap(), 6);
    // The measurement is at most a second old: the answer changes when it is renewed.
    let renewed = async {
        loop {
            let refused = ingress.post("/v1/plans", Uuid::new_v4(), &plans()).await;
            assert_eq!(refused.problem(), "temporary-reduced-capacity");
            match refused.header("retry-after").unwrap() {
                "60" => {}
                seconds => return seconds.to_owned(),
            }
        }
    };
    let seconds = tokio::time::timeout(Duration::from_secs(30), renewed).await.unwrap();
    // Two too many, at a bit less than one every five seconds: time goes on.
    assert!((10..=20).contains(&seconds.parse::<u64>().unwrap()), "{seconds}");

    // It drains faster from one moment to the next; nobody is told the old pace for long.
    let burst = "update regimen.jobs set finished_at = now() - interval '1 second' * random()
                 where state = 'succeeded'";
    client.batch_execute(burst).await.unwrap();
    let faster = async {
        loop {
            let refused = ingress.post("/v1/plans", Uuid::new_v4(), &plans()).await;
            let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
            if seconds < 10 {
                return seconds;
            }
        }
    };
    let seconds = tokio::time::timeout(Duration::from_secs(30), faster).await.unwrap();
    assert!((1..=8).contains(&seconds), "{seconds}");
}
