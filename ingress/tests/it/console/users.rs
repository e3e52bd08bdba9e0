//! Users, money and settings.

use regimen_common::db::console::ConsoleRole;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::browser::Browser;
use super::looking::submitted;
use crate::harness::{Ingress, Send};

#[tokio::test]
async fn a_user_is_shown_and_their_limits_are_reset() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let [job, _] = submitted(&ingress, user).await;
    let client = ingress.database.client().await;
    client
        .batch_execute(&format!(
            "insert into regimen.customers (id, user_id, linked_user, link_source, linked_at)
             values ('cus_1', '{user}', '{user}', 'checkout', now());
             insert into regimen.subscriptions (id, customer_id, user_id, status, basis, basis_at)
             values ('sub_1', 'cus_1', '{user}', 'past_due', 'event', now());
             insert into regimen.stripe_events (id, type, customer_id, payload, source, state, settled_at)
             values ('evt_1', 'invoice.payment_failed', 'cus_1', '{{}}', 'webhook', 'applied', now())"
        ))
        .await
        .unwrap();
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let path = format!("/console/users?user={user}");
    let page = admin.get(&path).await;
    for seen in [
        "1 of ",
        "sub_1 is past_due",
        "evt_1",
        "cus_1",
        "4 left",
        "ada@example.com",
        &job.to_string(),
    ] {
        assert!(page.text.contains(seen), "{seen}: {page:?}");
    }
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    assert!(!viewer.get(&path).await.text.contains("ada@example.com"), "viewers see no address");
    assert_eq!(admin.act(&format!("do=reset-limits&user={user}")).await.status, 303);
    let page = admin.get(&path).await;
    assert!(page.text.contains("5 left") && page.text.contains("1 of "), "{page:?}");
    assert_eq!(admin.act(&format!("do=reset-month&user={user}")).await.status, 303);
    assert!(admin.get(&path).await.text.contains("0 of "));
    let nobody = admin.get(&format!("/console/users?user={}", Uuid::new_v4())).await;
    assert!(nobody.status == 200 && nobody.text.contains("no profile"), "{nobody:?}");
    assert_eq!(admin.get("/console/users?user=x").await.status, 422);
}

#[tokio::test]
async fn a_user_is_exported_and_erased_for_a_reason() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    submitted(&ingress, user).await;
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let file = admin.act(&format!("do=export&user={user}")).await;
    let kept: Value = serde_json::from_str(&file.text).unwrap();
    assert_eq!(
        (&kept["user_id"], kept["jobs"].as_array().unwrap().len()),
        (&user.to_string().into(), 2)
    );
    let own = ingress.request(Method::GET, "/v1/account/export", user).answer().await.body;
    assert_eq!(own["jobs"], kept["jobs"], "the same as the user gets");
    // Erasing asks for the id.
    let path = format!("/console/act?do=erase&user={user}");
    assert_eq!(admin.act(&format!("do=erase&user={user}")).await.status, 422);
    let profiles = "select count(*) from public.profiles where id = $1";
    assert_eq!(ingress.count(profiles, user).await, 1);
    let token = admin.token().await;
    let typed = user.to_string();
    let fields = [("token", token.as_str()), ("reason", "asked for it"), ("typed", &typed)];
    assert_eq!(admin.post(&path, &fields).await.status, 303);
    assert_eq!(ingress.count(profiles, user).await, 0);
    let sql = "select count(*) from regimen.admin_actions
               where action in ('export_account', 'erase_account') and target = $1::uuid::text
                   and detail ->> 'reason' is not null";
    assert_eq!(ingress.count(sql, user).await, 2);
}

#[tokio::test]
async fn money_is_summed_by_day_provider_model_and_user() {
    let ingress = Ingress::start(&[("BUDGET_DAILY_USD", "7")]).await;
    let user = Uuid::new_v4();
    let client = ingress.database.client().await;
    client
        .batch_execute(&format!(
            "insert into regimen.ai_usage (attempt_id, job_id, user_id, at, provider, model,
                 input_tokens, cached_tokens, output_tokens, cost_micros)
             values (gen_random_uuid(), gen_random_uuid(), '{user}', now(), 'openai', 'gpt-x', 900, 0,
                 400, 2500000);
             insert into regimen.stats_minutely (minute, accepted, succeeded, failed, expired,
                 cancelled, counted, in_time, wait, generation, whole)
             values (date_trunc('minute', now()), 5, 5, 0, 0, 0, 5, 5, '{{}}', '{{}}', '{{}}');
             insert into regimen.stats_providers (minute, provider, calls, cost_micros, outcomes, latency)
             values (date_trunc('minute', now()), 'openai', 1, 2500000, '{{}}', '{{}}'),
                 (date_trunc('minute', now()), 'gemini', 1, 500000, '{{}}', '{{}}');
             insert into regimen.stripe_events (id, type, payload, source, state, error_code, settled_at)
             values ('evt_9', 'x', '{{}}', 'webhook', 'unresolved', 'no_user', now())"
        ))
        .await
        .unwrap();
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    let page = viewer.get("/console/money").await;
    for seen in ["3.0000 USD", "0.6000 USD", "7.00 USD", "openai gpt-x", "1300", "2.5000"] {
        assert!(page.text.contains(seen), "{seen}: {page:?}");
    }
    assert!(viewer.get("/console/money?by=user").await.text.contains(&user.to_string()));
    assert!(viewer.get("/console/money?day=2020-01-01").await.text.contains("No paid call"));
    let events = viewer.get("/console/money?state=unresolved").await;
    assert!(events.text.contains("evt_9") && !events.text.contains("Apply again"), "{events:?}");
    for wrong in ["day=x", "state=x", "after=a%00"] {
        assert_eq!(viewer.get(&format!("/console/money?{wrong}")).await.status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn settings_are_shown_without_secrets_and_to_admins_only() {
    let settings =
        [("SERVICE_KEYS", "a-secret-of-the-settings-page-test-1234"), ("MAX_QUEUED", "777")];
    let ingress = Ingress::start(&settings).await;
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let page = admin.get("/console/settings").await;
    assert!(page.text.contains("777") && page.text.contains("SERVICE_KEYS"), "{page:?}");
    for secret in ["a-secret-of-the-settings", crate::harness::JWT_SECRET, ingress.database.url()] {
        assert!(!page.text.contains(secret), "{secret}");
    }
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    assert_eq!(viewer.get("/console/settings").await.status, 403);
}
