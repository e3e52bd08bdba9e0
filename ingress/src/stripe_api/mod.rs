//! Stripe's API as the ingress uses it: the settings, the fields that are read,
//! and the errors for callers.

pub mod account;
mod config;
mod error;
pub mod replies;

/// Where Stripe delivers its events to.
pub const WEBHOOK_PATH: &str = "/api/stripe/webhook";

pub use config::StripeConfig;
pub use error::for_operator;
