//! Events that were never delivered, fetched by the real binaries.

use axum::http::StatusCode;
use regimen_common::clock::Clock;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stripe_api::{HoldUp, StripeApi};
use super::worker::{event, subscription};
use crate::fleet::{Fleet, soon};

const SECRET: &str = "whsec_backfill";
const HOUR: i64 = 3_600;

/// A fleet and the Stripe it asks; nothing looks for events by itself unless
/// `settings` say so.
async fn fleet(settings: &[(&str, &str)]) -> (Fleet, StripeApi) {
    let stripe = StripeApi::start().await;
    let mut all = vec![
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("STRIPE_SECRET_KEY", StripeApi::KEY),
        ("STRIPE_BASE_URL", stripe.url.as_str()),
        ("BACKFILL_HOURS", "0"),
    ];
    all.extend(settings);
    (Fleet::new(&all).await, stripe)
}

/// Ends as `pro` says, by way of events in the order in which Stripe made them.
struct Life {
    user: Uuid,
    pro: bool,
    events: Vec<Value>,
}

/// The story of customer number `n`: bought, billed in vain, and at last
/// recovered or cancelled.
fn life(n: i64, user: Uuid, now: i64) -> Life {
    let pro = n % 3 != 0;
    let of = |status: &str| {
        let mut object = subscription(status, Some(user));
        object["id"] = json!(format!("sub_{n}"));
        object["customer"] = json!(format!("cus_{n}"));
        object["items"]["data"][0]["current_period_end"] = json!(now + 20 * 24 * HOUR);
        object
    };
    let invoice = json!({"id": format!("in_{n}"), "object": "invoice",
        "customer": format!("cus_{n}"), "amount_due": 999, "currency": "eur",
        "parent": {"type": "subscription_details", "subscription_details":
            {"subscription": format!("sub_{n}"), "metadata": {"user_id": user}}}});
    let last = if pro { of("active") } else { of("canceled") };
    let last_kind = if pro { "updated" } else { "deleted" };
    let begin = now - 20 * HOUR + n;
    let make = |step: i64, kind: &str, object: &Value| {
        event(&format!("evt_{n}_{step}"), kind, begin + step * HOUR, object)
    };
    let events = vec![
        make(1, "customer.subscription.created", &of("incomplete")),
        make(2, "customer.subscription.updated", &of("active")),
        make(3, "customer.subscription.updated", &of("past_due")),
        make(4, "invoice.payment_failed", &invoice),
        make(5, &format!("customer.subscription.{last_kind}"), &last),
    ];
    Life { user, pro, events }
}

fn now() -> i64 {
    Clock::system().now().timestamp()
}

/// Everything that happened at Stripe, oldest first, as Stripe lists it.
fn happen(stripe: &StripeApi, lives: &[Life]) -> Vec<Value> {
    let mut all: Vec<Value> = lives.iter().flat_map(|life| life.events.clone()).collect();
    all.sort_by_key(|event| event["created"].as_i64());
    let mut truth = stripe.truth.lock().unwrap();
    truth.events.clone_from(&all);
    for life in lives {
        let object = life.events.last().unwrap()["data"]["object"].clone();
        let path = format!("subscriptions/{}", object["id"].as_str().unwrap());
        truth.objects.insert(path, object);
    }
    all
}

async fn lives(fleet: &Fleet, count: i64) -> Vec<Life> {
    let mut lives = Vec::new();
    for n in 0..count {
        lives.push(life(n, fleet.profile().await, now()));
    }
    lives
}

async fn assert_plans(fleet: &Fleet, lives: &[Life]) {
    for life in lives {
        assert_eq!(fleet.plan_of(life.user).await, if life.pro { "pro" } else { "free" });
    }
}

#[tokio::test]
async fn half_of_the_events_are_lost_and_come_back_once() {
    let (fleet, stripe) = fleet(&[]).await;
    let lives = lives(&fleet, 50).await;
    let all = happen(&stripe, &lives);
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    for (n, event) in all.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        assert_eq!(ingress.door().deliver(event, SECRET).await.status(), 200);
        // Of those that came, Stripe believes half to be undelivered.
        if n % 4 == 0 {
            let id = event["id"].as_str().unwrap().to_owned();
            stripe.truth.lock().unwrap().delivered.insert(id);
        }
    }
    // And of those that did not come, it believes some to be delivered.
    for event in all.iter().skip(1).step_by(10) {
        let id = event["id"].as_str().unwrap().to_owned();
        stripe.truth.lock().unwrap().delivered.insert(id);
    }
    assert_eq!(fleet.count("select count(*) from regimen.stripe_events").await, 125);

    let (code, said) = fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("looked at 250 events of the last 30 days; 125 had been"), "{said}");
    let applied = "select count(*) from regimen.stripe_events where state = 'applied'";
    fleet.until_count(applied, 250).await;
    let fetched = "select count(*) from regimen.stripe_events where source = 'backfill'";
    assert_eq!(fleet.count(fetched).await, 125);
    assert_plans(&fleet, &lives).await;
    // One failed payment a life, told once.
    assert_eq!(fleet.count("select count(*) from public.notifications").await, 50);

    let (code, said) = fleet.command(&["backfill", "--days", "7"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("of the last 7 days; 0 had been missing"), "{said}");
    drop(worker);
}

