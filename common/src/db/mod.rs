//! SQL of both binaries: one file per table group, plain functions over a
//! client or a transaction.

pub mod accounts;
pub mod admin_actions;
pub mod billing;
pub mod callbacks;
mod client;
mod connect;
mod error;
pub mod generations;
pub mod jobs;
pub mod limits;
pub mod migrate;
pub mod models;
pub mod pauses;
pub mod plans;
mod pool;
mod pooler;
pub mod spend;
pub mod usage;

pub use client::{Client, GenericClient, Transaction};
pub use connect::{connect, pool, pool_with};
pub use error::{Asked, DbError, RootCertificatesProblem};
pub use limits::Limits;
pub use pool::Pool;
