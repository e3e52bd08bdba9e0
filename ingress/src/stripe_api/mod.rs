//! Stripe's API: settings, calls, and the fields that are read of its objects.

pub mod account;
mod client;
mod config;
mod error;
pub mod replies;

pub use client::{Reply, StripeApi};
pub use config::StripeConfig;
pub use error::{CallError, Refusal};
