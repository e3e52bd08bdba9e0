//! The seeded schedule of faults in four independent lanes: workers, ingresses,
//! Redis, Postgres. Faults of different lanes overlap.

mod kinds;
mod postgres;
mod processes;
mod redis;
mod rollout;
mod timetable;

pub(crate) use kinds::{Choice, Kind};
pub(super) use postgres::postgres;
pub(super) use processes::{ingresses, workers};
pub(super) use redis::redis;
pub(super) use rollout::{Rollout, roll_out};
pub(super) use timetable::Tempo;

use super::failover::FailoverError;
use super::fleet::{Counts, FleetError};
use super::stop::Stage;
use crate::clock;
use crate::psql::PsqlError;
use crate::resp::RespError;
use crate::servers::ServersError;
use regimen_devtools::Interrupted;
use regimen_devtools::process::ProcessError;
use regimen_devtools::proxy::Proxy;
use timetable::{Timetable, Turn};

/// Why a lane ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    /// A process does not behave as its kind must.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A store does not start again.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// Redis refuses a command of a fault.
    #[error(transparent)]
    Redis(#[from] RespError),
    /// PostgreSQL refuses a command of a fault.
    #[error(transparent)]
    Postgres(#[from] PsqlError),
    /// A store does not fail over.
    #[error(transparent)]
    Failover(#[from] FailoverError),
    /// psql does not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A fault has no effect, so that it tests nothing.
    #[error("the fault \"{what}\" of {whom} did not take effect: {seen}")]
    Harmless {
        /// The fault.
        what: &'static str,
        /// Its target.
        whom: &'static str,
        /// What was observed instead.
        seen: String,
    },
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The names of the stores in the report, and of the queues that operators pause.
pub(super) const REDIS: &str = "Redis";
pub(super) const POSTGRES: &str = "Postgres";
const QUEUES: &str = "queues";

/// A fault, for the report.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// The fault.
    pub(super) what: &'static str,
    /// Its target.
    pub(super) whom: String,
    /// When it began, microseconds since 1970.
    pub(super) at: u64,
    /// When it was over.
    pub(super) back: u64,
    /// The id in Postgres of the worker that stopped working at that moment.
    pub(super) worker: Option<String>,
}

impl Fault {
    /// Its kind, independent of the target.
    pub(super) fn kind(&self) -> String {
        let whom = self.whom.split('-').next().unwrap_or_default();
        format!("{whom} {}", self.what)
    }

    /// Whether it is a fault of Redis, which must not stop the work.
    pub(super) fn is_of_redis(&self) -> bool {
        self.whom == REDIS
    }

    /// Whether no job could be claimed during it: Postgres failed, or operators had
    /// paused the queues.
    pub(super) fn stops_claims(&self) -> bool {
        matches!(self.whom.as_str(), POSTGRES | QUEUES)
    }
}

/// The faults of a lane, and what the processes had counted until then.
#[derive(Debug, Default)]
pub(super) struct LaneLog {
    pub(super) faults: Vec<Fault>,
    pub(super) counts: Counts,
    /// Processes that ended unexpectedly.
    pub(super) unexpected: Vec<String>,
    /// How long after each failover every process was ready again, microseconds.
    pub(super) returns: Vec<u64>,
}

/// Causes the faults of one store, one after the other, until the load is over. `strike`
/// returns when the fault has ended.
fn one_by_one(
    stage: &Stage<'_>,
    timetable: Timetable,
    mut strike: impl FnMut(&Turn) -> Result<(), LaneError>,
) -> Result<LaneLog, LaneError> {
    let mut log = LaneLog::default();
    for turn in timetable {
        stage.rest(turn.pause)?;
        if !stage.loading()? {
            break;
        }
        let (what, whom) = turn.told();
        stage.session.say(format_args!("  {what}: {whom}"));
        let at = clock::micros_since_1970();
        strike(&turn)?;
        let back = clock::micros_since_1970();
        log.faults.push(Fault { what, whom: whom.to_owned(), at, back, worker: None });
    }
    Ok(log)
}

/// Silences the open connections for a while; new ones work.
fn stall(stage: &Stage<'_>, proxy: &Proxy, turn: &Turn) -> Result<(), LaneError> {
    if proxy.freeze() == 0 {
        let (what, whom) = turn.told();
        let seen = "no connection stood".to_owned();
        return Err(LaneError::Harmless { what, whom, seen });
    }
    stage.rest(turn.lasts)?;
    if turn.late {
        proxy.resume()
    } else {
        proxy.cut_frozen()
    }
    Ok(())
}
