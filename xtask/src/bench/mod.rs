//! `cargo xtask bench …`: measurements on an optimised build and a stack of
//! their own. They show figures; they judge none.

mod pickup;
mod spread;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::demo::DemoError;
use crate::http::HttpError;
use crate::key_values::FileError;
use crate::process::ProcessError;
use crate::provision::{self, ProvisionError};
use crate::resp::RespError;
use crate::secrets::Secrets;
use crate::servers::{self, Servers, ServersError};
use crate::session::Session;
use crate::signal::Interrupted;
use crate::stack::StackError;
use crate::state::LockError;
use crate::up;
use crate::workspace::Profile;

/// The folder of a benchmark's stack under `target`.
const FOLDER: &str = "bench";

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// From the push of a job to the provider's call, on an idle worker.
    Pickup {
        /// How many jobs to measure.
        #[arg(long, value_name = "N", default_value_t = 500)]
        samples: u32,
    },
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Another benchmark is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file is out of reach.
    #[error(transparent)]
    File(#[from] FileError),
    /// The stack of an earlier benchmark cannot be removed.
    #[error("cannot remove {}: {source}", path.display())]
    Remove {
        /// Its folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// PostgreSQL or Redis is missing.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// PostgreSQL or Redis does not start.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// The code does not compile.
    #[error(transparent)]
    Build(#[from] ProcessError),
    /// A process of ours does not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The sample quiz cannot be read.
    #[error(transparent)]
    Quiz(#[from] DemoError),
    /// A request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A push failed.
    #[error(transparent)]
    Redis(#[from] RespError),
    /// What came back cannot be measured.
    #[error("the measurement does not hold: {0}")]
    Measurement(String),
    /// We were asked to stop meanwhile.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What every benchmark begins with: optimised binaries, and servers without
/// data. Returns the servers and the folder of the binaries.
fn prepare(
    session: &Session,
    folder: &Path,
    secrets: &Secrets,
) -> Result<(Servers, PathBuf), BenchError> {
    let programs = provision::programs(session)?;
    up::build(session, Profile::Release)?;
    servers::remove_data(folder)
        .map_err(|source| BenchError::Remove { path: folder.to_owned(), source })?;
    let servers = Servers::start(session, programs, folder, secrets.passwords.clone())?;
    Ok((servers, session.workspace.binaries(Profile::Release)))
}

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(crate) fn run(&self, session: &Session) -> Result<ExitCode, BenchError> {
        match self {
            Self::Pickup { samples } => pickup::run(session, *samples)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
