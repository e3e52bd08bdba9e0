//! Stripe's API as the ingress uses it: settings, what is read of its objects,
//! and what callers are told when a call fails.

pub mod account;
mod config;
mod error;
pub mod replies;

pub use config::StripeConfig;
pub use error::for_operator;
