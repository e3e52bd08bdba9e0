//! The effect of one event on the state of a customer.
//!
//! Invariant: applied in any order, any number of times, the events of a
//! customer lead to the same state, which equals Stripe's.
//! [`record`](super::record) describes how. Where events alone cannot decide,
//! [`apply`] returns a [`Question`] to Stripe instead of guessing.

use uuid::Uuid;

use super::entitlement::Status;
use super::event::{Event, StripeEventKind};
use super::object::{CheckoutSession, Dispute, Invoice, Subscription, customer_user};
use super::record::{Basis, Record, Standing};
use super::state::{CustomerState, Link, LinkSource};
use super::verdict::{
    Alert, Answer, Answers, BillingNotice, NoticeKind, Question, Settlement, Verdict, customer_of,
};

/// The effect of `event` on `state`, the state of its customer, or the questions to
/// answer first. Pure.
pub fn apply(state: &CustomerState, event: &Event, answers: &Answers) -> Verdict {
    let mut work = Work::new(state, event, answers);
    work.event();
    work.verdict()
}

/// The highest number of a customer's live subscriptions to look up after a refund or
/// dispute.
const LOOKUPS: usize = 10;

struct Work<'a> {
    event: &'a Event,
    answers: &'a Answers,
    done: Settlement,
    questions: Vec<Question>,
    needed: bool,
}

impl<'a> Work<'a> {
    fn new(state: &CustomerState, event: &'a Event, answers: &'a Answers) -> Self {
        let done = Settlement {
            state: state.clone(),
            customer: customer_of(event, answers),
            notice: None,
            alerts: Vec::new(),
            unresolved: false,
            confirmed: false,
            handled: event.kind != StripeEventKind::Other,
        };
        Self { event, answers, done, questions: Vec::new(), needed: false }
    }

    fn verdict(mut self) -> Verdict {
        if !self.questions.is_empty() {
            return Verdict::Ask { questions: self.questions, needed: self.needed };
        }
        if self.done.unresolved {
            self.alert(Alert::UnknownUser);
        }
        Verdict::Settled(Box::new(self.done))
    }

    fn event(&mut self) {
        match self.event.kind {
            StripeEventKind::CheckoutCompleted
            | StripeEventKind::CheckoutPaid
            | StripeEventKind::CheckoutPaymentFailed => self.checkout(),
            StripeEventKind::SubscriptionCreated
            | StripeEventKind::SubscriptionChanged
            | StripeEventKind::SubscriptionDeleted => self.subscription(),
            StripeEventKind::TrialWillEnd => {
                self.subscription();
                self.trial_will_end();
            }
            StripeEventKind::InvoicePaid => self.invoice(None),
            StripeEventKind::PaymentFailed => self.invoice(Some(NoticeKind::PaymentFailed)),
            StripeEventKind::PaymentActionRequired => {
                self.invoice(Some(NoticeKind::ActionRequired))
            }
            StripeEventKind::ChargeRefunded => self.look_again(),
            StripeEventKind::DisputeCreated => self.dispute(true),
            StripeEventKind::DisputeClosed => self.dispute(false),
            StripeEventKind::CustomerChanged => self.customer(),
            StripeEventKind::CustomerDeleted => self.customer_deleted(),
            StripeEventKind::Other => {}
        }
    }

    fn checkout(&mut self) {
        let session = CheckoutSession::from_value(&self.event.object);
        let Some(customer) = self.event.customer() else {
            return; // A one-off payment of a guest entitles to nothing here.
        };
        if let Some(user) = session.user() {
            self.link(LinkSource::Checkout, user);
        }
        if let Some(id) = session.subscription.as_deref() {
            self.checked_out(id, &customer, &session);
        }
        let unknown =
            match session.subscription.as_deref().and_then(|id| self.done.state.record(id)) {
                Some(record) => self.done.state.user_of(record).is_none(),
                None => self.done.state.user().is_none(),
            };
        self.done.unresolved |= unknown && session.mode.as_deref() != Some("payment");
    }

