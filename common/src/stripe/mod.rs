//! Calls to Stripe's API, for both binaries: one way to send a request, repeat
//! it, and understand a refusal.

mod client;
mod error;

pub use client::{Reply, StripeClient};
pub use error::{Refusal, StripeError};
