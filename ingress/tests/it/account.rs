//! A user takes their data along and deletes their account, through the API; nobody
//! else's is touched.

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Ingress, Send, plans};

/// Quizzes, plans and usage beside what a submission leaves, all with the user's name in.
async fn fill(ingress: &Ingress, user: Uuid, rows: i32) {
    let answer = ingress.post("/v1/plans", user, &plans()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let sql = "with quizzes as (
            insert into public.quiz_results (user_id, answers)
            select $1, jsonb_build_object('n', n, 'of', ($1::uuid)::text) from generate_series(1, $2) n
        ), meals as (
            insert into public.ai_meal_plans (user_id, plan_data, is_active)
            select $1, jsonb_build_object('n', n), false from generate_series(1, $2) n
        ), workouts as (
            insert into public.ai_workout_plans
                (user_id, workout_type, duration_per_session, is_active)
            select $1, '[]', 'x', false from generate_series(1, 1)
        )
        insert into regimen.ai_usage
        select gen_random_uuid(), gen_random_uuid(), $1, now(), 'openai', 'm', 10, 0, 5, 1234
        from generate_series(1, $2)";
    let unlimited = "update public.plans set monthly_ai_generations = 100000";
    let client = ingress.database.client().await;
    client.batch_execute(unlimited).await.unwrap();
    client.execute(sql, &[&user, &rows]).await.unwrap();
}

#[tokio::test]
async fn an_export_has_everything_of_the_user_and_nothing_of_others() {
    let ingress = Ingress::start(&[]).await;
    let (user, other) = (Uuid::new_v4(), Uuid::new_v4());
    fill(&ingress, user, 120).await;
    fill(&ingress, other, 3).await;
    let export = ingress.get("/v1/account/export", user).await;
    assert_eq!(export.status, 200, "{export:?}");
    let file = export.header("content-disposition").unwrap();
    assert!(file.starts_with("attachment"), "{file}");
    assert_eq!(export.header("cache-control"), Some("no-store"));
    let count = |name: &str| export.body[name].as_array().map(Vec::len);
    let names = ["quizzes", "meal_plans", "workout_plans", "jobs", "usage"];
    assert_eq!(names.map(count), [120, 120, 1, 2, 120].map(Some), "{:?}", export.body);
    assert_eq!(export.body["profile"]["email"], "ada@example.com");
    assert_eq!(export.body["usage"][0]["cost_usd"], 0.001234);
    assert_eq!(export.body["jobs"][0]["status"], "queued");
    let mut numbers: Vec<i64> = export.body["quizzes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|quiz| quiz["answers"]["n"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=120), "each once");
    let text = export.body.to_string();
    assert!(text.contains(&user.to_string()) && !text.contains(&other.to_string()));

    let nobody = ingress.get("/v1/account/export", Uuid::new_v4()).await;
    assert_eq!(nobody.body["profile"], Value::Null);
    assert_eq!(nobody.body["quizzes"], serde_json::json!([]));
}

#[tokio::test]
async fn deleting_touches_the_own_account_only_and_needs_a_token() {
    let ingress = Ingress::start(&[]).await;
    let (user, other) = (Uuid::new_v4(), Uuid::new_v4());
    fill(&ingress, user, 2).await;
    fill(&ingress, other, 2).await;
    for (method, path) in [(Method::DELETE, "/v1/account"), (Method::GET, "/v1/account/export")] {
        let refused = ingress.anonymous(method.clone(), path).answer().await;
        assert_eq!(refused.status, 401, "{refused:?}");
        let named = format!("{path}?user_id={other}");
        let refused = ingress.request(method, &named, user).answer().await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    let deleted = ingress.request(Method::DELETE, "/v1/account", user).answer().await;
    assert_eq!(deleted.status, 202, "{deleted:?}");
    let quizzes = "select count(*) from public.quiz_results where user_id = $1";
    let profiles = "select count(*) from public.profiles where id = $1";
    for sql in [quizzes, profiles] {
        assert_eq!(ingress.count(sql, user).await, 0, "{sql}");
        assert!(ingress.count(sql, other).await > 0, "{sql}");
    }
    let noted = "select count(*) from regimen.deleted_accounts where user_id = $1";
    assert_eq!((ingress.count(noted, user).await, ingress.count(noted, other).await), (1, 0));
}

#[tokio::test]
async fn both_are_limited_together() {
    let ingress = Ingress::start(&[("RATE_ACCOUNT", "2/h")]).await;
    let user = Uuid::new_v4();
    assert_eq!(ingress.get("/v1/account/export", user).await.status, 200);
    let deleted = ingress.request(Method::DELETE, "/v1/account", user).answer().await;
    assert_eq!(deleted.header("ratelimit-policy"), Some(r#""account";q=2;w=3600"#));
    let refused = ingress.get("/v1/account/export", user).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "quota-exceeded"));
    assert_eq!(ingress.get("/v1/account/export", Uuid::new_v4()).await.status, 200);
}
