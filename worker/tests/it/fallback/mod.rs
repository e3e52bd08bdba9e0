//! The fallback inside real workers: what a fleet of them does to its providers,
//! with its money and with what it is answered.

mod budget;
mod cool_down;
mod cost;
mod forced;
mod hanging;
mod metrics;
mod models;
mod odd_replies;
mod own_faults;
pub(crate) mod secrets;
