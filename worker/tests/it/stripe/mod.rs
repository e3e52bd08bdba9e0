//! Stripe's events on their way through a worker, on real Postgres and Redis,
//! with a stand-in for Stripe's API behind its real wire format.

#![expect(clippy::unwrap_used, reason = "tests")]

mod backfill;
mod commands;
mod effects;
mod faults;
mod import;
mod localstripe;
mod mails;
mod operators;
mod rules;
mod stories;
pub(crate) mod stripe_api;
pub(crate) mod worker;
mod wrong_mode;