    fn checked_out(&mut self, id: &str, customer: &str, session: &CheckoutSession) {
        let settled = session.is_settled();
        let deleted = self.done.state.deleted;
        if self.done.state.record(id).is_none() {
            let mut record = Record::from_checkout(id, customer, settled);
            record.customer_deleted = deleted;
            self.done.state.records.push(record);
        }
        if let Some(record) = self.done.state.record_mut(id) {
            record.checkout_user = session.user().or(record.checkout_user);
            if record.basis == Basis::Checkout {
                if settled {
                    record.status = Status::Active;
                }
                self.prefer_to_know(id);
            }
        }
    }

    fn subscription(&mut self) {
        let subscription = Subscription::from_value(&self.event.object);
        let (Some(id), Some(customer)) = (self.event.object_id(), self.event.customer()) else {
            self.done.unresolved = true;
            return;
        };
        let basis = match self.event.kind {
            StripeEventKind::SubscriptionCreated => Basis::Created(self.event.created),
            _ => Basis::Event(self.event.created),
        };
        match Record::from_subscription(&id, &customer, &subscription, basis) {
            Ok(record) => self.heard(record),
            Err(_) => self.alert(Alert::UnknownStatus),
        }
        self.hear_answer(&id, &customer);
        let began_to_fail =
            subscription.status.as_deref() == Some("past_due") && self.event.changed("status");
        if let Some(record) = self.done.state.record_mut(&id).filter(|_| began_to_fail) {
            record.note_fell_due(self.event.created);
        }
        let record = self.done.state.record(&id);
        let user = record.and_then(|record| self.done.state.user_of(record));
        self.done.unresolved |= user.or_else(|| subscription.metadata.user()).is_none();
    }

    /// Merges an event's snapshot of a subscription, or asks.
    fn heard(&mut self, mut heard: Record) {
        heard.customer_deleted = self.done.state.deleted;
        let Some(known) = self.done.state.record_mut(&heard.id) else {
            self.done.state.records.push(heard);
            return;
        };
        match known.standing_of(&heard) {
            Standing::Newer => known.absorb(heard),
            Standing::Known => self.done.confirmed = true,
            Standing::Older => {}
            Standing::Doubtful => {
                let question = Question::Subscription(heard.id);
                self.needed |= !self.answers.contains_key(&question);
                self.ask(question);
            }
        }
    }

    /// Merges Stripe's answer about a subscription, if there is one.
    fn hear_answer(&mut self, id: &str, customer: &str) {
        match self.answers.get(&Question::Subscription(id.to_owned())) {
            Some(Answer::Subscription(subscription, at)) => {
                match Record::from_subscription(id, customer, subscription, Basis::Fetch(*at)) {
                    Ok(record) => self.heard(record),
                    Err(_) => self.alert(Alert::UnknownStatus),
                }
            }
            Some(Answer::Missing) => self.alert(Alert::MissingSubscription),
            Some(Answer::Customer(_) | Answer::Untold) | None => {}
        }
    }

    /// Asks for the state of a subscription; continues without an answer if there is
    /// none.
    fn prefer_to_know(&mut self, id: &str) {
        let customer = self.done.state.record(id).map(|record| record.customer.clone());
        self.ask(Question::Subscription(id.to_owned()));
        if let Some(customer) = customer.or_else(|| self.event.customer()) {
            self.hear_answer(id, &customer);
        }
    }

    fn trial_will_end(&mut self) {
        let subscription = Subscription::from_value(&self.event.object);
        let record = self.event.object_id();
        let record = record.and_then(|id| self.done.state.record(&id));
        let user = record.and_then(|record| self.done.state.user_of(record));
        let user = user.or_else(|| subscription.metadata.user());
        self.tell(user, |notice| notice.at = subscription.trial_end, NoticeKind::TrialWillEnd);
    }

