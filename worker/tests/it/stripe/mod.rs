//! Stripe's events on their way through a worker, on real Postgres and Redis,
//! with a stand-in for Stripe's API behind its real wire format.

#![expect(clippy::unwrap_used, reason = "tests")]

mod effects;
mod faults;
mod stories;
mod stripe_api;
mod worker;
