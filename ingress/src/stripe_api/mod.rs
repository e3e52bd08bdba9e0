//! Stripe's API as the ingress uses it: the settings, the fields that are read,
//! and the errors for callers.

pub mod account;
mod config;
mod error;
pub mod replies;

pub use config::StripeConfig;
pub use error::for_operator;
