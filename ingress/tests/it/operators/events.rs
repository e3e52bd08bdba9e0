//! Stripe's events that need an operator, and replaying them.

use regimen_common::billing::event::Event;
use regimen_common::db::billing::claims::{self, Ending};
use regimen_common::db::billing::events::{self, EventState, NewEvent, Source};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

use crate::harness::{Answer, Ingress, Send};

/// Stores an event that ends in `state`.
async fn event(ingress: &Ingress, id: &str, state: EventState) {
    let client = ingress.database.client().await;
    let payload = json!({"id": id, "object": "event", "type": "invoice.paid", "livemode": true,
        "created": 1_795_392_000, "data": {"object": {"id": "in_1", "customer": "cus_1"}}});
    let payload = payload.to_string();
    let mismatch = (state == EventState::Mismatched).then_some("livemode");
    let event = Event::parse(payload.as_bytes()).unwrap();
    let source = Source::Webhook;
    let new = NewEvent { event: &event, payload: &payload, source, mismatch, trace_context: None };
    events::store(&client, &new).await.unwrap();
    if !matches!(state, EventState::Received | EventState::Mismatched) {
        let ending = Ending { state, reason: Some("a_reason"), customer: None };
        claims::settle(&client, id, &ending).await.unwrap();
    }
}

async fn replay(ingress: &Ingress, id: &str) -> Answer {
    let path = format!("/admin/stripe/events/{id}/replay");
    ingress.as_admin(Method::POST, &path).answer().await
}

#[tokio::test]
async fn what_needs_an_operator_is_listed_and_replayed() {
    let ingress = Ingress::start(&[]).await;
    for state in [EventState::Dead, EventState::Unresolved, EventState::Ignored] {
        event(&ingress, &format!("evt_{state}"), state).await;
    }
    let listed = ingress.as_admin(Method::GET, "/admin/stripe/events").answer().await;
    let one = &listed.body["events"][0];
    assert_eq!((&one["id"], &one["type"]), (&json!("evt_dead"), &json!("invoice.paid")));
    assert_eq!((&one["error_code"], &one["customer_id"]), (&json!("a_reason"), &json!("cus_1")));
    let attention = json!({"dead": 1, "unresolved": 1, "mismatched": 0});
    assert_eq!(listed.body["attention"], attention);
    let path = "/admin/stripe/events?state=unresolved&limit=1";
    let listed = ingress.as_admin(Method::GET, path).answer().await;
    assert_eq!(listed.body["events"][0]["id"], "evt_unresolved");
    for state in ["dead", "unresolved", "ignored"] {
        let id = format!("evt_{state}");
        let answer = replay(&ingress, &id).await;
        assert_eq!((answer.status.as_u16(), &answer.body["was"]), (202, &json!(state)));
        let client = ingress.database.client().await;
        let stored = events::find(&client, &id).await.unwrap().unwrap();
        assert_eq!((stored.state, stored.error), (EventState::Received, (None, None)));
    }
    assert_eq!(replay(&ingress, "evt_none").await.status, 404);
    assert_eq!(replay(&ingress, "evt%00").await.status, 404);
    let path = "/admin/stripe/events?state=gone";
    let answer = ingress.as_admin(Method::GET, path).answer().await;
    assert_eq!(answer.pointers(), ["?state"]);
}

#[tokio::test]
async fn what_is_held_or_of_the_other_mode_is_not_replayed() {
    let ingress = Ingress::start(&[]).await;
    event(&ingress, "evt_held", EventState::Received).await;
    let hold = Duration::from_secs(60);
    let mut client = ingress.database.client().await;
    let due = claims::DueEvents { limit: 1, hold, quarantine: &[] };
    assert_eq!(claims::claim_due(&mut client, &due).await.unwrap().done.len(), 1);
    assert_eq!(replay(&ingress, "evt_held").await.status, 409);
    event(&ingress, "evt_live", EventState::Mismatched).await;
    assert_eq!(replay(&ingress, "evt_live").await.status, 409);
    let live = Ingress::start(&[("STRIPE_LIVEMODE", "true")]).await;
    event(&live, "evt_live", EventState::Mismatched).await;
    assert_eq!(replay(&live, "evt_live").await.status, 202);
}

#[tokio::test]
async fn the_list_is_read_by_pages() {
    let ingress = Ingress::start(&[]).await;
    for n in 1..=5 {
        event(&ingress, &format!("evt_{n}"), EventState::Dead).await;
    }
    // Three of one moment: their ids decide.
    let sql = "update regimen.stripe_events set received_at = now() where id >= 'evt_3'";
    ingress.database.client().await.execute(sql, &[]).await.unwrap();
    let page = async |query: &str| {
        let path = format!("/admin/stripe/events{query}");
        let page = ingress.as_admin(Method::GET, &path).answer().await;
        let events = page.body["events"].as_array().unwrap().iter();
        let ids: Vec<_> = events.map(|event| event["id"].as_str().unwrap()).collect();
        (ids.join(" "), page.body["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(page("?limit=2").await, ("evt_5 evt_4".to_owned(), Some("evt_4".to_owned())));
    // What a cursor names may be replayed in between: its place stays.
    assert_eq!(replay(&ingress, "evt_4").await.status, 202);
    let next = page("?limit=2&cursor=evt_4").await;
    assert_eq!(next, ("evt_3 evt_2".to_owned(), Some("evt_2".to_owned())));
    assert_eq!(page("?limit=2&cursor=evt_2").await, ("evt_1".to_owned(), None));
    assert_eq!(page("?limit=1&cursor=evt_2").await, ("evt_1".to_owned(), None));
    for cursor in ["evt_none", "a%20b", "%00"] {
        let path = format!("/admin/stripe/events?cursor={cursor}");
        let answer = ingress.as_admin(Method::GET, &path).answer().await;
        assert_eq!(answer.pointers(), ["?cursor"], "{cursor}");
    }
}
