//! A small model of Stripe for tests: one customer's subscriptions go through
//! generated histories, and every change produces the event that Stripe would
//! send.
//!
//! It holds the expected state and shares no code with what it tests.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

/// Length of a paid period, in seconds.
pub const PERIOD: i64 = 30 * 86_400;

/// A change of a customer. A step that does not fit the present state (resuming what is
/// not paused) does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Buys a subscription through a checkout. `metadata`: whose id it has.
    Checkout {
        /// How it is paid.
        payment: Payment,
        /// Whose id the subscription's metadata has.
        metadata: Owner,
    },
    /// Buys a subscription without a checkout, as from Stripe's dashboard.
    Dashboard(Owner),
    /// The delayed first payment succeeds.
    FirstPaymentArrives,
    /// The first payment never succeeds.
    FirstPaymentExpires,
    /// A period ends and is paid again.
    Renew,
    /// A period ends and is not paid.
    RenewalFails,
    /// A failed payment succeeds later.
    Recover,
    /// Stripe stops collecting.
    GiveUp,
    /// The subscription is paused.
    Pause,
    /// The subscription is resumed.
    Resume,
    /// Collection is paused, for ever or for this many seconds; the status does not
    /// change. The text is what happens to invoices, in Stripe's words.
    PauseCollection(&'static str, Option<i64>),
    /// Collection is resumed.
    ResumeCollection,
    /// The subscription will end with its period.
    ScheduleCancel,
    /// The scheduled end is revoked.
    KeepAfterAll,
    /// The subscription ends now.
    Cancel,
    /// The price changes.
    ChangePrice,
    /// A refund, without a change of the subscription.
    Refund,
    /// The payer contests a payment with their bank.
    Dispute,
    /// The bank decides.
    DisputeEnds,
    /// The trial ends soon.
    TrialWillEnd,
    /// The customer is deleted, with every subscription.
    DeleteCustomer,
}

/// How a checkout is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// Immediately.
    Paid,
    /// Not yet: a trial.
    Trial,
    /// By a method that takes days.
    Delayed,
}

/// Whose id a subscription's metadata has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Nobody's.
    Nobody,
    /// The buyer's.
    Buyer,
    /// Another user's: a gift.
    Friend,
}

/// A subscription as Stripe stores it.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// Stripe's status.
    pub status: &'static str,
    /// Whose id its metadata has.
    pub owner: Owner,
    /// Whether it was bought through a checkout.
    pub checked_out: bool,
    /// The end of the paid period, in Unix seconds.
    pub period_end: i64,
    /// When payment began to fail, in Unix seconds; only while it does.
    pub fell_due_at: Option<i64>,
    cancel_at: Option<i64>,
    /// What happens to invoices while collection is paused, and until when.
    paused: Option<(&'static str, Option<i64>)>,
    price: u32,
    created: i64,
}

/// The customer, their actual state, and the events of its changes.
#[derive(Debug, Clone)]
pub struct Stripe {
    /// The time, in Unix seconds.
    pub now: i64,
    /// `cus_…`
    pub customer: String,
    /// Whether the customer was deleted.
    pub deleted: bool,
    /// All their subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Every event so far, in the order they were made.
    pub events: Vec<Value>,
    /// The steps with an effect, by name, and how often.
    pub happened: BTreeMap<&'static str, u64>,
    /// The user who buys.
    pub buyer: Uuid,
    /// The user who receives gifts.
    pub friend: Uuid,
    disputed: bool,
}

impl Stripe {
    /// A customer without subscriptions. `name` makes their ids unique.
    pub fn new(name: &str, now: i64, buyer: Uuid, friend: Uuid) -> Self {
        Self {
            now,
            customer: format!("cus_{name}"),
            deleted: false,
            subscriptions: Vec::new(),
            events: Vec::new(),
            happened: BTreeMap::new(),
            disputed: false,
            buyer,
            friend,
        }
    }

    /// Applies `step` to the subscription number `which`.
    pub fn step(&mut self, step: Step, which: usize) {
        if self.deleted {
            return;
        }
        let told = self.events.len();
        let name = self.name(step);
        self.take(step, which);
        if self.events.len() > told {
            *self.happened.entry(name).or_default() += 1;
        }
    }

