//! Black-box tests of the ingress: the real binary over real sockets, with
//! its own Postgres database and Redis prefix a test.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod account;
mod app;
mod attacks;
mod billing;
mod check;
mod clocks;
mod console;
mod documentation;
mod group_commit;
mod harness;
mod idempotency;
mod ingress;
mod metrics;
mod operators;
mod shutdown;
mod start;
mod stripe_libraries;
mod stripe_webhook;
mod usage_limits;
mod watching;
