//! Runs claimed work: claims it, keeps its leases, drains. Independent of the
//! kinds of work: each kind implements [`consumer::Source`] for its claim and
//! [`consumer::Job`] for its handler.

use std::time::Duration;

use regimen_common::db::Pool;
use regimen_common::shutdown::Shutdown;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod announce;
pub mod backend;
pub mod consumer;
pub mod heartbeat;
pub mod in_flight;
pub mod panics;
pub mod paused;
pub mod quarantine;
pub mod redis_source;
pub mod release;
pub mod shutdown;
pub mod traced;
pub mod write_retry;

/// What the runner needs of its process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// Postgres.
    pub db: Pool,
    /// The jobs this process has claimed.
    pub in_flight: in_flight::InFlight,
    /// Tells the fleet what was committed.
    pub announcer: announce::Announcer,
    /// Drain and stop.
    pub shutdown: Shutdown,
    /// Cancelled when the drain time is over: pending writes are given up.
    pub cancellation: CancellationToken,
    /// Tasks that must end before the process does, besides the handlers.
    pub tasks: TaskTracker,
    /// This worker's name in claims.
    pub worker_id: String,
    /// How long running jobs may finish after SIGTERM.
    pub drain: Duration,
}
