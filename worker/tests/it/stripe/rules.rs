//! What a subscription must be for, and that it must be paid, to give pro; and
//! that plans follow when that is learnt late.

use regimen_common::billing::event::Event;
use regimen_common::billing::verdict::Alert;
use regimen_common::db::billing::claims;
use regimen_worker::jobs::stripe_event::handler;
use regimen_worker::jobs::stripe_event::settle::{self, Settled};
use regimen_worker::periodic::stripe_rules;
use serde_json::{Value, json};
use uuid::Uuid;

use super::worker::{NOW, Worker, event, subscription};

const OURS: (&str, &str) = ("STRIPE_PRICES", "pro=price_pro,year=price_year");

/// A subscription that sells `items`: pairs of price and product.
fn selling(items: &[(&str, &str)], user: Uuid) -> Value {
    let mut sold = subscription("active", Some(user));
    let items: Vec<_> = items
        .iter()
        .map(|(price, product)| {
            json!({"id": "si_1", "object": "subscription_item",
                "current_period_end": 1_800_574_790_i64,
                "price": {"id": price, "object": "price", "product": product}})
        })
        .collect();
    sold["items"]["data"] = json!(items);
    sold
}

/// Settles an event and tells what came of it.
async fn settle(worker: &Worker, event: &Value) -> Settled {
    worker.store(event).await;
    let mut client = worker.database.client().await;
    let due = claims::DueEvents { limit: 1, hold: handler::HOLD, quarantine: &[] };
    let due = claims::claim_due(&mut client, &due).await.unwrap().done;
    drop(client);
    let parsed = Event::from_value(event.clone()).unwrap();
    settle::settle(&worker.deps, &due[0], &parsed).await.unwrap()
}

#[tokio::test]
async fn a_paused_collection_gives_nothing_until_it_is_resumed() {
    let worker = Worker::with(&[OURS]).await;
    for (at, behavior) in ["void", "keep_as_draft", "mark_uncollectible"].iter().enumerate() {
        let user = worker.profile().await;
        let mut sold = subscription("active", Some(user));
        (sold["id"], sold["customer"]) = (json!(format!("sub_{at}")), json!(format!("cus_{at}")));
        let told = |n: i64, object: &Value| {
            event(&format!("evt_{at}_{n}"), "customer.subscription.updated", NOW + n, object)
        };
        worker.take(&told(1, &sold)).await;
        assert_eq!(worker.plan(user).await.0, "pro");
        sold["pause_collection"] = json!({"behavior": behavior, "resumes_at": null});
        worker.take(&told(2, &sold)).await;
        assert_eq!(worker.plan(user).await.0, "free", "{behavior}");
        sold["pause_collection"] = json!({"behavior": behavior, "resumes_at": NOW + 50});
        worker.take(&told(3, &sold)).await;
        assert_eq!(worker.plan(user).await.0, "free", "{behavior}");
        // Stripe resumes by itself; its event is late.
        worker.deps.clock.set(chrono::DateTime::from_timestamp(NOW + 50, 0).unwrap());
        stripe_rules::once(&worker.deps).await.unwrap();
        assert_eq!(worker.plan(user).await.0, "pro", "{behavior}");
        worker.deps.clock.set(chrono::DateTime::from_timestamp(NOW, 0).unwrap());
        stripe_rules::once(&worker.deps).await.unwrap();
        assert_eq!(worker.plan(user).await.0, "free", "{behavior}");
        sold["pause_collection"] = json!(null);
        worker.take(&told(4, &sold)).await;
        assert_eq!(worker.plan(user).await.0, "pro", "{behavior}");
    }
}

#[tokio::test]
async fn only_what_is_ours_gives_pro_and_somebody_is_told_of_the_rest() {
    let old = ("STRIPE_OLD_PRICES", "pro-2024,prod_old");
    let cases = [
        (&[("price_pro", "prod_1")][..], "pro"),
        (&[("price_cups", "prod_cups")], "free"),
        (&[("price_cups", "prod_cups"), ("price_year", "prod_1")], "pro"),
        (&[("pro-2024", "prod_1")], "pro"),
        (&[("price_x", "prod_old")], "pro"),
        (&[], "free"),
    ];
    for (items, expected) in cases {
        let worker = Worker::with(&[OURS, old]).await;
        let user = worker.profile().await;
        let sold = selling(items, user);
        let settled =
            settle(&worker, &event("e", "customer.subscription.created", NOW, &sold)).await;
        assert_eq!(worker.plan(user).await.0, expected, "{items:?}");
        let alerted = settled.alerts.contains(&Alert::ForeignPrice);
        assert_eq!(alerted, expected == "free", "{items:?}");
        let again = event("e2", "customer.subscription.updated", NOW + 9, &sold);
        assert!(settle(&worker, &again).await.alerts.is_empty(), "told once");
    }
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let sold = selling(&[("price_cups", "prod_cups")], user);
    worker.take(&event("e", "customer.subscription.created", NOW, &sold)).await;
    assert_eq!(worker.plan(user).await.0, "pro", "without STRIPE_PRICES nobody can tell");
}

