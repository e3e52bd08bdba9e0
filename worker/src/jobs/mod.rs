//! The job list.

pub mod attempts;
pub mod backfill;
pub mod callback;
pub mod conclude;
pub mod generate;
pub mod notify;
pub mod order;
pub mod reconcile;
pub mod stripe_event;
pub mod stripe_reconcile;
pub mod stripe_rules;
pub mod stripe_settle;
pub mod verifier;
