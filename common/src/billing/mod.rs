//! What a Stripe subscription entitles its user to: pure rules, no I/O.
//!
//! Stripe delivers events in any order, twice, late or not at all. So arrival
//! order is never trusted: [`apply`](apply::apply) merges one event into the
//! known state of a customer, and says when only Stripe can tell which of two
//! states is newer. The caller then fetches the subscription and applies the
//! event again with the answer.
//!
//! - [`signature`]: verifies that a body comes from Stripe.
//! - [`event`], [`object`]: parse it, for any API version.
//! - [`record`]: which of two snapshots of a subscription counts.
//! - [`entitlement`]: derives plan and renewal date of a user.
//! - [`state`]: the known state of a customer.
//! - [`apply`]: the effect of one event on all of the above.
//! - [`verdict`]: the result of that.
//! - [`metrics`]: revenue numbers over all subscriptions.

pub mod apply;
pub mod currency;
pub mod entitlement;
pub mod event;
pub mod metrics;
pub mod object;
pub mod record;
pub mod signature;
pub mod state;
pub mod verdict;

mod config;
mod lenient;

pub use config::{Mode, Offer, Offers, StripeAccess, is_stripe_id};

/// The version of Stripe's API in our requests.
pub const API_VERSION: &str = "2026-10-28.endive";