    fn invoice(&mut self, notice: Option<NoticeKind>) {
        let invoice = Invoice::from_value(&self.event.object);
        if let Some(id) = invoice.subscription().filter(|id| self.contradicts(id, &invoice)) {
            self.prefer_to_know(id);
        }
        let Some(kind) = notice else {
            return;
        };
        let record = invoice.subscription().and_then(|id| self.done.state.record(id));
        let user = match record {
            Some(record) => self.done.state.user_of(record),
            None => invoice.user().or_else(|| self.done.state.user()),
        };
        self.tell(
            user,
            |notice| {
                notice.amount = invoice.amount_due;
                notice.currency.clone_from(&invoice.currency);
                notice.url.clone_from(&invoice.hosted_invoice_url);
                notice.at = invoice.next_payment_attempt;
            },
            kind,
        );
    }

    /// Whether an invoice shows something that our snapshot of its subscription lacks:
    /// then an event is late or lost.
    fn contradicts(&self, id: &str, invoice: &Invoice) -> bool {
        let Some(record) = self.done.state.record(id) else {
            return true;
        };
        let overtaken = record.basis.at().is_some_and(|at| at > self.event.created);
        if record.status.is_final() || overtaken {
            return false;
        }
        let paying = matches!(record.status, Status::Active | Status::Trialing);
        match self.event.kind {
            StripeEventKind::InvoicePaid => !paying || invoice.paid_until() > record.period_end,
            StripeEventKind::PaymentFailed => paying,
            _ => false,
        }
    }

    fn dispute(&mut self, opened: bool) {
        let dispute = Dispute::from_value(&self.event.object);
        if self.done.customer.is_none() {
            let Some(charge) = dispute.charge else {
                self.done.unresolved = true;
                return;
            };
            let question = Question::Charge(charge);
            if !self.answers.contains_key(&question) {
                self.needed = true;
                return self.ask(question);
            }
        }
        self.look_again();
        if opened {
            self.alert(Alert::DisputeOpened);
            self.tell(
                self.done.state.user(),
                |notice| {
                    notice.amount = dispute.amount;
                    notice.currency.clone_from(&dispute.currency);
                },
                NoticeKind::DisputeOpened,
            );
        }
    }

    /// After a refund the subscription decides whether access ends, and it may have just
    /// changed.
    fn look_again(&mut self) {
        let live = self.done.state.records.iter().filter(|record| !record.status.is_final());
        let overtaken =
            |record: &&Record| record.basis.at().is_some_and(|at| at > self.event.created);
        let ids = live.filter(|record| !overtaken(record)).map(|record| record.id.clone());
        for id in ids.take(LOOKUPS).collect::<Vec<_>>() {
            self.prefer_to_know(&id);
        }
    }

    fn customer(&mut self) {
        if let Some(user) = customer_user(&self.event.object) {
            self.link(LinkSource::Customer, user);
        }
    }

    fn customer_deleted(&mut self) {
        self.done.state.deleted = true;
        for record in &mut self.done.state.records {
            record.customer_deleted = true;
        }
    }

    fn link(&mut self, source: LinkSource, user: Uuid) {
        let link = Link { source, made_at: self.event.created, user };
        self.done.state.link = self.done.state.link.max(Some(link));
    }

    fn tell(
        &mut self,
        user: Option<Uuid>,
        details: impl FnOnce(&mut BillingNotice),
        kind: NoticeKind,
    ) {
        let Some(user) = user else {
            self.done.unresolved = true;
            return;
        };
        let mut notice =
            BillingNotice { kind, user, amount: None, currency: None, url: None, at: None };
        details(&mut notice);
        self.done.notice = Some(notice);
    }

    fn ask(&mut self, question: Question) {
        if !self.answers.contains_key(&question) && !self.questions.contains(&question) {
            self.questions.push(question);
        }
    }

    fn alert(&mut self, alert: Alert) {
        if !self.done.alerts.contains(&alert) {
            self.done.alerts.push(alert);
        }
    }
}
