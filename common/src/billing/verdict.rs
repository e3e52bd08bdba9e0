//! The result of applying an event: an effect, or a question to Stripe first.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::event::Event;
use super::object::Subscription;
use super::state::CustomerState;
use crate::named::named;

/// A question that only Stripe can answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The current state of this subscription.
    Subscription(String),
    /// The customer of this charge.
    Charge(String),
}

/// Stripe's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The subscription, and the time of the answer by Stripe's clock.
    Subscription(Box<Subscription>, i64),
    /// The charge's customer, if it has one.
    Customer(Option<String>),
    /// Stripe does not know the object.
    Missing,
    /// Stripe did not answer; only for optional questions.
    Untold,
}

/// The answers so far.
pub type Answers = BTreeMap<Question, Answer>;

/// The result of applying an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Its effect is known.
    Settled(Box<Settlement>),
    /// Ask Stripe, then apply the event again to the same state with the answers.
    Ask {
        /// The questions.
        questions: Vec<Question>,
        /// Whether the answers are required.
        needed: bool,
    },
}

/// The effect of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The new state of the customer.
    pub state: CustomerState,
    /// The customer, if only an answer named it.
    pub customer: Option<String>,
    /// A notice for the user.
    pub notice: Option<BillingNotice>,
    /// Alerts for operators.
    pub alerts: Vec<Alert>,
    /// Whether the event's user is unknown.
    pub unresolved: bool,
    /// Whether an event was used up that only its equality to the known state could
    /// order: replies requested before it may be older than it, so they no longer count.
    pub confirmed: bool,
    /// Whether this release handles events of this type.
    pub handled: bool,
}

/// An alert for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alert {
    /// A subscription has a status this release does not know.
    UnknownStatus,
    /// The user is unknown.
    UnknownUser,
    /// Stripe does not know a subscription that its event named.
    MissingSubscription,
    /// A charge is disputed: there is a deadline to answer.
    DisputeOpened,
    /// A known user pays for something that is none of our prices.
    ForeignPrice,
    /// A user pays for a second subscription beside the first.
    SecondSubscription,
}

named!(Alert, "alert", {
    UnknownStatus => "unknown_status", UnknownUser => "unknown_user",
    MissingSubscription => "missing_subscription", DisputeOpened => "dispute_opened",
    ForeignPrice => "foreign_price", SecondSubscription => "second_subscription",
});

/// A notice for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingNotice {
    /// Its kind.
    pub kind: NoticeKind,
    /// The user.
    pub user: Uuid,
    /// The amount, in the currency's smallest unit.
    pub amount: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// Where the user can act.
    pub url: Option<String>,
    /// The next attempt, or the end of the trial, in Unix seconds.
    pub at: Option<i64>,
}

/// The kinds of notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A payment failed.
    PaymentFailed,
    /// A payment has to be confirmed.
    ActionRequired,
    /// A trial is about to end.
    TrialWillEnd,
    /// A charge is disputed.
    DisputeOpened,
}

named!(NoticeKind, "kind of notice", {
    PaymentFailed => "payment_failed", ActionRequired => "payment_action_required",
    TrialWillEnd => "trial_will_end", DisputeOpened => "dispute_opened",
});

/// The customer of an event, from the event or from Stripe's answers.
pub fn customer_of(event: &Event, answers: &Answers) -> Option<String> {
    let told = || {
        answers.values().find_map(|answer| match answer {
            Answer::Customer(customer) => customer.clone(),
            Answer::Subscription(..) | Answer::Missing | Answer::Untold => None,
        })
    };
    event.customer().or_else(told)
}
