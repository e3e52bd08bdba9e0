//! The one route table: each module owns its routes, this file merges them.

pub mod admin;
pub mod billing;
pub mod health;
pub mod jobs;
pub mod legacy;
pub mod plans;
pub mod stripe;
pub mod usage;
