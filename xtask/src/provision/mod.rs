//! What this machine must have, above all PostgreSQL and Redis: found, or
//! installed, or reported as missing.

mod chromium;
mod find;
mod install;
mod monitoring;
mod version;

use std::fmt;
use std::path::PathBuf;

use crate::session::Session;
pub(crate) use chromium::chromium;
pub(crate) use monitoring::{MonitoringError, monitoring};
use regimen_devtools::Interrupted;
use regimen_devtools::process::ProcessError;
use version::Version;

/// The oldest supported PostgreSQL.
const POSTGRES_SINCE: u32 = 15;

/// The oldest supported Redis. Valkey forked from Redis 7.2, so any version of it works.
const REDIS_SINCE: u32 = 7;

/// The server programs of one PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostgresPrograms {
    /// The folder with `postgres` and `initdb`.
    pub(crate) folder: PathBuf,
    /// Its major version: data of one does not work with another.
    pub(crate) major: u32,
    version: Version,
}

/// The server program of one Redis or Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedisProgram {
    /// The program.
    pub(crate) path: PathBuf,
    version: Version,
}

/// Both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// PostgreSQL's.
    pub(crate) postgres: PostgresPrograms,
    /// Redis's.
    pub(crate) redis: RedisProgram,
}

/// What this machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The PostgreSQL server.
    Postgres,
    /// The Redis server.
    Redis,
    /// The library that sets the clock of a process.
    Faketime,
    /// The pooler that tests put in front of PostgreSQL.
    Pgbouncer,
    /// The router of alert notifications.
    Alertmanager,
    /// The browser of the console's tests.
    Chromium,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres => write!(f, "PostgreSQL {POSTGRES_SINCE} or newer"),
            Self::Redis => write!(f, "Redis {REDIS_SINCE} or newer"),
            Self::Faketime => write!(f, "libfaketime"),
            Self::Pgbouncer => f.write_str("pgbouncer"),
            Self::Alertmanager => f.write_str("Alertmanager"),
            Self::Chromium => f.write_str("Chromium"),
        }
    }
}

/// Why something is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvisionError {
    /// A variable names programs that do not exist or do not work.
    #[error("{variable} is {}, but {problem}", value.display())]
    Override {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: PathBuf,
        /// The problem.
        problem: String,
    },
    /// There is no way to install what is missing.
    #[error("this machine lacks {}.\n{}", list(.missing), install::BY_HAND)]
    NoInstaller {
        /// What to install by hand.
        missing: Vec<Missing>,
    },
    /// The system's own packages are too old.
    #[error("the packages of this system offer no {missing} (`{package}`: {offered}).\n{how}")]
    NotOffered {
        /// What is needed.
        missing: Missing,
        /// The package looked at.
        package: &'static str,
        /// The package's version, or that there is none.
        offered: String,
        /// Where to get a newer one.
        how: &'static str,
    },
    /// The installation failed.
    #[error("cannot install {}: {source}\nTo install by hand: {}", list(.missing), install::BY_HAND)]
    Install {
        /// What was to be installed.
        missing: Vec<Missing>,
        /// The error.
        source: ProcessError,
    },
    /// The installation succeeded, but what it should have installed is still missing.
    #[error("{} was installed, but is not where it was expected; {}", list(.missing), install::ELSEWHERE)]
    StillMissing {
        /// What is still missing.
        missing: Vec<Missing>,
    },
    /// A file of what was to be unpacked cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Packages could not be prevented from starting services.
    #[error("cannot keep the packages from starting services of their own: {0}")]
    Services(#[source] ProcessError),
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Finds PostgreSQL and Redis, installing what is missing.
///
/// # Errors
/// See [`ProvisionError`].
pub(crate) fn programs(session: &Session) -> Result<Programs, ProvisionError> {
    let machine = find::Machine::this();
    let missing = match look(&machine)? {
        Ok(programs) => return Ok(announce(session, programs)),
        Err(missing) => missing,
    };
    session.say(format_args!("not on this machine: {}", list(&missing)));
    install::install(session, &machine, &missing)?;
    match look(&machine)? {
        Ok(programs) => Ok(announce(session, programs)),
        Err(missing) => Err(ProvisionError::StillMissing { missing }),
    }
}

/// Finds libfaketime, installing it if it is missing; none on systems other than Linux,
/// where it cannot be loaded into any process.
///
/// # Errors
/// See [`ProvisionError`].
pub(crate) fn faketime(session: &Session) -> Result<Option<PathBuf>, ProvisionError> {
    if !cfg!(target_os = "linux") {
        session.say("only Linux can give processes clocks of their own: all clocks are right");
        return Ok(None);
    }
    let machine = find::Machine::this();
    if let Some(library) = machine.faketime()? {
        return Ok(Some(library));
    }
    let missing = [Missing::Faketime];
    session.say(format_args!("not on this machine: {}", list(&missing)));
    install::install(session, &machine, &missing)?;
    let found = machine.faketime()?;
    found.map(Some).ok_or(ProvisionError::StillMissing { missing: missing.to_vec() })
}

/// Finds or installs pgbouncer, which only tests need. Without it the tests that need it
/// fail with a message; the others run.
///
/// # Errors
/// The program was interrupted.
pub(crate) fn pgbouncer(session: &Session) -> Result<Option<PathBuf>, ProvisionError> {
    let machine = find::Machine::this();
    let found = machine.pgbouncer();
    if found.is_some() {
        return Ok(found);
    }
    session.say("not on this machine: pgbouncer");
    match install::install(session, &machine, &[Missing::Pgbouncer]) {
        Ok(()) => Ok(machine.pgbouncer()),
        Err(interrupted @ ProvisionError::Interrupted(_)) => Err(interrupted),
        Err(error) => {
            session.say(format_args!("{error}\n  going on without pgbouncer"));
            Ok(None)
        }
    }
}

/// Finds or installs Alertmanager. Debian's reads its templates from the installed path,
/// so that unpacked elsewhere it does not start.
///
/// # Errors
/// See [`ProvisionError`].
pub(crate) fn alertmanager(session: &Session) -> Result<PathBuf, ProvisionError> {
    let machine = find::Machine::this();
    let find = || {
        ["prometheus-alertmanager", "alertmanager"].iter().find_map(|name| machine.program(name))
    };
    if let Some(program) = find() {
        return Ok(program);
    }
    let missing = [Missing::Alertmanager];
    session.say(format_args!("not on this machine: {}", list(&missing)));
    install::install(session, &machine, &missing)?;
    find().ok_or(ProvisionError::StillMissing { missing: missing.to_vec() })
}

fn look(machine: &find::Machine) -> Result<Result<Programs, Vec<Missing>>, ProvisionError> {
    let (postgres, redis) = (machine.postgres()?, machine.redis()?);
    let mut missing = Vec::new();
    if postgres.is_none() {
        missing.push(Missing::Postgres);
    }
    if redis.is_none() {
        missing.push(Missing::Redis);
    }
    Ok(match (postgres, redis) {
        (Some(postgres), Some(redis)) => Ok(Programs { postgres, redis }),
        _ => Err(missing),
    })
}

fn announce(session: &Session, programs: Programs) -> Programs {
    let Programs { postgres, redis } = &programs;
    session.say(format_args!("{} in {}", postgres.version, postgres.folder.display()));
    session.say(format_args!("{} at {}", redis.version, redis.path.display()));
    programs
}

fn list(missing: &[Missing]) -> String {
    missing.iter().map(Missing::to_string).collect::<Vec<_>>().join(" and ")
}
