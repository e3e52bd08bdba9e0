//! The effect of single events: links, doubts, notices and alerts.

use regimen_common::billing::apply::apply;
use regimen_common::billing::entitlement::{Access, Entitlement, EntitlementPolicy, Status};
use regimen_common::billing::event::Event;
use regimen_common::billing::object::Subscription;
use regimen_common::billing::record::Basis;
use regimen_common::billing::state::CustomerState;
use regimen_common::billing::verdict::{
    Alert, Answer, Answers, NoticeKind, Question, Settlement, Verdict,
};
use serde_json::{Value, json};
use uuid::Uuid;

const USER: &str = "0b8f3c1e-4a57-4d0a-9a63-5f0d1c2b7e11";

fn user() -> Uuid {
    USER.parse().unwrap()
}

fn event(kind: &str, created: i64, object: Value) -> Event {
    let event = json!({"id": "evt_1", "object": "event", "type": kind, "created": created,
        "livemode": false, "data": {"object": object}});
    Event::from_value(event).unwrap()
}

fn subscription(status: &str) -> Value {
    json!({"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status,
        "metadata": {"user_id": USER}, "current_period_end": 1_800_574_790_i64})
}

fn session(payment_status: &str) -> Value {
    json!({"id": "cs_1", "object": "checkout.session", "mode": "subscription", "customer": "cus_1",
        "subscription": "sub_1", "payment_status": payment_status, "client_reference_id": USER})
}

/// Settles an event as a worker would that cannot reach Stripe.
fn settle(state: &CustomerState, event: &Event) -> Settlement {
    let mut answers = Answers::new();
    loop {
        match apply(state, event, &answers) {
            Verdict::Settled(settlement) => return *settlement,
            Verdict::Ask { questions, needed } => {
                assert!(!needed, "{questions:?}");
                answers.extend(questions.into_iter().map(|question| (question, Answer::Untold)));
            }
        }
    }
}

fn after(events: &[Event]) -> Settlement {
    let mut state = CustomerState::default();
    let mut last = None;
    for event in events {
        let settlement = settle(&state, event);
        state = settlement.state.clone();
        last = Some(settlement);
    }
    last.unwrap()
}

fn is_pro(state: &CustomerState) -> bool {
    let now = chrono::DateTime::from_timestamp(1_797_000_000, 0).unwrap();
    Entitlement::of(&state.records, &EntitlementPolicy::default(), now).pro
}

#[test]
fn a_paid_checkout_gives_access_before_anything_else_arrives() {
    let done = after(&[event("checkout.session.completed", 5, session("paid"))]);
    assert!(is_pro(&done.state) && !done.unresolved);
    assert_eq!(done.state.user(), Some(user()));
    let done = after(&[event("checkout.session.completed", 5, session("unpaid"))]);
    assert!(!is_pro(&done.state));
    let later = event("checkout.session.async_payment_succeeded", 9, session("paid"));
    assert!(is_pro(&settle(&done.state, &later).state));
}

#[test]
fn a_checkout_prefers_to_know_the_subscription() {
    let event = event("checkout.session.completed", 5, session("paid"));
    let question = Question::Subscription("sub_1".into());
    let asked = Verdict::Ask { questions: vec![question.clone()], needed: false };
    assert_eq!(apply(&CustomerState::default(), &event, &Answers::new()), asked);
    let told = Subscription::from_value(&subscription("trialing"));
    let answers = Answers::from([(question, Answer::Subscription(Box::new(told), 7))]);
    let Verdict::Settled(done) = apply(&CustomerState::default(), &event, &answers) else {
        panic!("everything was told");
    };
    let record = done.state.record("sub_1").unwrap();
    assert_eq!((record.status, record.basis), (Status::Trialing, Basis::Fetch(7)));
    assert_eq!(record.period_end, Some(1_800_574_790));
    assert_eq!(record.checkout_user, Some(user()));
}

