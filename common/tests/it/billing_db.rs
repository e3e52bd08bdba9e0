//! The SQL of Stripe's events, customers and notices, on real Postgres.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use regimen_common::billing::Mode;
use regimen_common::billing::entitlement::{EntitlementPolicy, Status};
use regimen_common::billing::event::Event;
use regimen_common::billing::metrics::{CurrencyMetrics, Metrics};
use regimen_common::billing::record::{Basis, Record};
use regimen_common::billing::state::{CustomerState, Link, LinkSource};
use regimen_common::billing::verdict::{BillingNotice, NoticeKind};
use regimen_common::db::Client;
use regimen_common::db::billing::claims::{self, ClaimedEvent, DueEvents, Ending, Failure};
use regimen_common::db::billing::events::{
    self, EventFilter, EventState, NewEvent, Replayed, Source, Stored,
};
use regimen_common::db::billing::notices::{self, DueMails, Mail, MailOutcome};
use regimen_common::db::billing::repairs::{self, DueUnresolved, LostIds, Poisoned};
use regimen_common::db::billing::{customers, profiles, revenue};
use regimen_common::test_support::TestDatabase;
use serde_json::json;
use uuid::Uuid;

const HOLD: Duration = Duration::from_secs(60);
const FAILURE: Failure<'_> = Failure { code: "stripe_away", detail: "no answer" };

async fn store(client: &Client, id: &str, mismatch: Option<&'static str>) -> Stored {
    let payload = json!({"id": id, "object": "event", "type": "invoice.paid", "created": 1_795_392_000,
        "livemode": false, "data": {"object": {"id": "in_1", "customer": {"id": "cus_1"}}}});
    let payload = payload.to_string();
    let event = Event::parse(payload.as_bytes()).unwrap();
    let new = NewEvent {
        event: &event,
        payload: &payload,
        source: Source::Webhook,
        mismatch,
        trace_context: Some("00-a-b-01"),
    };
    events::store(client, &new).await.unwrap()
}

async fn replay(client: &Client, id: &str, mode: Mode) -> Replayed {
    events::replay(client, id, mode).await.unwrap()
}

async fn claim(client: &Client, id: &str) -> Option<ClaimedEvent> {
    claims::claim(client, &[id.to_owned()], HOLD).await.unwrap().pop()
}

async fn state(client: &Client, id: &str) -> EventState {
    events::find(client, id).await.unwrap().unwrap().state
}

async fn profile(client: &Client, plan: &str) -> Uuid {
    let user = Uuid::new_v4();
    let sql =
        "insert into public.profiles (id, email, plan_id) values ($1, 'ana@example.test', $2)";
    client.execute(sql, &[&user, &plan]).await.unwrap();
    user
}

