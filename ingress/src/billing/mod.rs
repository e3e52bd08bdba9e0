//! Stripe, seen from the door: settings and the calls made for a caller.
//!
//! - [`api`]: one call, repeated under one key; [`keys`]: which key.
//! - [`checkout`]: buying and managing one's own subscription.
//! - [`one_checkout`]: one open payment page a user.
//! - [`return_url`]: where Stripe may send people back to.
//! - [`operate`]: what operators change in other people's subscriptions.
//! - [`revenue`]: what all subscriptions together bring.
//! - [`replies`]: what is read of Stripe's objects.

pub mod api;
pub mod checkout;
mod config;
mod error;
pub mod keys;
pub mod one_checkout;
pub mod operate;
pub mod replies;
pub mod return_url;
pub mod revenue;

pub use api::StripeApi;
pub use config::StripeConfig;
pub use error::{CallError, Refusal};
pub use regimen_common::billing::is_stripe_id;