#[test]
fn a_checkout_nobody_can_be_named_for_stays_unresolved() {
    let mut nameless = session("paid");
    nameless["client_reference_id"] = Value::Null;
    let done = after(&[event("checkout.session.completed", 5, nameless)]);
    assert!(done.unresolved);
    assert_eq!(done.alerts, [Alert::UnknownUser]);
    // The customer's metadata names the user later.
    let customer = json!({"id": "cus_1", "object": "customer", "metadata": {"user_id": USER}});
    let done = settle(&done.state, &event("customer.updated", 6, customer));
    assert_eq!(done.state.user_of(done.state.record("sub_1").unwrap()), Some(user()));
}

#[test]
fn a_one_off_payment_entitles_to_nothing() {
    let payment = json!({"id": "cs_1", "object": "checkout.session", "mode": "payment",
        "customer": null, "payment_status": "paid"});
    let done = after(&[event("checkout.session.completed", 5, payment)]);
    assert_eq!((done.state, done.unresolved), (CustomerState::default(), false));
}

#[test]
fn the_users_own_name_on_the_subscription_comes_first() {
    let friend = Uuid::from_u128(7);
    let mut gift = subscription("active");
    gift["metadata"]["user_id"] = json!(friend);
    let done = after(&[
        event("checkout.session.completed", 5, session("paid")),
        event("customer.subscription.created", 4, gift),
    ]);
    let record = done.state.record("sub_1").unwrap();
    assert_eq!(done.state.user_of(record), Some(friend));
    assert_eq!(done.state.user(), Some(user()));
}

#[test]
fn an_unknown_status_keeps_access_and_alerts() {
    let active = event("customer.subscription.updated", 5, subscription("active"));
    let strange = event("customer.subscription.updated", 9, subscription("hibernating"));
    let done = after(&[active, strange]);
    assert_eq!(done.alerts, [Alert::UnknownStatus]);
    assert!(is_pro(&done.state));
    let canceled = event("customer.subscription.updated", 5, subscription("canceled"));
    let strange = event("customer.subscription.updated", 9, subscription("hibernating"));
    assert!(!is_pro(&after(&[canceled, strange]).state));
}

#[test]
fn a_tie_is_asked_about_and_the_answer_counts() {
    let known = after(&[event("customer.subscription.updated", 5, subscription("active"))]).state;
    let tie = event("customer.subscription.updated", 5, subscription("paused"));
    let question = Question::Subscription("sub_1".into());
    let asked = Verdict::Ask { questions: vec![question.clone()], needed: true };
    assert_eq!(apply(&known, &tie, &Answers::new()), asked);
    for (status, pro) in [("active", true), ("paused", false)] {
        let told = Subscription::from_value(&subscription(status));
        let answers = Answers::from([(question.clone(), Answer::Subscription(Box::new(told), 60))]);
        let Verdict::Settled(done) = apply(&known, &tie, &answers) else {
            panic!("everything was told");
        };
        assert_eq!(is_pro(&done.state), pro, "{status}");
    }
    let answers = Answers::from([(question, Answer::Missing)]);
    let Verdict::Settled(done) = apply(&known, &tie, &answers) else {
        panic!("everything was told");
    };
    assert_eq!((done.alerts, done.state), (vec![Alert::MissingSubscription], known.clone()));
    // The same once more is no question, but a reply that is under way may be older than it.
    let same = event("customer.subscription.updated", 5, subscription("active"));
    let older = event("customer.subscription.updated", 4, subscription("active"));
    assert!(settle(&known, &same).confirmed && !settle(&known, &older).confirmed);
}

#[test]
fn deleting_a_customer_revokes_what_is_known_and_what_comes_late() {
    let deleted = json!({"id": "cus_1", "object": "customer", "deleted": true});
    let deleted = event("customer.deleted", 9, deleted);
    let active = event("customer.subscription.updated", 5, subscription("active"));
    for order in [[active.clone(), deleted.clone()], [deleted, active]] {
        let state = after(&order).state;
        assert_eq!(state.records[0].access(&EntitlementPolicy::default(), 0), Access::None);
        assert!(!is_pro(&state));
    }
}

