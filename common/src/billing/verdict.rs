//! The result of applying an event: an effect, or a question to Stripe first.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::event::Event;
use super::object::Subscription;
use super::state::CustomerState;
use crate::named::named;

/// Something only Stripe can tell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// How does this subscription stand now?
    Subscription(String),
    /// Whose charge is this?
    Charge(String),
}

/// What Stripe told.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The subscription, and the second of the answer by Stripe's clock.
    Subscription(Box<Subscription>, i64),
    /// The charge's customer, if it has one.
    Customer(Option<String>),
    /// Stripe knows no such thing.
    Missing,
    /// Stripe could not be asked; only for questions that need no answer.
    Untold,
}

/// The answers had so far.
pub type Answers = BTreeMap<Question, Answer>;

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Its effect is known.
    Settled(Box<Settlement>),
    /// Ask, then apply it again to the same state with the answers.
    Ask {
        /// What to ask.
        questions: Vec<Question>,
        /// Whether it can be settled without, if less well.
        needed: bool,
    },
}

/// The effect of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// What is known of the customer now.
    pub state: CustomerState,
    /// The customer, where only an answer told it.
    pub customer: Option<String>,
    /// What to tell the user.
    pub notice: Option<BillingNotice>,
    /// What to tell the operators.
    pub alerts: Vec<Alert>,
    /// Whether the event could not be brought home to a user.
    pub unresolved: bool,
    /// Whether this release does anything with events of this type.
    pub handled: bool,
}

/// Something operators should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alert {
    /// A subscription has a status this release does not know.
    UnknownStatus,
    /// Nobody knows whose this is.
    UnknownUser,
    /// Stripe knows nothing of a subscription it told us about.
    MissingSubscription,
    /// A charge is contested: there is a deadline to answer.
    DisputeOpened,
    /// A user of ours pays for something that is none of our prices.
    ForeignPrice,
    /// A user pays for a second subscription beside the first.
    SecondSubscription,
}

named!(Alert, "alert", {
    UnknownStatus => "unknown_status", UnknownUser => "unknown_user",
    MissingSubscription => "missing_subscription", DisputeOpened => "dispute_opened",
    ForeignPrice => "foreign_price", SecondSubscription => "second_subscription",
});

/// Something to tell a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingNotice {
    /// What happened.
    pub kind: NoticeKind,
    /// To whom.
    pub user: Uuid,
    /// How much, in the currency's smallest unit.
    pub amount: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// Where they can act.
    pub url: Option<String>,
    /// The next attempt, or the end of the trial, in Unix seconds.
    pub at: Option<i64>,
}

/// The things users are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A payment failed.
    PaymentFailed,
    /// A payment has to be confirmed.
    ActionRequired,
    /// A trial is about to end.
    TrialWillEnd,
    /// A charge is contested.
    DisputeOpened,
}

named!(NoticeKind, "kind of notice", {
    PaymentFailed => "payment_failed", ActionRequired => "payment_action_required",
    TrialWillEnd => "trial_will_end", DisputeOpened => "dispute_opened",
});

/// The customer an event is about, as it says itself or as Stripe told.
pub fn customer_of(event: &Event, answers: &Answers) -> Option<String> {
    let told = || {
        answers.values().find_map(|answer| match answer {
            Answer::Customer(customer) => customer.clone(),
            Answer::Subscription(..) | Answer::Missing | Answer::Untold => None,
        })
    };
    event.customer().or_else(told)
}
