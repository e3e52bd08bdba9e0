//! SQL of both binaries: one file per table group, plain functions over a
//! client or a transaction.

pub mod accounts;
pub mod admin_actions;
pub mod billing;
pub mod callbacks;
mod connect;
mod error;
pub mod generations;
pub mod jobs;
pub mod migrate;
pub mod models;
pub mod pauses;
pub mod plans;
pub mod spend;
pub mod usage;

pub use connect::{connect, pool};
pub use error::{DbError, RootCertificatesProblem};