async fn plan_of(client: &Client, user: Uuid) -> (String, Option<String>, Option<String>) {
    let sql = "select plan_id, plan_renewal_date::text, stripe_customer_id
               from public.profiles where id = $1";
    let row = client.query_one(sql, &[&user]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn record(id: &str, status: Status, user: Option<Uuid>) -> Record {
    let mut record = Record::from_checkout(id, "cus_1", true);
    record.status = status;
    record.basis = Basis::Event(1_795_392_000);
    record.period_end = Some(1_800_574_790); // 2027-01-21
    record.metadata_user = user;
    record
}

/// Saves a customer and lets the users' profiles follow, as a worker does.
async fn save(client: &mut Client, customer: &str, after: &CustomerState) {
    let tx = client.transaction();
    customers::lock(&tx, customer).await.unwrap();
    let before = customers::load(&tx, customer).await.unwrap();
    for user in customers::save(&tx, customer, &before, after).await.unwrap() {
        let had = before.users.contains(&user);
        let now: DateTime<Utc> = "2026-12-01T00:00:00Z".parse().unwrap();
        profiles::refresh(&tx, user, had, &EntitlementPolicy::default(), now).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_event_is_stored_once() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    assert!(matches!(store(&client, "evt_1", None).await, Stored::New { .. }));
    assert_eq!(store(&client, "evt_1", None).await, Stored::Duplicate);
    assert!(matches!(store(&client, "evt_2", Some("livemode")).await, Stored::New { .. }));
    assert_eq!(state(&client, "evt_2").await, EventState::Mismatched);
    assert!(claim(&client, "evt_2").await.is_none(), "what is of the other mode is never applied");
    assert_eq!(replay(&client, "evt_2", Mode::Live).await, Replayed::NotOurs);
    let ids = ["evt_1".to_owned(), "evt_9".to_owned()];
    assert_eq!(events::known(&client, &ids).await.unwrap(), ["evt_1"]);
    let stored = events::find(&client, "evt_1").await.unwrap().unwrap();
    assert_eq!(stored.customer.as_deref(), Some("cus_1"));
}

#[tokio::test]
async fn an_event_is_replayed_unless_it_is_held_or_not_ours() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    assert_eq!(replay(&client, "evt_1", Mode::Test).await, Replayed::Missing);
    for ending in [EventState::Applied, EventState::Ignored, EventState::Unresolved] {
        let id = format!("evt_{ending}");
        store(&client, &id, None).await;
        let claimed = claim(&client, &id).await.unwrap();
        assert_eq!(replay(&client, &id, Mode::Test).await, Replayed::Held);
        let ending_of_it = Ending { state: ending, reason: None, customer: None };
        claims::settle(&client, &claimed.id, &ending_of_it).await.unwrap();
        assert_eq!(replay(&client, &id, Mode::Test).await, Replayed::Again(ending));
        assert_eq!(claim(&client, &id).await.unwrap().attempts, 1, "its patience starts anew");
    }
    // One that waits an hour for its next try is tried now.
    store(&client, "evt_late", None).await;
    let claimed = claim(&client, "evt_late").await.unwrap();
    let hour = Duration::from_secs(3_600);
    assert!(claims::retry_later(&client, &claimed, hour, &FAILURE).await.unwrap());
    assert!(claim(&client, "evt_late").await.is_none());
    let again = Replayed::Again(EventState::Received);
    assert_eq!(replay(&client, "evt_late", Mode::Test).await, again);
    assert!(claim(&client, "evt_late").await.is_some());
    // Stored while STRIPE_LIVEMODE was wrong; the event itself is of the test mode.
    store(&client, "evt_mode", Some("livemode")).await;
    assert_eq!(replay(&client, "evt_mode", Mode::Live).await, Replayed::NotOurs);
    assert_eq!(state(&client, "evt_mode").await, EventState::Mismatched);
    let again = Replayed::Again(EventState::Mismatched);
    assert_eq!(replay(&client, "evt_mode", Mode::Test).await, again);
    assert!(claim(&client, "evt_mode").await.is_some());
    // Of a connected account: not ours in any mode.
    store(&client, "evt_account", Some("connected_account")).await;
    let account = "update regimen.stripe_events set account = 'acct_1' where id = 'evt_account'";
    client.execute(account, &[]).await.unwrap();
    assert_eq!(replay(&client, "evt_account", Mode::Test).await, Replayed::NotOurs);
}

#[tokio::test]
async fn a_claim_is_held_by_one_and_settled_once() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    store(&client, "evt_1", None).await;
    let claimed = claim(&client, "evt_1").await.unwrap();
    assert_eq!((claimed.attempts, claimed.trace_context.as_deref()), (1, Some("00-a-b-01")));
    assert!(claim(&client, "evt_1").await.is_none());
    let due = DueEvents { limit: 10, hold: HOLD, quarantine: &[] };
    assert!(claims::claim_due(&mut client, &due).await.unwrap().done.is_empty());
    assert!(claims::lock(&client, "evt_1").await.unwrap());
    let ending = Ending { state: EventState::Applied, reason: None, customer: Some("cus_7") };
    claims::settle(&client, "evt_1", &ending).await.unwrap();
    assert!(!claims::lock(&client, "evt_1").await.unwrap());
    assert!(claims::settle(&client, "evt_1", &ending).await.is_err());
    let stored = events::find(&client, "evt_1").await.unwrap().unwrap();
    assert_eq!((stored.state, stored.customer.as_deref()), (EventState::Applied, Some("cus_7")));
}

#[tokio::test]
async fn a_failed_claim_is_tried_again_and_a_stale_holder_changes_nothing() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    store(&client, "evt_1", None).await;
    let stale = claim(&client, "evt_1").await.unwrap();
    assert!(claims::retry_later(&client, &stale, Duration::ZERO, &FAILURE).await.unwrap());
    let fresh = claim(&client, "evt_1").await.unwrap();
    assert_eq!(fresh.attempts, 2);
    assert!(!claims::retry_later(&client, &stale, Duration::ZERO, &FAILURE).await.unwrap());
    assert!(!claims::bury(&client, &stale, &FAILURE).await.unwrap());
    assert!(claims::bury(&client, &fresh, &FAILURE).await.unwrap());
    let dead = events::newest(&client, EventState::Dead, 10).await.unwrap().pop().unwrap();
    let (code, detail) = dead.error;
    assert_eq!((code.as_deref(), detail.as_deref()), (Some("stripe_away"), Some("no answer")));
    let replayed = events::replay(&client, "evt_1", Mode::Test).await.unwrap();
    assert!(matches!(replayed, Replayed::Again(EventState::Dead)), "{replayed:?}");
    assert_eq!(claim(&client, "evt_1").await.unwrap().attempts, 1);
}

