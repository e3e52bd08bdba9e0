//! Stripe, seen from the door: settings and the calls made for a caller.
//!
//! - [`api`]: one call, repeated under one key; [`keys`]: which key.
//! - [`checkout`]: buying and managing one's own subscription.
//! - [`return_url`]: where Stripe may send people back to.
//! - [`operate`]: what operators change in other people's subscriptions.
//! - [`revenue`]: what all subscriptions together bring.
//! - [`replies`]: what is read of Stripe's objects.

pub mod api;
pub mod checkout;
mod config;
mod error;
pub mod keys;
pub mod operate;
pub mod replies;
pub mod return_url;
pub mod revenue;

pub use api::StripeApi;
pub use config::{Offer, StripeConfig};
pub use error::{CallError, Refusal};

/// Whether `text` may be an id of one of Stripe's objects. Ids become parts of
/// addresses, so nothing else may. Prices that were once plans have ids of their
/// owner's choice, such as `pro-monthly`.
pub fn is_stripe_id(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}
