//! What the app's old polling route says, from the rows of the replaced service
//! and from our own jobs.

use regimen_common::db::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Ingress, plans};

async fn profile(client: &Client) -> Uuid {
    let user = Uuid::new_v4();
    let sql = "insert into public.profiles (id, email) values ($1, 'ana@example.test')";
    client.execute(sql, &[&user]).await.unwrap();
    user
}

/// A row as the replaced service wrote it, begun so many minutes ago.
async fn meal_row(client: &Client, user: Uuid, status: &str, plan: Option<Value>, minutes: f64) {
    let sql = "insert into public.ai_meal_plans
                   (user_id, plan_data, status, is_active, error_message, generated_at, created_at)
               values ($1, $2, $3::text, $2::jsonb is not null,
                       case when $3::text = 'failed' then 'the model was busy' end,
                       now() - make_interval(mins => $4::float8::int),
                       now() - make_interval(mins => $4::float8::int))";
    client.execute(sql, &[&user, &plan, &status, &minutes]).await.unwrap();
}

async fn meal_status(ingress: &Ingress, user: Uuid) -> (String, Value) {
    let answer = ingress.get(&format!("/plan-status/{user}"), user).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["success"], true);
    let text = answer.body["meal_plan_status"].as_str().unwrap().to_owned();
    (text, answer.body["meal_plan_error"].clone())
}

#[tokio::test]
async fn rows_of_the_replaced_service_are_read() {
    let ingress = Ingress::start(&[]).await;
    let client = ingress.database.client().await;
    let nobody = Uuid::new_v4();
    assert_eq!(meal_status(&ingress, nobody).await, ("not_started".to_owned(), Value::Null));
    let plan = || Some(json!({"meals": []}));
    for (status, plan, minutes, expected) in [
        ("completed", plan(), 90.0, "completed"),
        ("generating", None, 5.0, "generating"),
        ("generating", None, 61.0, "failed"),
        ("failed", None, 1.0, "failed"),
    ] {
        let user = profile(&client).await;
        meal_row(&client, user, status, plan, minutes).await;
        let (found, error) = meal_status(&ingress, user).await;
        assert_eq!(found, expected, "{status} of {minutes} minutes ago");
        assert_eq!(error.is_string(), expected == "failed", "{status}: {error}");
        let answer = ingress.get(&format!("/plan-status/{user}"), user).await;
        assert_eq!(answer.body["workout_plan_status"], "not_started");
    }
    let user = profile(&client).await;
    meal_row(&client, user, "completed", plan(), 90.0).await;
    meal_row(&client, user, "failed", None, 3.0).await;
    let newest = meal_status(&ingress, user).await;
    assert_eq!(newest, ("failed".to_owned(), json!("the model was busy")));
}

#[tokio::test]
async fn the_newer_of_our_job_and_the_apps_row_counts() {
    let ingress = Ingress::start(&[]).await;
    let client = ingress.database.client().await;
    let user = profile(&client).await;
    meal_row(&client, user, "completed", Some(json!({"meals": []})), 60.0).await;
    assert_eq!(ingress.post("/v1/plans", user, &plans()).await.status, 202);
    assert_eq!(meal_status(&ingress, user).await.0, "generating");
    let fail = "update regimen.jobs set state = 'failed', stage = 'done', finished_at = now(),
                    error_code = 'providers_exhausted', error_detail = 'nobody answered'
                where user_id = $1 and kind = 'meal'";
    client.execute(fail, &[&user]).await.unwrap();
    assert_eq!(meal_status(&ingress, user).await, ("failed".to_owned(), json!("nobody answered")));
    meal_row(&client, user, "completed", Some(json!({"meals": []})), -1.0).await;
    assert_eq!(meal_status(&ingress, user).await, ("completed".to_owned(), Value::Null));
}
