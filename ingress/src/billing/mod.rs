//! Stripe, seen from the door: settings and the calls made for a caller.

mod config;

pub use config::StripeConfig;
