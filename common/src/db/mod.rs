//! SQL of both binaries: one file per table group, plain functions over a
//! client or a transaction.

pub mod accounts;
pub mod admin_actions;
pub mod app_indexes;
mod batch;
pub mod billing;
pub mod callbacks;
mod client;
mod connect;
pub mod console;
pub mod dead;
pub mod erasure;
mod error;
pub mod export;
pub mod generations;
pub mod group_commit;
pub mod jobs;
pub mod limits;
pub mod migrate;
pub mod models;
pub mod pauses;
mod planner;
pub mod plans;
mod pool;
mod pooler;
mod rehearsal;
pub mod report;
pub mod retention;
pub mod spend;
pub mod stats;
pub mod test_calls;
mod url;
pub mod usage;
pub mod workers;

pub use self::url::url_from_env;
pub use batch::{Outcome, PoisonRow};
pub use client::{Client, GenericClient, Transaction};
pub use connect::{connect, heartbeat_pool, hosts, pool, pool_with, verifies_tls};
pub use error::{Asked, DbError, RootCertificatesProblem};
pub use limits::StatementLimits;
pub use pool::Pool;
pub use rehearsal::{Rehearsal, Step, TableLock, rehearse};

/// A duration from the database; infinity is the longest one.
pub(crate) fn elapsed(seconds: f64) -> std::time::Duration {
    std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(std::time::Duration::MAX)
}
