//! Black-box tests of the worker, on real Postgres, Redis and processes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed helper is a failed test")]

mod admin;
mod app;
mod app_constraints;
mod budget;
mod callbacks;
mod cancel;
mod check;
mod console;
mod crash;
mod deleted_accounts;
mod drain;
mod erasure;
mod fairness;
mod fallback;
mod fitting_plans;
mod fleet;
mod health;
mod idempotency;
mod logs;
mod metrics;
mod monitoring;
mod outage;
mod panics;
mod pauses;
mod pay_once;
mod postgres;
mod providers;
mod redis_faults;
mod restore;
mod retention;
mod retry;
mod signals;
mod source;
mod start;
mod stats;
mod stripe;
mod warnings;
mod writes;