#[tokio::test]
async fn rows_of_older_releases_are_read_anew() {
    let worker = Worker::with(&[OURS]).await;
    let (paused, bought, gone) =
        (worker.profile().await, worker.profile().await, worker.profile().await);
    let gift = worker.profile().await;
    for (id, user, price, status) in [
        ("sub_paused", paused, Some("price_pro"), "active"),
        ("sub_bought", bought, None, "active"),
        ("sub_gone", gone, Some("price_cups"), "active"),
        ("sub_over", gift, Some("price_cups"), "canceled"),
    ] {
        let client = worker.database.client().await;
        let sql = "insert into regimen.customers (id, linked_user, link_source, linked_at, user_id)
                   values ($1, $2, 'checkout', now(), $2)";
        let customer = format!("cus_{id}");
        client.execute(sql, &[&customer, &user]).await.unwrap();
        let sql = "insert into regimen.subscriptions
                       (id, customer_id, user_id, status, price_id, basis, basis_at)
                   values ($1, $2, $3, $4, $5, 'event', now())";
        client.execute(sql, &[&id, &customer, &user, &status, &price]).await.unwrap();
        let sql = "update public.profiles set plan_id = 'pro' where id = $1";
        client.execute(sql, &[&user]).await.unwrap();
    }
    let mut sold = subscription("active", Some(paused));
    sold["id"] = json!("sub_paused");
    sold["pause_collection"] = json!({"behavior": "void", "resumes_at": null});
    worker.stripe.set("subscriptions/sub_paused", sold.clone());
    (sold["id"], sold["metadata"]) = (json!("sub_bought"), json!({"user_id": bought}));
    sold["pause_collection"] = json!(null);
    worker.stripe.set("subscriptions/sub_bought", sold);
    stripe_rules::once(&worker.deps).await.unwrap();
    assert_eq!(worker.plan(paused).await.0, "free");
    assert_eq!(worker.plan(bought).await.0, "pro");
    assert_eq!(worker.plan(gone).await.0, "free", "Stripe knows no more than we do");
    assert_eq!(worker.plan(gift).await.0, "pro", "what an operator gave stays");
    assert_eq!(worker.stripe.asked().len(), 3, "only what is live is asked about");
    stripe_rules::once(&worker.deps).await.unwrap();
    assert_eq!(worker.stripe.asked().len(), 3, "and only once");
}

/// The first one that is looked at cannot be written: the others are all the same.
#[tokio::test]
async fn a_row_that_cannot_be_read_anew_keeps_no_other_from_it() {
    let worker = Worker::with(&[OURS]).await;
    let mut users = Vec::new();
    for n in 0..30 {
        let user = worker.profile().await;
        let mut sold = selling(&[("price_cups", "prod_cups")], user);
        (sold["id"], sold["customer"]) = (json!(format!("sub_{n}")), json!(format!("cus_{n}")));
        worker.take(&event(&format!("evt_{n}"), "customer.subscription.created", NOW, &sold)).await;
        worker.stripe.set(&format!("subscriptions/sub_{n}"), sold);
        users.push(user);
    }
    let poison = "update public.profiles set plan_id = 'pro';
         update regimen.subscriptions set items = null;
         create function regimen.refuse() returns trigger language plpgsql as
             $$ begin raise exception 'poison'; end $$;
         create trigger a_refuse before insert or update on regimen.subscriptions for each row
             when (new.id = 'sub_7') execute function regimen.refuse()";
    worker.database.client().await.batch_execute(poison).await.unwrap();
    stripe_rules::once(&worker.deps).await.unwrap();
    let left = "select array_agg(id) from regimen.subscriptions where items is null";
    let client = worker.database.client().await;
    let left: Vec<String> = client.query_one(left, &[]).await.unwrap().get(0);
    assert_eq!(left, ["sub_7"]);
    for user in users {
        assert_eq!(worker.plan(user).await.0, "free", "the price that is known is none of ours");
    }
}

#[tokio::test]
async fn plans_follow_without_stripe_too() {
    let worker = Worker::with(&[OURS]).await;
    let user = worker.profile().await;
    let sold = selling(&[("price_cups", "prod_cups")], user);
    worker.take(&event("e", "customer.subscription.created", NOW, &sold)).await;
    let client = worker.database.client().await;
    client
        .execute("update public.profiles set plan_id = 'pro' where id = $1", &[&user])
        .await
        .unwrap();
    client.execute("update regimen.subscriptions set items = null", &[]).await.unwrap();
    drop(client);
    worker.stripe.fail_with(Some((axum::http::StatusCode::SERVICE_UNAVAILABLE, json!({}))));
    assert!(stripe_rules::once(&worker.deps).await.is_err());
    assert_eq!(worker.plan(user).await.0, "free");
}

#[tokio::test]
async fn a_second_subscription_is_told_to_operators_once() {
    let worker = Worker::with(&[OURS]).await;
    let user = worker.profile().await;
    let mut sold = subscription("active", Some(user));
    let first = settle(&worker, &event("e1", "customer.subscription.created", NOW, &sold)).await;
    assert!(first.alerts.is_empty() && first.paid_twice.is_empty());
    // The other tab: a customer of its own.
    (sold["id"], sold["customer"]) = (json!("sub_2"), json!("cus_2"));
    let second = settle(&worker, &event("e2", "customer.subscription.created", NOW, &sold)).await;
    assert_eq!(second.alerts, [Alert::SecondSubscription]);
    let both = vec!["sub_1".to_owned(), "sub_2".to_owned()];
    assert_eq!(second.paid_twice, [(user, both)]);
    let again = event("e3", "customer.subscription.updated", NOW + 9, &sold);
    assert!(settle(&worker, &again).await.alerts.is_empty());
}
