//! Users, money and settings.

use regimen_common::db::console::ConsoleRole;
use reqwest::Method;
use serde_json::{Value, json};
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
    // More than the plan's, for this month.
    let allowed = async |admin: &mut Browser| -> i64 {
        let page = admin.get(&path).await.text;
        let number = page.split("0 of ").nth(1).unwrap().split(' ').next().unwrap();
        number.parse().unwrap()
    };
    let before = allowed(&mut admin).await;
    assert_eq!(admin.act(&format!("do=give&user={user}&number=3")).await.status, 303);
    assert_eq!(allowed(&mut admin).await, before + 3);
    let recorded = client
        .query_one(
            "select detail from regimen.admin_actions where action = 'give_generations'",
            &[],
        )
        .await
        .unwrap();
    let recorded: Value = recorded.get(0);
    assert_eq!(recorded, json!({ "number": 3, "of_this_month": 3, "reason": "a test" }));
    let stranger = admin.act(&format!("do=give&user={}&number=3", Uuid::new_v4())).await;
    assert!(stranger.status == 404 && stranger.text.contains("has no profile"), "{stranger:?}");
    let nobody = admin.get(&format!("/console/users?user={}", Uuid::new_v4())).await;
    assert!(nobody.status == 200 && nobody.text.contains("no profile"), "{nobody:?}");
    assert_eq!(admin.get("/console/users?user=x").await.status, 422);
}

