//! Subscribers whom another service has sold to, read from Stripe once.

use axum::http::StatusCode;
use regimen_worker::periodic::stripe_import::{self, Imported, Outcome};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stripe_api::{HoldUp, StripeApi};
use super::worker::{NOW, Worker, event, subscription};
use crate::fleet::Fleet;

/// A subscription as another service made it: of `customer`, and of nobody by its metadata.
fn sold(n: usize, status: &str, customer: Value) -> Value {
    let mut object = subscription(status, None);
    object["id"] = json!(format!("sub_{n}"));
    object["customer"] = customer;
    object["items"]["data"][0]["current_period_end"] = json!(NOW + 86_400);
    object
}

fn customer(n: usize, metadata: Value) -> Value {
    json!({"id": format!("cus_{n}"), "object": "customer", "created": NOW - 9_999, "metadata": metadata})
}

async fn name_in_profile(worker: &Worker, user: Uuid, customer: &str) {
    let sql = "update public.profiles set stripe_customer_id = $2 where id = $1";
    worker.database.client().await.execute(sql, &[&user, &customer]).await.unwrap();
}

async fn import(worker: &Worker) -> Imported {
    match stripe_import::run(&worker.deps, &|_| {}).await.unwrap() {
        Outcome::Complete(imported) => imported,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn subscribers_of_another_service_are_recognised_and_the_rest_is_told() {
    let worker = Worker::new().await;
    let (by_profile, by_customer, gifted) =
        (worker.profile().await, worker.profile().await, worker.profile().await);
    name_in_profile(&worker, by_profile, "cus_1").await;
    name_in_profile(&worker, gifted, "cus_3").await;
    let gift = "update public.profiles set plan_id = 'pro' where id = $1";
    worker.database.client().await.execute(gift, &[&gifted]).await.unwrap();
    let named = json!({"user_id": by_customer});
    for object in [
        sold(1, "active", customer(1, json!({}))),
        sold(2, "trialing", customer(2, named.clone())),
        sold(3, "canceled", customer(3, json!({}))),
        sold(4, "active", json!("cus_4")),
        sold(5, "canceled", json!("cus_5")),
    ] {
        worker.stripe.set(&format!("subscriptions/{}", object["id"].as_str().unwrap()), object);
    }
    // Somebody who has a customer and never bought anything.
    let visitor = worker.profile().await;
    worker.stripe.set("customers/cus_6", customer(6, json!({"user_id": visitor})));
    worker.stripe.truth.lock().unwrap().size_of_page = 2;

    let first = import(&worker).await;
    assert_eq!((first.looked_at, first.placed), (6, 3), "{first:?}");
    assert_eq!(first.unplaced, [("sub_4".to_owned(), "cus_4".to_owned())].into());
    assert!(first.refused.is_empty(), "{first:?}");
    for (user, expected) in [(by_profile, "pro"), (by_customer, "pro"), (gifted, "pro")] {
        assert_eq!(worker.plan(user).await.0, expected);
    }
    let linked = "select count(*) from regimen.customers where id = 'cus_6' and user_id = $1";
    let client = worker.database.client().await;
    assert_eq!(client.query_one(linked, &[&visitor]).await.unwrap().get::<_, i64>(0), 1);
    let told = "select count(*) from regimen.billing_notices";
    assert_eq!(client.query_one(told, &[]).await.unwrap().get::<_, i64>(0), 0, "nobody is mailed");

    // Again: nothing new; then the operator has put the user into the metadata.
    assert_eq!(import(&worker).await, first);
    let late = worker.profile().await;
    worker
        .stripe
        .set("subscriptions/sub_4", sold(4, "active", customer(4, json!({"user_id": late}))));
    let second = import(&worker).await;
    assert!(second.unplaced.is_empty(), "{second:?}");
    assert_eq!(worker.plan(late).await.0, "pro");
}

/// The page still has the subscription active; its pause is applied before the page is used.
#[tokio::test]
async fn an_event_that_is_applied_meanwhile_counts_over_the_list() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let owner = customer(1, json!({"user_id": user}));
    worker.stripe.set("subscriptions/sub_1", sold(1, "active", owner.clone()));
    let held_up = HoldUp::default();
    worker.stripe.truth.lock().unwrap().list_held_up = Some(held_up.clone());
    let overtake = async {
        held_up.ready.notified().await;
        let mut paused = sold(1, "paused", json!("cus_1"));
        paused["metadata"] = json!({"user_id": user});
        worker.take(&event("evt_1", "customer.subscription.paused", NOW + 2, &paused)).await;
        worker.stripe.set("subscriptions/sub_1", sold(1, "paused", owner));
        held_up.go.notify_one();
    };
    let (imported, ()) = tokio::join!(import(&worker), overtake);
    assert_eq!((imported.placed, imported.refused.len()), (1, 0), "{imported:?}");
    assert_eq!(worker.plan(user).await.0, "free");
    assert_eq!(worker.stripe.asked(), ["subscriptions", "subscriptions/sub_1", "customers"]);
}

#[tokio::test]
async fn a_run_that_was_broken_off_goes_on_where_it_was() {
    let worker = Worker::new().await;
    for n in 1..=6 {
        let user = worker.profile().await;
        let owner = customer(n, json!({"user_id": user}));
        worker.stripe.set(&format!("subscriptions/sub_{n}"), sold(n, "active", owner));
    }
    worker.stripe.truth.lock().unwrap().size_of_page = 2;
    let expired = json!({"error": {"code": "api_key_expired"}});
    let tell = |said: &str| {
        if said.starts_with("subscriptions: 4") {
            worker.stripe.fail_with(Some((StatusCode::UNAUTHORIZED, expired.clone())));
        }
    };
    assert!(stripe_import::run(&worker.deps, &tell).await.is_err());
    let place = "select import_list || ' ' || import_after from regimen.stripe_backfill";
    let client = worker.database.client().await;
    let place: String = client.query_one(place, &[]).await.unwrap().get(0);
    assert_eq!(place, "subscriptions sub_4");

    worker.stripe.fail_with(None);
    let imported = import(&worker).await;
    assert_eq!((imported.looked_at, imported.placed), (2, 2), "only what was left");
    let pro = "select count(*) from public.profiles where plan_id = 'pro'";
    assert_eq!(client.query_one(pro, &[]).await.unwrap().get::<_, i64>(0), 6);
}

#[tokio::test]
async fn the_command_tells_its_progress_and_what_it_could_not_place() {
    let stripe = StripeApi::start().await;
    let settings =
        [("STRIPE_SECRET_KEY", StripeApi::KEY), ("STRIPE_BASE_URL", stripe.url.as_str())];
    let fleet = Fleet::new(&settings).await;
    stripe.set("subscriptions/sub_1", sold(1, "active", json!("cus_1")));
    let (code, said) = fleet.command(&["backfill", "--everything"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("subscriptions: 1 objects read, 1 subscriptions not placed"), "{said}");
    assert!(said.contains("sub_1 of cus_1 is of nobody we know"), "{said}");
    assert!(said.contains("Put user_id into the metadata"), "{said}");
    stripe
        .fail_with(Some((StatusCode::UNAUTHORIZED, json!({"error": {"code": "api_key_expired"}}))));
    let (code, said) = fleet.command(&["backfill", "--everything"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("Stripe refused STRIPE_SECRET_KEY with 401"), "{said}");
}
