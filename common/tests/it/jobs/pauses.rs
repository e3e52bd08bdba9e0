//! A paused queue: every claim looks, whoever claims and however.

use std::time::Duration;

use regimen_common::billing::event::Event;
use regimen_common::db::billing::claims::{self, DueEvents};
use regimen_common::db::billing::events::{self, NewEvent, Source};
use regimen_common::db::billing::repairs::{self, LostIds};
use regimen_common::db::pauses::{self, Pausable};
use regimen_common::dispatch::Weights;
use regimen_common::job::JobClass;
use regimen_common::test_support::TestDatabase;
use serde_json::json;

use super::shared::{
    accept, claim, claim_waiting, one_job, redispatch_lost, request, user_of, whole,
};

const EVEN: Weights = Weights { first: 1, second: 1 };
const HOLD: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nothing_of_a_paused_queue_is_claimed_or_dispatched_again() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let free = one_job(&mut client).await;
    let payer = user_of(&client, JobClass::Pro).await;
    let (pro, _) = accept(&mut client, &request(payer, 1)).await;
    let old = "update regimen.jobs set dispatched_at = now() - interval '1 minute'";
    client.batch_execute(old).await.unwrap();
    assert!(pauses::set(&client, Pausable::Queue, "free", true, "ada").await.unwrap());
    assert!(!pauses::set(&client, Pausable::Queue, "free", true, "bob").await.unwrap());
    assert!(claim(&client, &[free], "w").await.is_empty());
    let lost = redispatch_lost(&mut client, None, HOLD / 60, 9).await;
    assert_eq!(lost, []);
    let direct = claim_waiting(&mut client, 9, EVEN).await;
    assert_eq!(direct.iter().map(|claimed| claimed.id).collect::<Vec<_>>(), pro);
    assert!(pauses::set(&client, Pausable::Queue, "free", false, "ada").await.unwrap());
    let lost = redispatch_lost(&mut client, None, HOLD / 60, 9).await;
    assert_eq!(lost.len(), 1);
    assert_eq!(claim(&client, &[free], "w").await.len(), 1);
}

#[tokio::test]
async fn stripe_events_wait_while_theirs_is_paused() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let payload = json!({"id": "evt_1", "object": "event", "type": "invoice.paid"}).to_string();
    let event = Event::parse(payload.as_bytes()).unwrap();
    let source = Source::Webhook;
    let new =
        NewEvent { event: &event, payload: &payload, source, mismatch: None, trace_context: None };
    pauses::set(&client, Pausable::Queue, "stripe", true, "ada").await.unwrap();
    events::store(&client, &new).await.unwrap();
    let ids = ["evt_1".to_owned()];
    assert!(claims::claim(&client, &ids, HOLD).await.unwrap().is_empty());
    let all = DueEvents { limit: 9, hold: HOLD, quarantine: &[] };
    assert!(whole(claims::claim_due(&mut client, &all).await.unwrap()).is_empty());
    let lost = LostIds { popped_before: None, patience: Duration::ZERO, limit: 9, quarantine: &[] };
    let due = whole(repairs::dispatch_lost(&mut client, &lost).await.unwrap());
    assert!(due.is_empty(), "{due:?}");
    pauses::set(&client, Pausable::Queue, "stripe", false, "ada").await.unwrap();
    assert_eq!(whole(claims::claim_due(&mut client, &all).await.unwrap()).len(), 1);
}

#[test]
fn a_list_without_turns_is_left_alone() {
    let weights = Weights { first: 4, second: 1 };
    assert_eq!(weights.without(true, false).shares(0, 9, (5, 3)), (0, 3));
    assert_eq!(weights.without(false, true).shares(0, 9, (5, 3)), (5, 0));
    assert_eq!(weights.without(true, true).shares(0, 9, (5, 3)), (0, 0));
}
