//! What was spent, summed up.

use chrono::TimeDelta;
use regimen_common::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Ingress, Send};

async fn spend(ingress: &Ingress, query: &str) -> Answer {
    ingress.as_admin(Method::GET, &format!("/admin/spend{query}")).answer().await
}

fn costs(answer: &Answer, name: &str) -> Vec<(Value, f64, i64)> {
    let sums = answer.body["sums"].as_array().unwrap().iter();
    sums.map(|sum| {
        (sum[name].clone(), sum["cost_usd"].as_f64().unwrap(), sum["calls"].as_i64().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn spend_is_summed_as_asked() {
    let ingress = Ingress::start(&[]).await;
    let client = ingress.database.client().await;
    // Today's and yesterday's noon, so that no test runs over midnight's edge.
    client
        .batch_execute(
            "insert into regimen.ai_usage (attempt_id, job_id, user_id, at, provider, model,
                 input_tokens, cached_tokens, output_tokens, cost_micros)
             select gen_random_uuid(), gen_random_uuid(),
                 ('00000000-0000-0000-0000-00000000000' || who)::uuid,
                 (date_trunc('day', now() at time zone 'UTC') - ago * interval '1 day'
                     + interval '12 hours') at time zone 'UTC',
                 provider, model, 100, 10, 50, cost
             from (values (1, 0, 'openai', 'small', 250000), (2, 0, 'openai', 'small', 500000),
                          (1, 1, 'openai', 'large', 2000000), (1, 1, 'gemini', 'flash', 1000),
                          (1, 40, 'openai', 'small', 7000000)) as u (who, ago, provider, model, cost)",
        )
        .await
        .unwrap();
    let usual = spend(&ingress, "").await;
    assert_eq!(usual.body["total_usd"], 2.751, "{usual:?}");
    assert_eq!(usual.body["sums"].as_array().unwrap().len(), 3);
    let today = Clock::system().now().date_naive();
    let first = &usual.body["sums"][0];
    let expected = json!({"day": today, "provider": "openai", "model": "small", "calls": 2,
        "input_tokens": 200, "cached_tokens": 20, "output_tokens": 100, "cost_usd": 0.75});
    assert_eq!(*first, expected);
    let by_provider = spend(&ingress, "?by=provider").await;
    let expected = [(json!("openai"), 2.75, 3), (json!("gemini"), 0.001, 1)];
    assert_eq!(costs(&by_provider, "provider"), expected);
    let by_user = spend(&ingress, "?by=user").await;
    let user = |n| json!(format!("00000000-0000-0000-0000-00000000000{n}"));
    assert_eq!(costs(&by_user, "user_id"), [(user(1), 2.251, 3), (user(2), 0.5, 1)]);
    let long_ago = today - TimeDelta::days(40);
    let old = spend(&ingress, &format!("?from={long_ago}&to={long_ago}&by=day")).await;
    assert_eq!(costs(&old, "day"), [(json!(long_ago), 7.0, 1)]);
}

#[tokio::test]
async fn wrong_ranges_are_named() {
    let ingress = Ingress::start(&[]).await;
    for (query, pointer) in [
        ("?from=2026-01-02&to=2026-01-01", "?from"),
        ("?from=2024-01-01&to=2026-01-01", "?from"),
        ("?by=moon", "?by"),
    ] {
        assert_eq!(spend(&ingress, query).await.pointers(), [pointer], "{query}");
    }
    assert_eq!(spend(&ingress, "?from=yesterday").await.status, 400);
    let empty = spend(&ingress, "?from=2020-01-01&to=2020-12-31").await;
    assert_eq!((&empty.body["total_usd"], &empty.body["sums"]), (&json!(0.0), &json!([])));
}

/// Rows that were written before numbers were doubted.
#[tokio::test]
async fn absurd_numbers_are_summed_up_as_the_most_that_is_believed() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let sql = "insert into regimen.ai_usage
        select gen_random_uuid(), gen_random_uuid(), $1, now(), 'openai', 'm', n, n, n, n
        from unnest(array[9223372036854775807, 9223372036854775807, -1, 500000]) n";
    ingress.database.client().await.execute(sql, &[&user]).await.unwrap();
    let all = spend(&ingress, "").await;
    assert_eq!((all.status.as_u16(), &all.body["total_usd"]), (200, &json!(200.5)), "{all:?}");
    assert_eq!(all.body["sums"][0]["input_tokens"], 20_500_000);
    let usage = ingress.get("/v1/usage", user).await;
    assert_eq!(usage.status, 200, "{usage:?}");
    assert_eq!(usage.body["spend"]["month_usd_micros"], 200_500_000);
}
