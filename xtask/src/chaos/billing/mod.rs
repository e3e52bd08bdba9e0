//! Stripe's part of a run: customers whose subscriptions go through generated
//! histories, the deliveries of their events, and Stripe's API for the worker.

mod api;
mod delivery;
mod stories;
#[expect(unreachable_pub, reason = "the same file is a public module of another crate")]
#[path = "../../../../common/src/test_support/stripe_story.rs"]
mod story;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

pub(super) use api::{KEY, StripeApi};
pub(super) use delivery::{Mailbag, deliver};
pub(super) use stories::{Teller, tell};
use story::Stripe;

/// The present state of everything at Stripe.
#[derive(Debug, Default)]
pub(super) struct Truth(Mutex<Vec<Stripe>>);

/// The expected final state of a user's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) plan: &'static str,
    /// The day of the next payment, `YYYY-MM-DD`.
    pub(super) renews: Option<String>,
}

/// The expected effect of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Whether users are notified of events of this type.
    pub(super) told: bool,
}

/// `STRIPE_PRICES` of the run: some of the prices customers buy are not ours.
pub(super) fn prices() -> String {
    let offers: Vec<_> = story::our_prices().map(|price| format!("{price}={price}")).collect();
    offers.join(",")
}

impl Truth {
    fn stories(&self) -> MutexGuard<'_, Vec<Stripe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every event that was sent.
    pub(super) fn events(&self) -> BTreeMap<String, Sent> {
        let stories = self.stories();
        let events = stories.iter().flat_map(|stripe| &stripe.events);
        let sent = |event: &serde_json::Value| {
            let kind = event["type"].as_str().unwrap_or_default();
            let told = matches!(
                kind,
                "invoice.payment_failed"
                    | "customer.subscription.trial_will_end"
                    | "charge.dispute.created"
            );
            (event["id"].as_str().unwrap_or_default().to_owned(), Sent { told })
        };
        events.map(sent).collect()
    }

    /// What every user in the histories has paid for, by Stripe's state.
    pub(super) fn due(&self) -> BTreeMap<Uuid, Due> {
        let stories = self.stories();
        let users = stories
            .iter()
            .flat_map(|stripe| [stripe.buyer, stripe.friend].map(|user| (user, due(stripe, user))));
        users.collect()
    }
}

/// A user with a failing payment keeps pro for days: longer than any run.
fn due(stripe: &Stripe, user: Uuid) -> Due {
    let paid = stripe.subscriptions.iter().filter(|subscription| {
        stripe.owner(subscription) == Some(user)
            && !stripe.deleted
            && subscription.counts(stripe.now)
            && matches!(subscription.status, "active" | "trialing" | "past_due")
    });
    let last = paid.map(|subscription| subscription.period_end).max();
    let plan = if last.is_some() { "pro" } else { "free" };
    Due { plan, renews: last.map(crate::clock::day) }
}