#[tokio::test]
async fn a_user_is_found_by_address_by_admins_only() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    submitted(&ingress, user).await;
    let client = ingress.database.client().await;
    client
        .batch_execute(&format!(
            "insert into regimen.billing_notices (event_id, kind, user_id, mail_state, attempts,
                 error, sent_at)
             values ('evt_a', 'payment_failed', '{user}', 'sent', 1, null, now()),
                 ('evt_b', 'trial_will_end', '{user}', 'waiting', 2, 'mailbox of ada is full', null),
                 ('evt_c', 'dispute_opened', '{}', 'failed', 3, 'of somebody else', null)",
            Uuid::new_v4()
        ))
        .await
        .unwrap();
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let token = admin.token().await;
    let mut search = async |email: &str| {
        admin.post("/console/users/search", &[("token", &token), ("email", email)]).await
    };
    for email in ["ADA@example.com", "ada"] {
        let page = search(email).await;
        assert!(page.status == 200 && page.text.contains(&user.to_string()), "{page:?}");
    }
    let none = search("bob@").await;
    assert!(none.text.contains("None.") && !none.text.contains(&user.to_string()), "{none:?}");
    for wrong in ["", "ad", "a\u{7}da", &"a".repeat(255)] {
        let page = search(wrong).await;
        assert!(page.status == 422 && page.text.contains("email must be"), "{wrong:?}: {page:?}");
    }
    let path = format!("/console/users?user={user}");
    let page = admin.get(&path).await;
    for seen in ["payment_failed", "sent at", "trial_will_end", "waiting, 2 tries", "mailbox"] {
        assert!(page.text.contains(seen), "{seen}: {page:?}");
    }
    assert!(!page.text.contains("dispute_opened"), "{page:?}");
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    let page = viewer.get(&path).await;
    assert!(page.text.contains("trial_will_end") && !page.text.contains("mailbox"), "{page:?}");
    assert!(!page.text.contains("name=\"email\""), "{page:?}");
    let token = viewer.token().await;
    let fields = [("token", token.as_str()), ("email", "ada")];
    let refused = viewer.post("/console/users/search", &fields).await;
    assert!(refused.status == 403 && !refused.text.contains("example.com"), "{refused:?}");
    assert!(!ingress.logs().contains("ada@example"), "addresses are in no log");
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
    assert!(!page.text.contains("name=\"user\""), "viewers assign nothing: {page:?}");
    let events = viewer.get("/console/money?state=unresolved").await;
    assert!(events.text.contains("evt_9") && !events.text.contains("Apply again"), "{events:?}");
    for wrong in ["day=x", "state=x", "after=a%00", "type=a%00", "customer=a%0a1", "event=a%20b"] {
        assert_eq!(viewer.get(&format!("/console/money?{wrong}")).await.status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn stripe_events_are_searched_shown_without_persons_and_assigned() {
    let ingress = Ingress::start(&[]).await;
    let (user, other) = (Uuid::new_v4(), Uuid::new_v4());
    submitted(&ingress, user).await;
    let client = ingress.database.client().await;
    let payload = json!({ "data": { "object": {
        "amount": 4711, "customer_email": "bea@example.test",
    }}});
    client
        .batch_execute(&format!(
            "insert into regimen.stripe_events (id, type, customer_id, object_id, payload, source,
                 state, error_code, error_detail, settled_at)
             values
             ('evt_a', 'invoice.paid', 'cus_1', 'in_1', '{payload}', 'webhook', 'unresolved',
                 'unknown_user', null, now()),
             ('evt_b', 'charge.refunded', 'cus_2', null, 'no json', 'backfill', 'applied', null,
                 null, now()),
             ('evt_c', 'invoice.paid', 'cus_2', null, '{{}}', 'webhook', 'dead', 'stripe_away',
                 'what Stripe wrote', now());
             insert into regimen.customers (id, user_id, linked_user, link_source, linked_at)
             values ('cus_2', '{other}', '{other}', 'checkout', now());
             insert into regimen.revenue_days (day, mrr, churn, conversion) values
             (current_date - 1, '{{\"eur\": 123400}}', 0.05, 0.11), (current_date - 2, null, null, null)"
        ))
        .await
        .unwrap();
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    for (query, seen) in [
        ("", vec!["evt_c"]),
        ("?any=1", vec!["evt_a", "evt_b", "evt_c"]),
        ("?any=1&type=invoice.", vec!["evt_a", "evt_c"]),
        ("?customer=cus_2", vec!["evt_b", "evt_c"]),
        ("?customer=cus_2&state=applied", vec!["evt_b"]),
        ("?event=evt_b", vec!["evt_b"]),
        ("?event=evt_x", vec![]),
    ] {
        let page = admin.get(&format!("/console/money{query}")).await;
        for id in ["evt_a", "evt_b", "evt_c"] {
            let link = format!("href=\"/console/events/{id}\"");
            assert_eq!(page.text.contains(&link), seen.contains(&id), "{query} {id}: {page:?}");
        }
    }
    let page = admin.get("/console/money").await;
    for seen in ["1234", "Monthly recurring revenue", "churn", "no job", "customer=cus_1"] {
        assert!(page.text.contains(seen), "{seen}: {page:?}");
    }
    let waiting = "update regimen.jobs set stage = 'budget', dispatched_at = null";
    client.execute(waiting, &[]).await.unwrap();
    assert!(admin.get("/console/money").await.text.contains("2 jobs, the oldest accepted at"));
    // One event: the payload only for admins, for a reason, without persons.
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    let page = viewer.get("/console/events/evt_c").await;
    assert!(page.text.contains("stripe_away") && !page.text.contains("what Stripe wrote"));
    assert!(page.text.contains(&other.to_string()) && !page.text.contains("Payload"), "{page:?}");
    assert_eq!(viewer.get("/console/events/evt_x").await.status, 404);
    let payload = admin.act("do=show-payload&event=evt_a").await;
    assert!(payload.text.contains("4711") && !payload.text.contains("bea@"), "{payload:?}");
    assert!(admin.act("do=show-payload&event=evt_b").await.text.contains("no JSON"));
    assert_eq!(admin.act("do=show-payload&event=evt_x").await.status, 404);
    // Assigning: to a user there is, and nobody's customer is taken away.
    let page = admin.get("/console/events/evt_a").await;
    assert!(page.text.contains("not known") && page.text.contains("value=\"assign\""), "{page:?}");
    let assign = |customer: &str, user: Uuid| format!("do=assign&customer={customer}&user={user}");
    assert_eq!(admin.act(&assign("cus_1", other)).await.status, 404, "no profile");
    assert_eq!(admin.act(&assign("cus_2", user)).await.status, 409, "another user's");
    assert_eq!(admin.act(&assign("cus_1", user)).await.status, 303);
    let state = "select state from regimen.stripe_events where id = 'evt_a'";
    assert_eq!(client.query_one(state, &[]).await.unwrap().get::<_, String>(0), "received");
    let linked = "select count(*) from regimen.customers where id = 'cus_1' and user_id = $1";
    assert_eq!(ingress.count(linked, user).await, 1);
    let page = admin.get("/console/events/evt_a").await;
    assert!(page.text.contains(&user.to_string()) && !page.text.contains("value=\"assign\""));
    let recorded = "select action || ' ' || target from regimen.admin_actions
                    where detail ->> 'reason' = 'a test' order by id";
    let recorded = client.query(recorded, &[]).await.unwrap();
    let recorded: Vec<String> = recorded.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        recorded,
        ["show_stripe_payload evt_a", "show_stripe_payload evt_b", "assign_customer cus_1"]
    );
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
    assert!(page.text.contains("No worker has told its settings"), "{page:?}");
    let client = ingress.database.client().await;
    client
        .batch_execute(
            "insert into regimen.workers (worker_id, version, host, pid, slots, held, draining, settings)
             select id, '1', 'h', 1, 1, 0, false,
                 '[{\"name\": \"WORKER_SLOTS\", \"source\": \"environment\", \"shown\": \"4242\"}]'
             from unnest(array['worker-a', 'worker-b']) id",
        )
        .await
        .unwrap();
    let page = admin.get("/console/settings").await;
    assert!(page.text.contains("worker-a, worker-b") && page.text.contains("4242"), "{page:?}");
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    assert_eq!(viewer.get("/console/settings").await.status, 403);
}
