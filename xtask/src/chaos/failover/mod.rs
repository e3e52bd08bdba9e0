//! Real failovers: the primary of a store ends for good, its replica takes over
//! by the store's own means, and the old primary comes back as the replica.

mod cluster;
mod node;
mod sentinel;
mod standby;

use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::faults::{Fault, LaneError, LaneLog, POSTGRES, REDIS};
use super::stop::Stage;
use crate::clock;
use crate::psql::PsqlError;
use crate::resp::RespError;
use crate::servers::{Servers, ServersError};
use crate::session::Session;
use regimen_devtools::Interrupted;
use regimen_devtools::postgres::PostgresError;
use regimen_devtools::process::ProcessError;
use regimen_devtools::proxy::Proxy;
use regimen_devtools::redis::RedisError;

/// The load before the first failover and between two.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a replica may take to take over, or to follow its new primary.
const IN_TIME: Duration = Duration::from_secs(60);
/// How long processes may take to be ready again; the checker promises less.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The answer of a process that uses both stores.
const READY: &str = "\"status\":\"ready\"";

/// Which store fails over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Failover {
    /// A Redis Cluster of three masters; the one with our keys has a replica.
    Cluster,
    /// A Redis with a password and a replica, behind three sentinels.
    Sentinel,
    /// A PostgreSQL with a synchronous streaming replica.
    Postgres,
}

impl Failover {
    /// The store.
    fn whom(self) -> &'static str {
        match self {
            Self::Cluster | Self::Sentinel => REDIS,
            Self::Postgres => POSTGRES,
        }
    }

    /// Whether it is a Redis.
    pub(super) fn is_of_redis(self) -> bool {
        self.whom() == REDIS
    }

    /// What fails over, for the report.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Cluster => "failovers of a Redis Cluster",
            Self::Sentinel => "failovers of Redis by its sentinels",
            Self::Postgres => "failovers of PostgreSQL to its streaming replica",
        }
    }
}

/// Why a failover did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FailoverError {
    /// A Redis does not start.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Redis refuses a command.
    #[error(transparent)]
    Refused(#[from] RespError),
    /// A PostgreSQL does not start.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A server does not start.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// PostgreSQL refuses a statement.
    #[error(transparent)]
    Psql(#[from] PsqlError),
    /// A process cannot be watched.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Something that should follow by itself does not.
    #[error("within {} s it did not happen that {what}", IN_TIME.as_secs())]
    NotInTime {
        /// What should have happened.
        what: &'static str,
    },
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A primary and its replica.
pub(super) trait Pair: Send {
    /// The URL by which the fleet reaches whichever is the primary.
    fn url(&self) -> &str;

    /// The port of the primary.
    fn port(&self, servers: &Servers) -> u16;

    /// Ends the primary; returns when the replica accepts writes in its place.
    ///
    /// # Errors
    /// It does not.
    fn fail_over(&mut self, session: &Session, servers: &mut Servers) -> Result<(), FailoverError>;

    /// Brings the former primary back as the replica; returns when it follows.
    ///
    /// # Errors
    /// It does not.
    fn mend(&mut self, session: &Session, servers: &mut Servers) -> Result<(), FailoverError>;
}

/// Starts the servers of a failover besides `servers`.
///
/// # Errors
/// They do not start, or do not find each other.
pub(super) fn start(
    which: Failover,
    session: &Session,
    servers: &mut Servers,
) -> Result<Box<dyn Pair>, FailoverError> {
    session.say(format_args!("starting the servers of the {}", which.told()));
    Ok(match which {
        Failover::Cluster => Box::new(cluster::Cluster::start(session, servers)?),
        Failover::Sentinel => Box::new(sentinel::Watched::start(session, servers)?),
        Failover::Postgres => Box::new(standby::Standby::start(session, servers)?),
    })
}

/// Fails over again and again until the load is over. `readiness` are the URLs under which
/// the processes tell whether they use both stores.
///
/// # Errors
/// A failover does not happen, so that it tests nothing.
pub(super) fn again_and_again(
    which: Failover,
    stage: &Stage<'_>,
    pair: &mut dyn Pair,
    servers: &mut Servers,
    door: &Proxy,
    readiness: &[String],
) -> Result<LaneLog, LaneError> {
    let (session, agent) = (stage.session, super::clients::agent());
    let mut log = LaneLog::default();
    loop {
        stage.rest(PAUSE)?;
        if !stage.loading()? {
            return Ok(log);
        }
        session.say(format_args!("  failover: {}", which.whom()));
        let at = clock::micros_since_1970();
        pair.fail_over(session, servers)?;
        door.retarget(format!("127.0.0.1:{}", pair.port(servers)));
        let back = clock::micros_since_1970();
        let whom = which.whom().to_owned();
        log.faults.push(Fault { what: "failover", whom, at, back, worker: None });
        let is_ready = |url: &String| {
            let text =
                agent.get(url).call().and_then(|mut reply| reply.body_mut().read_to_string());
            text.is_ok_and(|text| text.contains(READY))
        };
        let give_up = Instant::now() + READY_WITHIN;
        while !readiness.iter().all(is_ready) && Instant::now() < give_up {
            session.pause()?;
        }
        log.returns.push(clock::micros_since_1970().saturating_sub(back));
        pair.mend(session, servers)?;
    }
}

/// Waits until something has happened; an error of the question counts as no.
fn until<E>(
    session: &Session,
    what: &'static str,
    mut happened: impl FnMut() -> Result<bool, E>,
) -> Result<(), FailoverError> {
    let give_up = Instant::now() + IN_TIME;
    while !happened().unwrap_or(false) {
        if Instant::now() > give_up {
            return Err(FailoverError::NotInTime { what });
        }
        session.pause()?;
    }
    Ok(())
}
