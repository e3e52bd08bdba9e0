//! Calls to Stripe's API, for both binaries: sending, retries and errors.

mod client;
mod error;

pub use client::{Reply, StripeClient};
pub use error::{Refusal, StripeError};