#[tokio::test]
async fn what_redis_lost_and_what_takes_workers_down_is_found() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    store(&client, "evt_1", None).await;
    let lost = async |patience| {
        let lost = LostIds { popped_before: None, patience, limit: 10, quarantine: &[] };
        let mut client = database.client().await;
        repairs::dispatch_lost(&mut client, &lost).await.unwrap().done.len()
    };
    assert_eq!(lost(HOLD).await, 0, "pushed a moment ago");
    assert_eq!(lost(Duration::ZERO).await, 1);
    let long_ago = Some(DateTime::<Utc>::UNIX_EPOCH);
    let standing =
        LostIds { popped_before: long_ago, patience: Duration::ZERO, limit: 10, quarantine: &[] };
    let standing = repairs::dispatch_lost(&mut client, &standing).await.unwrap().done;
    assert!(standing.is_empty(), "still stands in the list");
    // A claim given back is no lost worker.
    let ids = ["evt_1".to_owned()];
    let given_back = claims::claim(&client, &ids, Duration::ZERO).await.unwrap().pop().unwrap();
    claims::retry_later(&client, &given_back, Duration::ZERO, &FAILURE).await.unwrap();
    for _ in 0..2 {
        assert_eq!(claims::claim(&client, &ids, Duration::ZERO).await.unwrap().len(), 1);
    }
    let poisoned = Poisoned { holders: 3, limit: 10, quarantine: &[] };
    assert!(repairs::bury_poisoned(&mut client, &poisoned).await.unwrap().done.is_empty());
    let due = DueEvents { limit: 10, hold: Duration::ZERO, quarantine: &[] };
    assert_eq!(claims::claim_due(&mut client, &due).await.unwrap().done.len(), 1);
    assert_eq!(repairs::bury_poisoned(&mut client, &poisoned).await.unwrap().done, ["evt_1"]);
}

#[tokio::test]
async fn unresolved_events_wake_with_their_customer_or_in_time() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let due = DueUnresolved { limit: 10, quarantine: &[] };
    let unresolved = Ending {
        state: EventState::Unresolved,
        reason: Some("unknown_user"),
        customer: Some("cus_1"),
    };
    store(&client, "evt_1", None).await;
    claims::settle(&client, "evt_1", &unresolved).await.unwrap();
    let woken = repairs::wake_due(&mut client, &due).await.unwrap().done;
    assert!(woken.is_empty(), "not before an hour");
    assert_eq!(claims::wake_unresolved(&client, "cus_2").await.unwrap(), 0);
    assert_eq!(claims::wake_unresolved(&client, "cus_1").await.unwrap(), 1);
    assert_eq!(state(&client, "evt_1").await, EventState::Received);
    claims::settle(&client, "evt_1", &unresolved).await.unwrap();
    let sql = "update regimen.stripe_events set run_at = run_at - interval '1 hour'";
    client.batch_execute(sql).await.unwrap();
    assert_eq!(repairs::wake_due(&mut client, &due).await.unwrap().done, ["evt_1"]);

    // After 30 days it is not looked at again by itself, and stands in nobody's way.
    claims::settle(&client, "evt_1", &unresolved).await.unwrap();
    let old = "update regimen.stripe_events
               set run_at = now(), received_at = now() - interval '31 days'";
    client.batch_execute(old).await.unwrap();
    for _ in 0..2 {
        assert!(repairs::wake_due(&mut client, &due).await.unwrap().done.is_empty());
    }
    let due_for_ever = "select count(*) from regimen.stripe_events where run_at <= now()";
    assert_eq!(client.query_one(due_for_ever, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(claims::wake_unresolved(&client, "cus_1").await.unwrap(), 1);
}

#[tokio::test]
async fn a_customer_is_read_as_it_was_written() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (user, friend) = (profile(&client, "free").await, profile(&client, "free").await);
    let empty = customers::load(&client, "cus_1").await.unwrap();
    assert_eq!((empty.state, empty.revision), (CustomerState::default(), 0));
    let mut full = record("sub_1", Status::PastDue, Some(friend));
    full.fell_due_at = Some(1_795_392_001);
    full.seen_due_at = Some(1_795_392_002);
    full.ends_at = Some(1_795_392_003);
    full.trial_end = Some(1_795_392_004);
    full.price = Some("price_1".into());
    full.created = Some(1_795_392_005);
    let mut checkout = Record::from_checkout("sub_2", "cus_1", false);
    checkout.checkout_user = Some(user);
    let link = Link { source: LinkSource::Checkout, made_at: 1_795_392_006, user };
    let records = vec![full, checkout];
    let state = CustomerState { link: Some(link), records, ..CustomerState::default() };
    save(&mut client, "cus_1", &state).await;
    let stored = customers::load(&client, "cus_1").await.unwrap();
    let expected = CustomerState { profile_user: Some(user), ..state.clone() };
    assert_eq!((stored.state, stored.revision), (expected, 1));
    assert_eq!(stored.users, BTreeSet::from([user, friend]));
}

