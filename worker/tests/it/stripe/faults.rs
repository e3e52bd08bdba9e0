//! Doubts, outages, dead letters, replays.

use axum::http::StatusCode;
use regimen_common::billing::Mode;
use regimen_common::db::billing::claims;
use regimen_common::db::billing::events::{self, EventState, Replayed};
use regimen_worker::jobs::stripe_event::handler;
use serde_json::json;

use super::stripe_api::HoldUp;
use super::worker::{NOW, Worker, event, subscription};

const UPDATED: &str = "customer.subscription.updated";

/// Two accounts of a subscription from the same second.
async fn tie(worker: &Worker, user: uuid::Uuid) {
    let active = subscription("active", Some(user));
    worker.take(&event("evt_1", "customer.subscription.updated", NOW, &active)).await;
    let paused = subscription("paused", Some(user));
    worker.take(&event("evt_2", "customer.subscription.updated", NOW, &paused)).await;
}

/// The same, while `overtaking` is applied between Stripe's answer about the tie and the use
/// of that. Asked again, Stripe says that it is active.
async fn tie_overtaken(worker: &Worker, user: uuid::Uuid, overtaking: &serde_json::Value) {
    let held_up = HoldUp::default();
    worker.stripe.truth.lock().unwrap().held_up = Some(held_up.clone());
    let overtake = async {
        held_up.ready.notified().await;
        worker.stripe.set("subscriptions/sub_1", subscription("active", Some(user)));
        worker.store(overtaking).await;
        let mut client = worker.database.client().await;
        let due = claims::DueEvents { limit: 10, hold: handler::HOLD, quarantine: &[] };
        let due = claims::claim_due(&mut client, &due).await.unwrap().done;
        handler::handle(&worker.deps, &due[0]).await;
        held_up.go.notify_one();
    };
    tokio::join!(tie(worker, user), overtake);
}

#[tokio::test]
async fn a_tie_is_settled_by_stripe() {
    for (truth, plan) in [("active", "pro"), ("paused", "free")] {
        let worker = Worker::new().await;
        let user = worker.profile().await;
        worker.stripe.set("subscriptions/sub_1", subscription(truth, Some(user)));
        tie(&worker, user).await;
        assert_eq!(worker.plan(user).await.0, plan);
        assert_eq!(worker.stripe.asked(), ["subscriptions/sub_1"]);
    }
}

#[tokio::test]
async fn an_answer_that_was_overtaken_does_not_count() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    worker.stripe.set("subscriptions/sub_1", subscription("active", Some(user)));
    let over = subscription("unpaid", Some(user));
    tie_overtaken(&worker, user, &event("evt_3", UPDATED, NOW + 60, &over)).await;
    assert_eq!(worker.plan(user).await.0, "free");
    assert_eq!(worker.state("evt_2").await.0, "applied");
}

/// A pause and its end in one second: the reply in between is of the pause, and the event
/// of its end says what is known already.
#[tokio::test]
async fn an_event_that_only_confirms_what_is_known_overtakes_an_answer_too() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    worker.stripe.set("subscriptions/sub_1", subscription("paused", Some(user)));
    let active = subscription("active", Some(user));
    tie_overtaken(&worker, user, &event("evt_3", UPDATED, NOW, &active)).await;
    assert_eq!(worker.state("evt_3").await.0, "applied");
    assert_eq!(worker.plan(user).await.0, "pro");
    assert_eq!(worker.state("evt_2").await.0, "applied");
}

#[tokio::test]
async fn an_event_in_doubt_waits_while_stripe_is_away() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let busy = (StatusCode::SERVICE_UNAVAILABLE, json!({"error": {"type": "api_error"}}));
    worker.stripe.fail_with(Some(busy));
    tie(&worker, user).await;
    assert_eq!(worker.state("evt_2").await, ("received", Some("stripe_busy".to_owned())));
    assert_eq!(worker.plan(user).await.0, "pro", "as it was");
    worker.stripe.fail_with(None);
    worker.stripe.set("subscriptions/sub_1", subscription("paused", Some(user)));
    let sql = "update regimen.stripe_events set run_at = now()";
    worker.database.client().await.batch_execute(sql).await.unwrap();
    assert_eq!(worker.drain().await, 1);
    assert_eq!(worker.plan(user).await.0, "free");
    assert_eq!(worker.event("evt_2").await.attempts, 2);
}

#[tokio::test]
async fn without_a_key_an_event_in_doubt_is_dead_until_replayed() {
    let worker = Worker::with(&[("STRIPE_SECRET_KEY", "")]).await;
    let user = worker.profile().await;
    tie(&worker, user).await;
    let dead = worker.event("evt_2").await;
    assert_eq!(dead.state.as_str(), "dead");
    assert!(dead.error.1.unwrap().contains("STRIPE_SECRET_KEY"));
    // A later account needs no key, and then the replay finds nothing in doubt.
    let later = subscription("paused", Some(user));
    worker.take(&event("evt_3", "customer.subscription.updated", NOW + 60, &later)).await;
    let client = worker.database.client().await;
    let replayed = events::replay(&client, "evt_2", Mode::Test).await.unwrap();
    assert!(matches!(replayed, Replayed::Again(EventState::Dead)), "{replayed:?}");
    assert_eq!(worker.drain().await, 1);
    assert_eq!(worker.state("evt_2").await.0, "applied");
    assert_eq!(worker.plan(user).await.0, "free");
}

#[tokio::test]
async fn a_wrong_key_is_tried_again_because_operators_mend_it() {
    let worker = Worker::with(&[("STRIPE_SECRET_KEY", "rk_test_other")]).await;
    let user = worker.profile().await;
    tie(&worker, user).await;
    assert_eq!(worker.state("evt_2").await, ("received", Some("stripe_forbidden".to_owned())));
}

#[tokio::test]
async fn a_subscription_stripe_does_not_know_leaves_things_as_they_were() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    tie(&worker, user).await;
    assert_eq!(worker.state("evt_2").await.0, "applied");
    assert_eq!(worker.plan(user).await.0, "pro");
}

#[tokio::test]
async fn an_event_that_cannot_be_written_is_dead_with_its_reason_in_the_end() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let sql = "alter table public.profiles add constraint nobody_is_pro check (plan_id <> 'pro')";
    worker.database.client().await.batch_execute(sql).await.unwrap();
    let made = subscription("active", Some(user));
    worker.take(&event("evt_1", "customer.subscription.created", NOW, &made)).await;
    let mut tries = 1;
    while worker.state("evt_1").await.0 == "received" {
        let sql = "update regimen.stripe_events set run_at = now()";
        worker.database.client().await.batch_execute(sql).await.unwrap();
        tries += worker.drain().await;
    }
    assert_eq!((worker.state("evt_1").await.0, tries), ("dead", 6));
    let sql = "alter table public.profiles drop constraint nobody_is_pro";
    worker.database.client().await.batch_execute(sql).await.unwrap();
    let client = worker.database.client().await;
    let replayed = events::replay(&client, "evt_1", Mode::Test).await.unwrap();
    assert_eq!(replayed, Replayed::Again(EventState::Dead));
    worker.drain().await;
    assert_eq!(worker.plan(user).await.0, "pro");
}