#[tokio::test]
async fn pages_meet_without_a_gap_or_an_end_that_is_missed() {
    for (events, size_of_page) in [(20, 10), (21, 10), (19, 10), (1, 1), (0, 10)] {
        let (fleet, stripe) = fleet(&[]).await;
        stripe.truth.lock().unwrap().size_of_page = size_of_page;
        let user = fleet.profile().await;
        let begin = now() - HOUR;
        let object = subscription("active", Some(user));
        let make =
            |n| event(&format!("evt_{n}"), "customer.subscription.updated", begin + n, &object);
        // One that Stripe should not be asked for any more.
        let old = event("evt_old", "invoice.paid", now() - 31 * 24 * HOUR, &object);
        stripe.truth.lock().unwrap().events =
            std::iter::once(old).chain((0..events).map(make)).collect();
        let (code, said) = fleet.command(&["backfill"]).await;
        assert_eq!(code, Some(0), "{said}");
        let stored = fleet.count("select count(*) from regimen.stripe_events").await;
        assert_eq!(stored, events, "{events} events on pages of {size_of_page}: {said}");
    }
}

#[tokio::test]
async fn types_without_effect_are_fetched_only_when_stripe_could_not_deliver_them() {
    let (fleet, stripe) = fleet(&[]).await;
    let object = json!({"id": "pm_1", "object": "payment_method"});
    let [taken, lost] = ["evt_taken", "evt_lost"]
        .map(|id| event(id, "payment_method.attached", now() - HOUR, &object));
    {
        let mut truth = stripe.truth.lock().unwrap();
        truth.events = vec![taken, lost];
        truth.delivered.insert("evt_taken".to_owned());
    }
    fleet.command(&["backfill"]).await;
    let stored = fleet.db().await.query("select id from regimen.stripe_events", &[]).await.unwrap();
    let stored: Vec<String> = stored.iter().map(|row| row.get(0)).collect();
    assert_eq!(stored, ["evt_lost"]);
}

#[tokio::test]
async fn a_worker_looks_by_itself_again_after_a_failure_and_not_again_after_a_start() {
    let (fleet, stripe) = fleet(&[("BACKFILL_HOURS", "24")]).await;
    let lives = lives(&fleet, 3).await;
    happen(&stripe, &lives);
    stripe.fail_with(Some((StatusCode::SERVICE_UNAVAILABLE, json!({}))));
    let worker = fleet.worker().await;
    let failed = "select count(*) from regimen.stripe_backfill
                  where failures = 1 and error_code = 'stripe_busy' and holder is null
                      and retry_at > now() + interval '30 seconds'";
    fleet.until_count(failed, 1).await;
    assert_eq!(fleet.count("select count(*) from regimen.stripe_events").await, 0);

    stripe.fail_with(None);
    // A minute passes.
    let sql = "update regimen.stripe_backfill set retry_at = now()";
    fleet.db().await.batch_execute(sql).await.unwrap();
    let applied = "select count(*) from regimen.stripe_events where state = 'applied'";
    fleet.until_count(applied, 15).await;
    let complete = "select count(*) from regimen.stripe_backfill where complete_at is not null
                    and failures = 0 and retry_at is null and holder is null";
    fleet.until_count(complete, 1).await;
    assert_plans(&fleet, &lives).await;
    drop(worker);

    let lists = |asked: Vec<String>| asked.iter().filter(|path| *path == "events").count();
    let before = lists(stripe.asked());
    let worker = fleet.worker().await;
    // Told after each look whether it is time.
    fleet.until_metric(&worker, "regimen_stripe_backfill_age_seconds", 0.0).await;
    assert_eq!(lists(stripe.asked()), before, "it was not time");
    // A day passes.
    let sql = "update regimen.stripe_backfill set complete_at = now() - interval '25 hours'";
    fleet.db().await.batch_execute(sql).await.unwrap();
    fleet.until_count(complete, 1).await;
    let again = "select count(*) from regimen.stripe_backfill
                 where complete_at > now() - interval '1 hour'";
    fleet.until_count(again, 1).await;
    assert!(lists(stripe.asked()) > before);
}

