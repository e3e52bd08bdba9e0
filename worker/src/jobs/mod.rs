//! The job list.

pub mod generate;
pub mod notify;
pub mod reconcile;
pub mod stripe_event;