#[tokio::test]
async fn the_profile_follows_the_subscription_both_ways() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = profile(&client, "free").await;
    let mut state = CustomerState {
        records: vec![record("sub_1", Status::Active, Some(user))],
        ..CustomerState::default()
    };
    save(&mut client, "cus_1", &state).await;
    let pro = ("pro".into(), Some("2027-01-21".into()), Some("cus_1".into()));
    assert_eq!(plan_of(&client, user).await, pro);
    state.records[0].status = Status::Canceled;
    save(&mut client, "cus_1", &state).await;
    let free = ("free".into(), None, Some("cus_1".into()));
    assert_eq!(plan_of(&client, user).await, free);
}

#[tokio::test]
async fn a_user_with_two_customers_keeps_what_either_pays_for() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = profile(&client, "free").await;
    let mut second = record("sub_2", Status::Active, Some(user));
    second.customer = "cus_2".into();
    let paying = CustomerState { records: vec![second], ..CustomerState::default() };
    save(&mut client, "cus_2", &paying).await;
    let over = record("sub_1", Status::Canceled, Some(user));
    let over = CustomerState { records: vec![over], ..CustomerState::default() };
    save(&mut client, "cus_1", &over).await;
    let (plan, _, customer) = plan_of(&client, user).await;
    assert_eq!((plan.as_str(), customer.as_deref()), ("pro", Some("cus_2")));
}

#[tokio::test]
async fn a_present_gives_the_plan_but_not_the_giver_as_customer() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (giver, friend) = (profile(&client, "free").await, profile(&client, "free").await);
    let link = Link { source: LinkSource::Checkout, made_at: 5, user: giver };
    let state = CustomerState {
        link: Some(link),
        records: vec![record("sub_1", Status::Active, Some(friend))],
        ..CustomerState::default()
    };
    save(&mut client, "cus_1", &state).await;
    let (plan, _, customer) = plan_of(&client, friend).await;
    assert_eq!((plan.as_str(), customer), ("pro", None));
    let (plan, _, customer) = plan_of(&client, giver).await;
    assert_eq!((plan.as_str(), customer.as_deref()), ("free", Some("cus_1")));
}

#[tokio::test]
async fn a_plan_given_by_hand_stays_until_there_is_a_subscription() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = profile(&client, "pro").await;
    let link = Link { source: LinkSource::Checkout, made_at: 5, user };
    let mut state = CustomerState { link: Some(link), ..CustomerState::default() };
    save(&mut client, "cus_1", &state).await;
    assert_eq!(plan_of(&client, user).await, ("pro".into(), None, Some("cus_1".into())));
    // A subscription that moves to somebody else takes the plan along.
    let other = profile(&client, "free").await;
    state.records = vec![record("sub_1", Status::Active, None)];
    save(&mut client, "cus_1", &state).await;
    state.records[0].metadata_user = Some(other);
    save(&mut client, "cus_1", &state).await;
    assert_eq!(plan_of(&client, user).await.0, "free");
    assert_eq!(plan_of(&client, other).await.0, "pro");
}