#[tokio::test]
async fn one_looks_at_a_time_and_a_dead_one_is_replaced() {
    let (fleet, stripe) = fleet(&[("BACKFILL_HOURS", "24")]).await;
    let lives = lives(&fleet, 10).await;
    happen(&stripe, &lives);
    let held_up = HoldUp::default();
    {
        let mut truth = stripe.truth.lock().unwrap();
        truth.size_of_page = 10;
        truth.page_held_up = Some(held_up.clone());
    }
    let mut first = fleet.worker().await;
    soon("the second page", held_up.ready.notified()).await;
    let (code, said) = fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("is looking for undelivered events at this moment"), "{said}");
    first.process.kill9().await;
    // A minute passes.
    let sql = "update regimen.stripe_backfill set held_until = now()";
    fleet.db().await.batch_execute(sql).await.unwrap();
    let (code, said) = fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(0), "{said}");
    // Ten of the fifty had been stored before the end.
    assert!(said.contains("looked at 50 events"), "{said}");
    assert!(said.contains("40 had been missing"), "{said}");
    let _worker = fleet.worker().await;
    let applied = "select count(*) from regimen.stripe_events where state = 'applied'";
    fleet.until_count(applied, 50).await;
    assert_plans(&fleet, &lives).await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let (fleet, stripe) = fleet(&[("STRIPE_SECRET_KEY", "rk_test_wrong")]).await;
    let (code, said) = fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("Stripe refused STRIPE_SECRET_KEY with 401"), "{said}");
    drop(stripe);
    let (fleet, _stripe) = self::fleet(&[("STRIPE_SECRET_KEY", "")]).await;
    let (code, said) = fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("STRIPE_SECRET_KEY is not set"), "{said}");
    let (code, said) = fleet.command(&["backfill", "--days", "31"]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("31 is not in 1..=30"), "{said}");
}

#[tokio::test]
async fn events_of_the_other_mode_are_kept_told_of_and_not_applied() {
    let (fleet, stripe) = fleet(&[]).await;
    let user = fleet.profile().await;
    let mut live = event(
        "evt_1",
        "customer.subscription.created",
        now() - HOUR,
        &subscription("active", Some(user)),
    );
    live["livemode"] = json!(true);
    stripe.truth.lock().unwrap().events = vec![live];
    let (code, said) = fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 of them are not applied"), "{said}");
    let kept = "select count(*) from regimen.stripe_events
                where state = 'mismatched' and error_code = 'livemode'";
    assert_eq!(fleet.count(kept).await, 1);
}

/// Postgres refuses one of them for what stands in it, and one of the newest,
/// so that all the others come behind.
#[tokio::test]
async fn an_event_that_cannot_be_stored_is_told_by_its_id_and_holds_up_no_other() {
    let (mut fleet, stripe) = fleet(&[]).await;
    stripe.truth.lock().unwrap().size_of_page = 4;
    let user = fleet.profile().await;
    let object = subscription("active", Some(user));
    let make =
        |n| event(&format!("evt_{n}"), "customer.subscription.updated", now() - HOUR + n, &object);
    stripe.truth.lock().unwrap().events = (0..10).map(make).collect();
    let trouble = "create function regimen.refuse() returns trigger language plpgsql as $$
                   begin raise 'no room for this one'; end $$;
                   create trigger refuse before insert on regimen.stripe_events
                   for each row when (new.id = 'evt_8') execute function regimen.refuse()";
    fleet.db().await.batch_execute(trouble).await.unwrap();
    let (code, said) = fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("looked at 10 events of the last 30 days; 9 had been missing"), "{said}");
    let told: Vec<_> = said.lines().filter(|line| line.contains("evt_")).collect();
    assert_eq!(told, ["evt_8 cannot be stored: Postgres: no room for this one (P0001)"], "{said}");
    assert!(said.contains("1 of the missing events cannot be stored"), "{said}");
    assert!(!said.contains(&user.to_string()) && !said.contains("cus_"), "{said}");
    let count = "select count(*) from regimen.stripe_events";
    assert_eq!(fleet.count(count).await, 9);

    // A worker's own look does not stop there either, and tells the log.
    let anew = "delete from regimen.stripe_events;
                update regimen.stripe_backfill set complete_at = null";
    fleet.db().await.batch_execute(anew).await.unwrap();
    fleet.set("BACKFILL_HOURS", "24");
    let worker = fleet.worker().await;
    let complete = "select count(*) from regimen.stripe_backfill
                    where complete_at is not null and failures = 0 and recovered = 9";
    fleet.until_count(complete, 1).await;
    assert_eq!(fleet.count(count).await, 9);
    assert!(worker.process.output().contains("evt_8"), "{}", worker.process.output());

    let mended = "drop trigger refuse on regimen.stripe_events";
    fleet.db().await.batch_execute(mended).await.unwrap();
    let (code, said) = fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("; 1 had been missing"), "{said}");
    assert_eq!(fleet.count(count).await, 10);
}
