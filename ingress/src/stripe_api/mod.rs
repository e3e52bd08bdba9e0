//! Stripe's API: its settings, the calls to it, and what is read of its objects.

pub mod account;
mod client;
mod config;
mod error;
pub mod replies;

pub use client::{Reply, StripeApi};
pub use config::StripeConfig;
pub use error::{CallError, Refusal};