    fn take(&mut self, step: Step, which: usize) {
        match step {
            Step::Checkout { payment, metadata } => self.checkout(payment, metadata),
            Step::Dashboard(owner) => {
                let at = self.open("active", owner, false);
                self.tell_subscription(at, "created", &Value::Null);
                self.tell_invoice(at, "paid");
            }
            Step::DeleteCustomer => self.delete_customer(),
            _ if self.subscriptions.is_empty() => {}
            _ => self.happen(step, which % self.subscriptions.len()),
        }
    }

    /// The step's name, if it happened now.
    fn name(&self, step: Step) -> &'static str {
        let again = self.subscriptions.iter().any(|sold| is_over(sold.status));
        match step {
            Step::Checkout { .. } | Step::Dashboard(_) if again => "resubscribed",
            Step::Checkout { payment: Payment::Paid, .. } => "checkout, paid",
            Step::Checkout { payment: Payment::Trial, .. } => "checkout, trial",
            Step::Checkout { payment: Payment::Delayed, .. } => "checkout, paid later",
            Step::Dashboard(_) => "made without a checkout",
            Step::FirstPaymentArrives => "first payment arrived",
            Step::FirstPaymentExpires => "first payment never arrived",
            Step::Renew => "renewed",
            Step::RenewalFails => "payment failed",
            Step::Recover => "payment recovered",
            Step::GiveUp => "given up as unpaid",
            Step::Pause => "paused",
            Step::Resume => "resumed",
            Step::PauseCollection(..) => "collection paused",
            Step::ResumeCollection => "collection resumed",
            Step::ScheduleCancel => "cancellation scheduled",
            Step::KeepAfterAll => "cancellation withdrawn",
            Step::Cancel => "cancelled",
            Step::ChangePrice => "price changed",
            Step::Refund => "refunded",
            Step::Dispute => "disputed",
            Step::DisputeEnds => "dispute decided",
            Step::TrialWillEnd => "trial about to end",
            Step::DeleteCustomer => "customer deleted",
        }
    }

    /// The charge of refunds and disputes, as `GET /v1/charges/{id}` answers: a dispute
    /// does not name its customer.
    pub fn charge(&self) -> Value {
        json!({"id": format!("ch_{}", self.customer), "object": "charge",
            "customer": self.customer})
    }

    /// The present answer of `GET /v1/subscriptions/{id}`.
    pub fn subscription(&self, id: &str) -> Option<Value> {
        let found = self.subscriptions.iter().find(|subscription| subscription.id == id)?;
        Some(self.json(found))
    }

    /// The user a subscription belongs to, if that can be known: from its metadata, or
    /// because the customer is known to be the buyer's, or because everything bought
    /// elsewhere belongs to one user.
    pub fn owner(&self, subscription: &Subscription) -> Option<Uuid> {
        let any = |owner| self.subscriptions.iter().any(|sold| sold.owner == owner);
        match subscription.owner {
            Owner::Buyer => Some(self.buyer),
            Owner::Friend => Some(self.friend),
            Owner::Nobody if self.subscriptions.iter().any(|sold| sold.checked_out) => {
                Some(self.buyer)
            }
            Owner::Nobody => match (any(Owner::Buyer), any(Owner::Friend)) {
                (true, false) => Some(self.buyer),
                (false, true) => Some(self.friend),
                (true, true) | (false, false) => None,
            },
        }
    }

    fn checkout(&mut self, payment: Payment, metadata: Owner) {
        let (first, status, paid) = match payment {
            Payment::Paid => ("incomplete", "active", "paid"),
            Payment::Trial => ("trialing", "trialing", "no_payment_required"),
            Payment::Delayed => ("incomplete", "incomplete", "unpaid"),
        };
        let at = self.open(first, metadata, true);
        self.tell_subscription(at, "created", &Value::Null);
        if first != status {
            self.set_status(at, status);
            self.tell_invoice(at, "paid");
        }
        self.tell_session(at, "completed", paid);
    }

    fn open(&mut self, status: &'static str, owner: Owner, checked_out: bool) -> usize {
        let at = self.subscriptions.len();
        self.subscriptions.push(Subscription {
            id: format!("sub_{}_{at}", self.customer),
            status,
            owner,
            checked_out,
            period_end: self.now + PERIOD,
            fell_due_at: None,
            cancel_at: None,
            paused: None,
            price: 0,
            created: self.now,
        });
        at
    }

    fn happen(&mut self, step: Step, at: usize) {
        let status = self.subscriptions[at].status;
        match (step, status) {
            (Step::FirstPaymentArrives, "incomplete") => {
                self.set_status(at, "active");
                self.tell_invoice(at, "paid");
                self.tell_session(at, "async_payment_succeeded", "paid");
            }
            (Step::FirstPaymentExpires, "incomplete") => {
                self.set_status(at, "incomplete_expired");
                self.tell_session(at, "async_payment_failed", "unpaid");
            }
            (Step::Renew, "active" | "trialing") => {
                self.subscriptions[at].period_end += PERIOD;
                self.set_status(at, "active");
                self.tell_invoice(at, "paid");
            }
            (Step::RenewalFails, "active" | "trialing") => {
                self.subscriptions[at].period_end += PERIOD;
                self.subscriptions[at].fell_due_at = Some(self.now);
                self.set_status(at, "past_due");
                self.tell_invoice(at, "payment_failed");
            }
            (Step::Recover, "past_due" | "unpaid") => {
                self.set_status(at, "active");
                self.tell_invoice(at, "paid");
            }
            (Step::GiveUp, "past_due") => self.set_status(at, "unpaid"),
            (Step::Pause, "active" | "trialing") => self.set_status_by(at, "paused", "paused"),
            (Step::Resume, "paused") => self.set_status_by(at, "active", "resumed"),
            (Step::PauseCollection(behavior, time), _) if !is_over(status) => {
                let until = time.map(|time| self.now + time);
                self.subscriptions[at].paused = Some((behavior, until));
                self.tell_subscription(at, "updated", &json!({"pause_collection": null}));
            }
            (Step::ResumeCollection, _) if self.subscriptions[at].paused.is_some() => {
                self.subscriptions[at].paused = None;
                self.tell_subscription(at, "updated", &json!({"pause_collection": {}}));
            }
            (Step::Cancel, _) if !is_over(status) => self.end(at),
            (Step::TrialWillEnd, "trialing") => {
                self.tell_subscription(at, "trial_will_end", &Value::Null);
            }
            (Step::ScheduleCancel, _) if !is_over(status) => {
                self.subscriptions[at].cancel_at = Some(self.subscriptions[at].period_end);
                self.tell_subscription(at, "updated", &json!({"cancel_at": null}));
            }
            (Step::KeepAfterAll, _) if !is_over(status) => {
                self.subscriptions[at].cancel_at = None;
                self.tell_subscription(at, "updated", &json!({"cancel_at": 1}));
            }
            (Step::ChangePrice, _) if !is_over(status) => {
                self.subscriptions[at].price += 1;
                self.tell_subscription(at, "updated", &json!({"items": {}}));
            }
            (Step::Refund, _) => {
                let mut charge = self.charge();
                charge["amount_refunded"] = json!(999);
                charge["refunded"] = json!(true);
                self.tell("charge.refunded", charge, &Value::Null);
            }
            (Step::Dispute, _) if !self.disputed => self.tell_dispute("created"),
            (Step::DisputeEnds, _) if self.disputed => self.tell_dispute("closed"),
            _ => {}
        }
    }

    fn set_status(&mut self, at: usize, status: &'static str) {
        self.set_status_by(at, status, "updated");
    }

    fn set_status_by(&mut self, at: usize, status: &'static str, verb: &str) {
        let before = std::mem::replace(&mut self.subscriptions[at].status, status);
        if status != "past_due" {
            self.subscriptions[at].fell_due_at = None;
        }
        let previous =
            if before == status { json!({"items": {}}) } else { json!({"status": before}) };
        self.tell_subscription(at, verb, &previous);
    }

    fn end(&mut self, at: usize) {
        self.subscriptions[at].status = "canceled";
        self.tell_subscription(at, "deleted", &Value::Null);
    }

    fn tell_dispute(&mut self, verb: &str) {
        self.disputed = verb == "created";
        let dispute = json!({"id": format!("dp_{}", self.customer), "object": "dispute",
            "charge": format!("ch_{}", self.customer), "amount": 999, "currency": "eur"});
        self.tell(&format!("charge.dispute.{verb}"), dispute, &Value::Null);
    }

    fn delete_customer(&mut self) {
        for at in 0..self.subscriptions.len() {
            if !is_over(self.subscriptions[at].status) {
                self.end(at);
            }
        }
        self.deleted = true;
        let customer = json!({"id": self.customer, "object": "customer", "metadata": {}});
        self.tell("customer.deleted", customer, &Value::Null);
    }

    fn tell_subscription(&mut self, at: usize, verb: &str, previous: &Value) {
        let object = self.json(&self.subscriptions[at]);
        self.tell(&format!("customer.subscription.{verb}"), object, previous);
    }

    fn tell_session(&mut self, at: usize, verb: &str, payment_status: &str) {
        let sold = &self.subscriptions[at];
        if !sold.checked_out {
            return;
        }
        let session = json!({"id": format!("cs_{}", sold.id), "object": "checkout.session",
            "mode": "subscription", "payment_status": payment_status, "customer": self.customer,
            "subscription": sold.id, "client_reference_id": self.buyer, "metadata": {}});
        self.tell(&format!("checkout.session.{verb}"), session, &Value::Null);
    }

    fn tell_invoice(&mut self, at: usize, verb: &str) {
        let billed = &self.subscriptions[at];
        let invoice = json!({"id": format!("in_{}_{}", billed.id, self.events.len()),
            "object": "invoice", "customer": self.customer, "amount_due": 999, "currency": "eur",
            "parent": {"type": "subscription_details",
                "subscription_details": {"subscription": billed.id, "metadata": self.metadata(billed)}},
            "lines": {"object": "list", "data": [{"period": {"end": billed.period_end}}]}});
        self.tell(&format!("invoice.{verb}"), invoice, &Value::Null);
    }

    fn tell(&mut self, kind: &str, object: Value, previous: &Value) {
        let mut data = json!({"object": object});
        if !previous.is_null() {
            data["previous_attributes"] = previous.clone();
        }
        self.events.push(json!({"id": format!("evt_{}_{}", self.customer, self.events.len()),
            "object": "event", "type": kind, "created": self.now, "livemode": false, "data": data}));
    }

    fn json(&self, subscription: &Subscription) -> Value {
        json!({"id": subscription.id, "object": "subscription", "customer": self.customer,
            "status": subscription.status, "created": subscription.created,
            "cancel_at": subscription.cancel_at,
            "pause_collection": subscription.paused.map(|(behavior, until)|
                json!({"behavior": behavior, "resumes_at": until})),
            "metadata": self.metadata(subscription),
            "items": {"object": "list", "data": [{
                "current_period_end": subscription.period_end,
                "price": {"id": format!("price_{}", subscription.price)}}]}})
    }

    fn metadata(&self, subscription: &Subscription) -> Value {
        match subscription.owner {
            Owner::Nobody => json!({}),
            Owner::Buyer => json!({"user_id": self.buyer}),
            Owner::Friend => json!({"user_id": self.friend}),
        }
    }
}

impl Subscription {
    /// Whether it has one of our prices and its payments are collected.
    pub fn counts(&self, now: i64) -> bool {
        let paused = self.paused.is_some_and(|(_, until)| until.is_none_or(|until| now < until));
        !paused && is_ours(self.price)
    }
}

/// Every third price is not ours.
fn is_ours(price: u32) -> bool {
    price % 3 != 2
}

/// The ids of our prices.
pub fn our_prices() -> impl Iterator<Item = String> {
    (0..60).filter(|price| is_ours(*price)).map(|price| format!("price_{price}"))
}

fn is_over(status: &str) -> bool {
    matches!(status, "canceled" | "incomplete_expired")
}
