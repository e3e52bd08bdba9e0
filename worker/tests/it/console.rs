//! What the operators' console has workers do and tell: test calls, settings, prices, and
//! why a provider is not called.

use regimen_common::db::{test_calls, workers};
use serde_json::json;
use uuid::Uuid;

use crate::fleet::Fleet;

/// Asks for a test call as the console does.
async fn ask(fleet: &Fleet, provider: &str, model: &str) -> Option<Uuid> {
    let mut client = fleet.db().await;
    let tx = client.transaction();
    let id = test_calls::ask(&tx, provider, model, "ana").await.unwrap();
    tx.commit().await.unwrap();
    id
}

const ENDED: &str = "select count(*) from regimen.test_calls where ended_at is not null";

#[tokio::test]
async fn one_worker_with_the_key_makes_a_test_call_whatever_is_paused() {
    let fleet = Fleet::new(&[]).await;
    let client = fleet.db().await;
    client
        .batch_execute(
            "insert into regimen.pauses (what, name, paused_by) values ('provider', 'openai', 'x')",
        )
        .await
        .unwrap();
    let _workers = [fleet.worker().await, fleet.worker().await];
    assert!(ask(&fleet, "openai", "gpt-6-luna").await.is_some());
    fleet.until_count(ENDED, 1).await;
    let calls = test_calls::recent(&client, 10).await.unwrap();
    let call = &calls[0];
    assert_eq!(call.outcome.as_deref(), Some("ok"), "{call:?}");
    assert!(call.took_ms.is_some() && call.taken_by.is_some(), "{call:?}");
    assert!(call.input_tokens > Some(0) && call.output_tokens > Some(0), "{call:?}");
    assert!(call.cost_micros > Some(0) && call.cost_micros < Some(10_000), "{call:?}");
    assert_eq!(fleet.simulator.arrivals().await.len(), 1, "one call, by one of both");
    // It is paid for, by nobody, and counts in the day's costs.
    let paid = format!(
        "select count(*) from regimen.ai_usage where cost_micros = {}
             and user_id = '00000000-0000-0000-0000-000000000000'",
        call.cost_micros.unwrap()
    );
    assert_eq!(fleet.count(&paid).await, 1);
    // A failure has its class, and no text of the provider's.
    let rule = json!({"name": "key", "action": {"do": "status", "status": 401}});
    fleet.simulator.control(json!({ "rules": [rule] })).await;
    assert!(ask(&fleet, "openai", "gpt-6-luna").await.is_some());
    fleet.until_count(ENDED, 2).await;
    let calls = test_calls::recent(&client, 10).await.unwrap();
    assert_eq!(calls[0].outcome.as_deref(), Some("unauthorized"), "{calls:?}");
    assert_eq!(calls[0].cost_micros, Some(0));
    // The breaker learns nothing of it.
    let blocked = "select count(*) from regimen.models_in_use where blocked_by is not null";
    assert_eq!(fleet.count(blocked).await, 0);
}

#[tokio::test]
async fn a_test_call_that_no_worker_can_make_expires_and_lets_the_next_one_in() {
    let fleet = Fleet::new(&[]).await;
    let _worker = fleet.worker().await;
    let client = fleet.db().await;
    assert!(ask(&fleet, "gemini", "g").await.is_some());
    assert_eq!(ask(&fleet, "openai", "gpt-6-luna").await, None, "one at a time");
    client
        .batch_execute("update regimen.test_calls set asked_at = now() - interval '61 seconds'")
        .await
        .unwrap();
    let expired = test_calls::recent(&client, 10).await.unwrap();
    assert_eq!(expired[0].outcome.as_deref(), Some("expired"));
    assert!(ask(&fleet, "openai", "gpt-6-luna").await.is_some());
    fleet.until_count(ENDED, 2).await;
    let calls = test_calls::recent(&client, 10).await.unwrap();
    let outcomes: Vec<_> = calls.iter().map(|call| call.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("ok"), Some("expired")]);
}

#[tokio::test]
async fn workers_tell_their_settings_without_secrets() {
    let mut fleet = Fleet::new(&[("WORKER_SLOTS", "7")]).await;
    fleet.set("STRIPE_SECRET_KEY", "sk_test_of_the_settings");
    let _workers = [fleet.worker().await, fleet.worker().await];
    fleet.set("WORKER_SLOTS", "9");
    let _other = fleet.worker().await;
    let told = "select count(*) from regimen.workers where settings is not null";
    fleet.until_count(told, 3).await;
    let client = fleet.db().await;
    let groups = workers::settings(&client).await.unwrap();
    // Each process of the tests has an ADDRESS_FILE of its own, so none are told together.
    let slots = |settings: &[workers::ShownSetting]| {
        settings.iter().find(|(name, _, _)| name == "WORKER_SLOTS").unwrap().2.clone()
    };
    let mut all: Vec<String> = groups.iter().map(|(_, settings)| slots(settings)).collect();
    all.sort_unstable();
    assert_eq!(all, ["7", "7", "9"], "{groups:?}");
    let (_, settings) = groups.iter().find(|(_, settings)| slots(settings) == "7").unwrap();
    let setting = |name: &str| {
        let found = settings.iter().find(|(known, _, _)| known == name).unwrap();
        (found.1.as_str(), found.2.as_str())
    };
    assert_eq!(setting("WORKER_SLOTS"), ("environment", "7"));
    assert_eq!(setting("MODEL_CATALOGUE"), ("default", ""));
    for secret in ["DATABASE_URL", "REDIS_URL", "OPENAI_API_KEY", "STRIPE_SECRET_KEY"] {
        assert_eq!(setting(secret), ("environment", "(hidden)"), "{secret}");
    }
    let text = format!("{groups:?}");
    for secret in ["simulated", "sk_test", "postgres://", fleet.settings()["REDIS_URL"].as_str()] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn workers_tell_prices_and_whether_a_breaker_or_a_cool_down_blocks() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let priced = "select count(*) from regimen.models_in_use
                  where input_price = 0.10 and cached_price = 0.01 and output_price = 0.50
                      and price_source like 'built-in catalogue of 20%' and blocked_by is null";
    fleet.until_count(priced, 1).await;
    let limit = json!({"do": "status", "status": 429, "retry_after": 100});
    fleet.simulator.control(json!({"rules": [{"times": 1, "action": limit}]})).await;
    ingress.submit_one().await;
    let cooling = "select count(*) from regimen.models_in_use
                   where blocked_by = 'cool-down' and not left_alone";
    fleet.until_count(cooling, 1).await;
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let key = json!({"action": {"do": "status", "status": 401}});
    fleet.simulator.control(json!({ "rules": [key] })).await;
    ingress.submit_one().await;
    let open = "select count(*) from regimen.models_in_use
                where blocked_by = 'breaker' and left_alone";
    fleet.until_count(open, 1).await;
}