#[test]
fn a_failed_payment_is_told_to_the_user_with_what_they_need() {
    let invoice = json!({"id": "in_1", "object": "invoice", "customer": "cus_1",
        "amount_due": 999, "currency": "eur", "hosted_invoice_url": "https://pay.example.test/1",
        "next_payment_attempt": 77, "parent": {"subscription_details":
            {"subscription": "sub_1", "metadata": {"user_id": USER}}}});
    let done = after(&[event("invoice.payment_failed", 9, invoice.clone())]);
    let notice = done.notice.unwrap();
    assert_eq!((notice.kind, notice.user), (NoticeKind::PaymentFailed, user()));
    assert_eq!((notice.amount, notice.currency.as_deref()), (Some(999), Some("eur")));
    assert_eq!((notice.url.as_deref(), notice.at), (Some("https://pay.example.test/1"), Some(77)));
    let done = after(&[event("invoice.payment_action_required", 9, invoice)]);
    assert_eq!(done.notice.unwrap().kind, NoticeKind::ActionRequired);
}

#[test]
fn a_notice_without_a_user_stays_unresolved() {
    let invoice = json!({"id": "in_1", "object": "invoice", "customer": "cus_1"});
    let done = after(&[event("invoice.payment_failed", 9, invoice)]);
    assert!(done.unresolved && done.notice.is_none());
}

#[test]
fn a_paid_invoice_that_knows_more_than_we_do_asks() {
    let known = after(&[event("customer.subscription.updated", 5, subscription("unpaid"))]).state;
    let invoice = json!({"id": "in_1", "object": "invoice", "customer": "cus_1",
        "subscription": "sub_1"});
    let ask = |created| {
        let paid = event("invoice.paid", created, invoice.clone());
        matches!(apply(&known, &paid, &Answers::new()), Verdict::Ask { needed: false, .. })
    };
    assert!(ask(6));
    assert!(!ask(4), "an invoice paid before our account of it");
}

#[test]
fn a_trials_end_is_told() {
    let mut trial = subscription("trialing");
    trial["trial_end"] = json!(1234);
    let done = after(&[event("customer.subscription.trial_will_end", 9, trial)]);
    let notice = done.notice.unwrap();
    assert_eq!((notice.kind, notice.at), (NoticeKind::TrialWillEnd, Some(1234)));
    assert!(is_pro(&done.state));
}

#[test]
fn a_dispute_asks_whose_charge_it_is() {
    let dispute = json!({"id": "dp_1", "object": "dispute", "charge": "ch_1", "amount": 999,
        "currency": "eur"});
    let event = event("charge.dispute.created", 9, dispute);
    let question = Question::Charge("ch_1".into());
    let asked = Verdict::Ask { questions: vec![question.clone()], needed: true };
    assert_eq!(apply(&CustomerState::default(), &event, &Answers::new()), asked);
    let state = CustomerState { profile_user: Some(user()), ..CustomerState::default() };
    let answers = Answers::from([(question, Answer::Customer(Some("cus_1".into())))]);
    let Verdict::Settled(done) = apply(&state, &event, &answers) else {
        panic!("everything was told");
    };
    assert_eq!(done.customer.as_deref(), Some("cus_1"));
    assert_eq!(done.alerts, [Alert::DisputeOpened]);
    assert_eq!(done.notice.unwrap().kind, NoticeKind::DisputeOpened);
}

#[test]
fn a_refund_looks_again_at_what_is_live() {
    let known = after(&[event("customer.subscription.updated", 5, subscription("active"))]).state;
    let charge = json!({"id": "ch_1", "object": "charge", "customer": "cus_1", "refunded": true});
    let refund = event("charge.refunded", 9, charge);
    let asked =
        Verdict::Ask { questions: vec![Question::Subscription("sub_1".into())], needed: false };
    assert_eq!(apply(&known, &refund, &Answers::new()), asked);
    assert!(is_pro(&settle(&known, &refund).state), "access follows the subscription");
}

#[test]
fn what_we_do_not_know_is_left_alone() {
    let done = after(&[event("radar.early_fraud_warning.created", 9, json!({"id": "issfr_1"}))]);
    assert!(!done.handled && !done.unresolved);
    assert_eq!(done.state, CustomerState::default());
    // A subscription event without a subscription.
    let done = after(&[event("customer.subscription.updated", 9, Value::Null)]);
    assert!(done.unresolved);
}