#[tokio::test]
async fn a_deleted_customer_is_taken_off_the_profile() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = profile(&client, "free").await;
    let mut state = CustomerState {
        records: vec![record("sub_1", Status::Active, Some(user))],
        ..CustomerState::default()
    };
    save(&mut client, "cus_1", &state).await;
    state.deleted = true;
    state.records[0].customer_deleted = true;
    save(&mut client, "cus_1", &state).await;
    assert_eq!(plan_of(&client, user).await, ("free".into(), None, None));
}

#[tokio::test]
async fn grace_runs_out_for_those_who_have_nothing_else() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = profile(&client, "free").await;
    let mut late = record("sub_1", Status::PastDue, Some(user));
    late.fell_due_at = Some(1_000_000);
    let state = CustomerState { records: vec![late], ..CustomerState::default() };
    save(&mut client, "cus_1", &state).await;
    let sql = "update public.profiles set plan_id = 'pro' where id = $1";
    client.execute(sql, &[&user]).await.unwrap();
    let page = profiles::grace_over(&mut client, None, 60.0, 10).await.unwrap();
    assert_eq!((page.over, page.last), (vec![user], None));
    let page = profiles::grace_over(&mut client, None, 60.0, 1).await.unwrap();
    assert_eq!((page.over, page.last), (vec![user], Some(user)));
    let behind = profiles::grace_over(&mut client, Some(user), 60.0, 1).await.unwrap();
    assert_eq!(behind, profiles::GracePage::default());
    assert!(profiles::grace_over(&mut client, None, 4e9, 10).await.unwrap().over.is_empty());
}

#[tokio::test]
async fn a_notice_is_told_once_and_its_mail_sent_once() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = profile(&client, "free").await;
    let notice = BillingNotice {
        kind: NoticeKind::PaymentFailed,
        user,
        amount: Some(999),
        currency: Some("eur".into()),
        url: Some("https://pay.example.test/1".into()),
        at: Some(1_795_392_000),
    };
    assert!(
        notices::add(&client, "evt_1", &notice, "A payment failed.", Mail::Wanted).await.unwrap()
    );
    assert!(!notices::add(&client, "evt_1", &notice, "Again.", Mail::Wanted).await.unwrap());
    assert!(notices::add(&client, "evt_2", &notice, "Old news.", Mail::Late).await.unwrap());
    let sql = "select message from public.notifications where recipient_id = $1 order by message";
    let shown = client.query(sql, &[&user]).await.unwrap();
    let shown: Vec<String> = shown.iter().map(|row| row.get(0)).collect();
    assert_eq!(shown, ["A payment failed.", "Old news."]);

    let all = DueMails { limit: 10, hold: Duration::ZERO, quarantine: &[] };
    let mails = notices::claim_mails(&mut client, None, &all).await.unwrap().done;
    let all = DueMails { hold: HOLD, ..all };
    let [stale] = mails.as_slice() else { panic!("{mails:?}") };
    assert_eq!((&stale.notice, stale.address.as_deref()), (&notice, Some("ana@example.test")));
    let ids = ["evt_1".to_owned(), "evt_2".to_owned()];
    let mails = notices::claim_mails(&mut client, Some(&ids), &all).await.unwrap().done;
    let [fresh] = mails.as_slice() else { panic!("{mails:?}") };
    assert!(!notices::mail_ended(&client, stale, &MailOutcome::Delivered).await.unwrap());
    let later = MailOutcome::Later(Duration::ZERO, "greylisted");
    assert!(notices::mail_ended(&client, fresh, &later).await.unwrap());
    let lost = LostIds { popped_before: None, patience: HOLD, limit: 10, quarantine: &[] };
    let lost = repairs::dispatch_lost_mails(&mut client, &lost).await.unwrap().done;
    let lost: Vec<String> = lost.into_iter().map(|message| message.id).collect();
    assert_eq!(lost, ["evt_1"]);
    let mails = notices::claim_mails(&mut client, Some(&lost), &all).await.unwrap().done;
    assert!(notices::mail_ended(&client, &mails[0], &MailOutcome::Delivered).await.unwrap());
    assert!(notices::claim_mails(&mut client, None, &all).await.unwrap().done.is_empty());
}

