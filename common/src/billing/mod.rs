//! What a Stripe subscription entitles its user to: pure rules, no I/O.
//!
//! Stripe delivers events in any order, twice, late or not at all. So nothing
//! here trusts arrival order: [`apply`](apply::apply) folds one event into
//! what is known of a customer, and says when only Stripe itself can tell
//! which of two states is the newer one. The caller then fetches the
//! subscription and applies the event again with the answer.
//!
//! - [`signature`]: is this body really from Stripe?
//! - [`event`], [`object`]: reading it, whatever its API version.
//! - [`record`]: which of two snapshots of a subscription counts.
//! - [`entitlement`]: from what is known of a user to plan and renewal date.
//! - [`state`]: what is known of a customer.
//! - [`apply`]: one event's effect on everything above.
//! - [`verdict`]: what comes of that.
//! - [`metrics`]: what all subscriptions together bring.

pub mod apply;
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

/// The version of Stripe's API we ask in: the one whose shapes we know best.
pub const API_VERSION: &str = "2026-10-28.endive";
