//! The seeded schedule of faults, in four lanes that know nothing of each
//! other: workers, ingresses, Redis, Postgres. Faults of different lanes meet.

mod kinds;
mod postgres;
mod processes;
mod redis;
mod timetable;

pub(crate) use kinds::{Choice, Kind};
pub(super) use postgres::postgres;
pub(super) use processes::{ingresses, workers};
pub(super) use redis::redis;
pub(super) use timetable::Tempo;

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

/// Why a lane came to its end before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    /// A process does not do what its kind promises.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A store does not come back.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// Redis does not take what a fault consists of.
    #[error(transparent)]
    Redis(#[from] RespError),
    /// PostgreSQL does not take what a fault consists of.
    #[error(transparent)]
    Postgres(#[from] PsqlError),
    /// A client program of PostgreSQL does not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A fault that hurts nobody shows nothing.
    #[error("the fault \"{what}\" of {whom} did not take effect: {seen}")]
    Harmless {
        /// What was done.
        what: &'static str,
        /// To what.
        whom: &'static str,
        /// What was seen instead.
        seen: String,
    },
    /// We are asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What the stores are called, and the queues that operators pause in one of them.
const REDIS: &str = "Redis";
const POSTGRES: &str = "Postgres";
const QUEUES: &str = "queues";

/// A fault, as the report tells of it.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// What was done.
    pub(super) what: &'static str,
    /// To what.
    pub(super) whom: String,
    /// When, microseconds since 1970.
    pub(super) at: u64,
    /// When it was back.
    pub(super) back: u64,
    /// The worker that stopped working at that moment, as Postgres knows it.
    pub(super) worker: Option<String>,
}

impl Fault {
    /// Its kind, whoever of a kind it befell.
    pub(super) fn kind(&self) -> String {
        let whom = self.whom.split('-').next().unwrap_or_default();
        format!("{whom} {}", self.what)
    }

    /// Whether it befell Redis, without which everything goes on.
    pub(super) fn is_of_redis(&self) -> bool {
        self.whom == REDIS
    }

    /// Whether no job could be taken meanwhile: Postgres was in trouble, or
    /// operators had paused what stands in it.
    pub(super) fn stops_claims(&self) -> bool {
        matches!(self.whom.as_str(), POSTGRES | QUEUES)
    }
}

/// What a lane did, and what the processes had counted until then.
#[derive(Debug, Default)]
pub(super) struct LaneLog {
    pub(super) faults: Vec<Fault>,
    pub(super) counts: Counts,
    /// Processes that ended although nobody touched them.
    pub(super) unexpected: Vec<String>,
}

/// One fault of a store after the other until the load is over. `strike`
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

/// The connections that stand go silent for a while; new ones work.
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
