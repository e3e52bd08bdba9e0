//! `regimen-worker events …`, the real binary, for the operator who was alerted.

use regimen_common::billing::event::Event;
use regimen_common::db::billing::events::{self, NewEvent, Source};
use regimen_common::test_support::Process;
use serde_json::json;

use super::worker::{NOW, Worker, event, session, subscription};

/// Runs the binary with nothing but the database and the mode; returns exit code and output.
async fn run(worker: &Worker, args: &[&str]) -> (Option<i32>, String) {
    let settings = [("DATABASE_URL", worker.database.url()), ("ENVIRONMENT", "development")];
    let mut process = Process::spawn_with("regimen-worker", args, settings);
    let status = process.wait_exit().await;
    (status.code(), process.output())
}

/// A dead event, an unresolved one and one of the other mode.
async fn trouble() -> Worker {
    let worker = Worker::with(&[("STRIPE_SECRET_KEY", "")]).await;
    let user = worker.profile().await;
    // Two accounts of the same second: only Stripe could tell, and there is no key.
    for (id, status) in [("evt_first", "active"), ("evt_dead", "paused")] {
        let object = subscription(status, Some(user));
        worker.take(&event(id, "customer.subscription.updated", NOW, &object)).await;
    }
    let mut nobody = session("paid", None);
    nobody["customer"] = json!("cus_nobody");
    nobody["subscription"] = json!("sub_nobody");
    worker.take(&event("evt_unresolved", "checkout.session.completed", NOW, &nobody)).await;
    let payload = json!({"id": "evt_live", "object": "event", "type": "invoice.paid",
        "livemode": true});
    let event = Event::from_value(payload.clone()).unwrap();
    let new = NewEvent {
        event: &event,
        payload: &payload.to_string(),
        source: Source::Webhook,
        mismatch: Some("livemode"),
        trace_context: None,
    };
    events::store(&worker.database.client().await, &new).await.unwrap();
    worker
}

#[tokio::test]
async fn the_list_shows_what_needs_somebody_and_why() {
    let worker = trouble().await;
    let (code, said) = run(&worker, &["events", "list"]).await;
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "1 dead: given up",
        "evt_dead  customer.subscription.updated  cus_1  no_stripe_key: STRIPE_SECRET_KEY",
        "1 unresolved: paid by nobody we know",
        "evt_unresolved  checkout.session.completed  cus_nobody  unknown_user",
        "1 mismatched: of the other mode",
        "evt_live  invoice.paid  no customer  livemode",
    ] {
        assert!(said.contains(expected), "{expected:?} in\n{said}");
    }
    assert!(!said.contains("evt_first"), "{said}");
    let (_, said) = run(&worker, &["events", "list", "--state", "unresolved"]).await;
    assert!(said.contains("evt_unresolved") && !said.contains("evt_dead"), "{said}");
    let (code, said) = run(&worker, &["events", "list", "--state", "lost"]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("must be dead, unresolved or mismatched"), "{said}");
}

#[tokio::test]
async fn replayed_events_are_applied_again_and_others_say_why_not() {
    let worker = trouble().await;
    let ids = ["evt_dead", "evt_live", "evt_elsewhere"];
    let (code, said) = run(&worker, &[&["events", "replay"], &ids[..]].concat()).await;
    assert_eq!(code, Some(1));
    for expected in [
        "evt_dead: was dead and will be applied again",
        "evt_live: is of the other mode (STRIPE_LIVEMODE) or another account",
        "evt_elsewhere: is not stored here; `regimen-worker backfill` fetches",
        "2 of the events cannot be replayed; the others were",
    ] {
        assert!(said.contains(expected), "{expected:?} in\n{said}");
    }
    assert_eq!(worker.state("evt_dead").await, ("received", None));
    assert_eq!(worker.state("evt_live").await.0, "mismatched");
    assert_eq!(worker.drain().await, 1);
    assert_eq!(worker.state("evt_dead").await.0, "dead", "the cause was not mended");

    let all = ["events", "replay", "--all-dead", "--as", "ana", "--reason", "Stripe is back"];
    let (code, said) = run(&worker, &all).await;
    assert_eq!((code, said.trim()), (Some(0), "1 dead events will be applied again"));
    assert_eq!(worker.state("evt_dead").await, ("received", None));
    let (_, said) = run(&worker, &["events", "list", "--state", "dead"]).await;
    assert_eq!(said.trim(), "no event is dead");

    // What was refused is not recorded.
    let sql = "select actor || ' ' || action || ' ' || target || ' ' || outcome || ' ' ||
                   coalesce(detail ->> 'reason', '-')
               from regimen.admin_actions order by id desc";
    let rows = worker.database.client().await.query(sql, &[]).await.unwrap();
    let records: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!(records[0], "cli:ana replay_stripe_event evt_dead done Stripe is back");
    assert!(records[1].ends_with(" replay_stripe_event evt_dead done -"), "{records:?}");
}

#[tokio::test]
async fn a_command_that_cannot_work_says_what_to_do() {
    let worker = Worker::new().await;
    let (code, said) = run(&worker, &["events", "replay"]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("<ID") && said.contains("--all-dead"), "{said}");
    let (code, said) = run(&worker, &["event"]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("events"), "{said}");
    let empty = regimen_common::test_support::TestDatabase::empty().await;
    let settings = [("DATABASE_URL", empty.url())];
    let mut process = Process::spawn_with("regimen-worker", &["events", "list"], settings);
    assert!(!process.wait_exit().await.success());
    assert!(process.output().contains("regimen-worker migrate"), "{}", process.output());
}