#[tokio::test]
async fn events_are_searched_page_by_page_and_customers_of_nobody_are_listed() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    // Each two seconds older than the one before; every third of one customer, one rare.
    client
        .batch_execute(
            "insert into regimen.stripe_events (id, type, customer_id, payload, source, state,
                 settled_at, received_at)
             select 'evt_' || lpad(n::text, 5, '0'), case when n = 11000 then 'charge.refunded'
                     else 'invoice.paid' end,
                 case n % 3 when 0 then 'cus_1' end, '{}', 'webhook',
                 case when n % 100 = 0 then 'unresolved' else 'applied' end, now(),
                 now() - (n / 2) * interval '2 s'
             from generate_series(1, 11000) n",
        )
        .await
        .unwrap();
    let search = async |filter: &EventFilter| {
        let mut filter = EventFilter { limit: 300, ..filter.clone() };
        let (mut ids, mut windows) = (Vec::new(), 0);
        loop {
            let found = events::search(&client, &filter).await.unwrap();
            windows += 1;
            let last = found.events.last().map(|event| event.id.clone());
            let is_full = found.events.len() == 300;
            ids.extend(found.events.into_iter().map(|event| event.id));
            filter.after = if is_full { last } else { found.stopped_at };
            if filter.after.is_none() {
                return (ids, windows);
            }
        }
    };
    let all = EventFilter::default();
    let (found, _) = search(&all).await;
    assert_eq!(found.len(), 11_000);
    assert!(found.is_sorted_by_key(|id| id[4..].parse::<u32>().unwrap() / 2), "newest first");
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 11_000, "none twice");
    let rare = EventFilter { type_name: Some("charge.".to_owned()), ..all.clone() };
    assert_eq!(search(&rare).await, (vec!["evt_11000".to_owned()], 2), "the second window has it");
    let of_customer = EventFilter { customer: Some("cus_1".to_owned()), ..all.clone() };
    assert_eq!(search(&of_customer).await.0.len(), 3_666);
    let unresolved = EventFilter { state: Some(EventState::Unresolved), ..all.clone() };
    assert_eq!(search(&unresolved).await.0.len(), 110);
    let of_both = EventFilter { customer: Some("cus_1".to_owned()), ..unresolved };
    assert_eq!(search(&of_both).await.0.len(), 36);
    let unknown = EventFilter { after: Some("evt_x".to_owned()), ..all };
    assert!(search(&unknown).await.0.is_empty());
    let customers = events::unresolved_customers(&mut client, 5).await.unwrap();
    let customers: Vec<_> =
        customers.iter().map(|one| (one.customer.as_str(), one.events)).collect();
    assert_eq!(customers, [("cus_1", 36)]);
}

#[tokio::test]
async fn a_day_of_revenue_is_begun_once_an_hour_and_kept_for_years() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let day = revenue::begin(&client).await.unwrap().unwrap();
    assert_eq!(revenue::begin(&client).await.unwrap(), None, "by one worker, once");
    let long_ago = day - chrono::TimeDelta::days(900);
    assert!(revenue::days(&client, long_ago).await.unwrap().is_empty(), "not counted yet");
    let metrics = |mrr| Metrics {
        currencies: vec![CurrencyMetrics {
            currency: "eur".to_owned(),
            mrr,
            subscriptions: 3,
            arpu: 1.0,
            ltv: None,
        }],
        unpriced: 0,
        churn_rate: Some(0.25),
        conversion_rate: None,
    };
    client
        .batch_execute(
            "insert into regimen.revenue_days (day, mrr)
             select current_date - n, '{\"usd\": 5}' from generate_series(795, 810) n",
        )
        .await
        .unwrap();
    revenue::keep(&client, day, &metrics(900)).await.unwrap();
    client
        .batch_execute("update regimen.revenue_days set at = at - interval '61 minutes'")
        .await
        .unwrap();
    assert_eq!(revenue::begin(&client).await.unwrap(), Some(day));
    revenue::keep(&client, day, &metrics(1_000)).await.unwrap();
    let days = revenue::days(&client, long_ago).await.unwrap();
    let last = days.last().unwrap();
    assert_eq!((last.day, last.mrr.get("eur"), last.churn), (day, Some(&1_000), Some(0.25)));
    assert!((6..=8).contains(&days.len()), "older ones are removed: {}", days.len());
}
