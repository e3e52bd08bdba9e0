//! The scenes, in the order they are measured. Each starts what it needs, measures its
//! subjects in turn, and ends everything.

mod accept;
mod finish;
mod history;
pub(super) mod in_flight;
mod pickup;
mod poll;
mod start;
mod streams;
mod webhooks;

use super::Run;
use crate::bench::BenchError;
use crate::bench::results::Scene;

/// The parts of a scene with their names.
type Parts = Vec<(&'static str, Scene)>;

/// A scene.
pub(super) struct Entry {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// Measures it; one scene can have several parts with names of their own.
    pub(super) measure: fn(&Run<'_>) -> Result<Parts, BenchError>,
}

/// The scene that is measured only if it is asked for.
pub(super) const HISTORY: &str = "history";

/// All of them.
pub(super) const SCENES: [Entry; 10] = [
    Entry { name: "start", measure: start::measure },
    Entry { name: "pickup", measure: pickup::measure },
    Entry { name: "accept", measure: accept::measure },
    Entry { name: "poll", measure: poll::measure },
    Entry { name: "finish", measure: finish::at_once },
    Entry { name: "finish-slow", measure: finish::after_two_seconds },
    Entry { name: "webhooks", measure: webhooks::measure },
    Entry { name: "in-flight", measure: in_flight::measure },
    Entry { name: "streams", measure: streams::measure },
    Entry { name: HISTORY, measure: history::measure },
];

// The names of the parts and figures that the page reads.
pub(super) const ACCEPT: [&str; 2] = ["accept-32", "accept-256"];
pub(super) const POLL: &str = "poll";
pub(super) const FINISH: &str = "finish-0s";
pub(super) const FINISH_SLOW: &str = "finish-2s";
pub(super) const PICKUP: &str = "pickup";
pub(super) const WEBHOOKS: &str = "webhooks";
pub(super) const IN_FLIGHT: &str = "in-flight";
pub(super) const STREAMS: &str = "streams";
pub(super) const START: &str = "start";

pub(super) const UNCHANGED: &str = "Regimen, 304";
pub(super) const WATCHED: &str = "Regimen, one job watched by all";
pub(super) const BARE_UNCHANGED: &str = "bare axum, 304";
pub(super) const PGBENCH: &str = "pgbench, one row a transaction";
pub(super) const PGBENCH_BATCH: &str = "pgbench, 50 rows a transaction";
pub(super) const REDIS: &str = "Redis LPUSH alone, 32 connections";
pub(super) const BLOCKING_POP: &str = "Redis, push to blocking pop";

/// The two ways to have ten thousand jobs in flight.
pub(super) const TWO_SECONDS: &str = "2 s each";
pub(super) const HELD_BACK: &str = "all held by the provider for 12 s";

pub(super) const STEADY_P50: &str = "p50 ms at half load";
pub(super) const STEADY_P99: &str = "p99 ms at half load";
pub(super) const ACCEPTED: &str = "accepted per second meanwhile";
pub(super) const DRAINED: &str = "per second after the last submission";
pub(super) const APPLIED_P50: &str = "applied after p50 ms";
pub(super) const APPLIED_P99: &str = "applied after p99 ms";
pub(super) const DONE: &str = "jobs finished";
pub(super) const READY: &str = "ready after ms";
pub(super) const IDLE: &str = "idle MiB";
pub(super) const PEAK: &str = "highest MiB";
pub(super) const HELD: &str = "held at once";
pub(super) const KIB_EACH: &str = "KiB each";
pub(super) const LOST: &str = "leases lost";
pub(super) const HEARTBEATS_FAILED: &str = "heartbeats failed";
