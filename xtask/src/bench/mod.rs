//! `cargo xtask bench …`: measurements of an optimised build on its own stack.
//! They print figures and have no thresholds.

mod accept;
mod cpu;
mod gate;
mod history;
mod load;
mod memory;
mod pickup;
mod spread;
mod streams;
mod volley;
mod watcher;
mod webhooks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::binaries;
use crate::clock;
use crate::demo::DemoError;
use crate::http::{Client, HttpError};
use crate::key_values::FileError;
use crate::provision::{self, ProvisionError};
use crate::psql::PsqlError;
use crate::resp::RespError;
use crate::secrets::Secrets;
use crate::servers::{self, Servers, ServersError};
use crate::session::Session;
use crate::stack::StackError;
use crate::state::LockError;
use crate::token::Claims;
use crate::workspace::Profile;
use regimen_devtools::Interrupted;
use regimen_devtools::process::ProcessError;

/// The folder of a benchmark's stack under `target`.
const FOLDER: &str = "bench";

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Time from the push of a job to the provider's call, on an idle worker.
    Pickup {
        /// How many jobs to measure.
        #[arg(long, value_name = "N", default_value_t = 500)]
        samples: u32,
    },
    /// Many open event streams on one ingress: their memory, and how long an event takes
    /// to reach them.
    Streams {
        /// How many streams to open.
        #[arg(long, value_name = "N", default_value_t = 10_000,
            value_parser = clap::value_parser!(u32).range(1..=100_000))]
        streams: u32,
        /// The number of jobs they watch.
        #[arg(long, value_name = "N", default_value_t = 100,
            value_parser = clap::value_parser!(u32).range(1..=10_000))]
        jobs: u32,
    },
    /// What the middleware costs per request, part by part, compared with a bare axum
    /// route.
    Gate {
        /// How many rounds of each case.
        #[arg(long, value_name = "N", default_value_t = 15)]
        rounds: u32,
    },
    /// Accepted requests and reads of a job per second, compared with pgbench.
    Accept {
        /// How many rounds.
        #[arg(long, value_name = "N", default_value_t = 3)]
        rounds: u32,
    },
    /// Stripe's deliveries to one ingress: the time to acknowledge, at a steady rate and
    /// in a burst.
    Webhooks(webhooks::Webhooks),
    /// Requests, reads and finished jobs per second with millions of finished jobs, compared
    /// with none.
    History(history::History),
}

/// Why the benchmark failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Another benchmark holds the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The stack of an earlier benchmark cannot be removed.
    #[error("cannot remove {}: {source}", path.display())]
    Remove {
        /// The stack's folder.
        path: PathBuf,
        /// The system's error.
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
    /// A Redis command failed.
    #[error(transparent)]
    Redis(#[from] RespError),
    /// The result could not be read from Postgres.
    #[error(transparent)]
    Psql(#[from] PsqlError),
    /// A socket or a program of the system failed.
    #[error("cannot measure: {0}")]
    Io(#[from] std::io::Error),
    /// The result cannot be evaluated.
    #[error("the measurement does not hold: {0}")]
    Measurement(String),
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The preparation of every benchmark: optimised binaries, and servers without data.
/// Returns the servers and the folder of the binaries.
fn prepare(
    session: &Session,
    folder: &Path,
    secrets: &Secrets,
) -> Result<(Servers, PathBuf), BenchError> {
    let programs = provision::programs(session)?;
    binaries::build(session, Profile::Release)?;
    servers::remove_data(folder)
        .map_err(|source| BenchError::Remove { path: folder.to_owned(), source })?;
    let servers = Servers::start(session, programs, folder, secrets.passwords.clone())?;
    Ok((servers, session.workspace.binaries(Profile::Release)))
}

/// An accepted job and its user's token.
struct Job {
    id: String,
    token: String,
    owner: Client,
}

impl Job {
    /// Submits a job of a new user at `ingress`, because limits count by user.
    fn accept(ingress: &str, secrets: &Secrets, quiz: &Value) -> Result<Self, BenchError> {
        let issued_at = clock::seconds_since_1970();
        let claims = Claims { user: Uuid::new_v4(), role: None, issued_at, life: 3600 };
        let token = claims.sign(&secrets.jwt);
        let owner = Client::new(ingress, &token);
        let accepted = owner.post("/v1/plans", &json!({"kinds": ["meal"], "answers": quiz}))?;
        let id = accepted["jobs"][0]["id"].as_str();
        let id = id.ok_or_else(|| BenchError::Measurement(format!("no job in {accepted}")))?;
        Ok(Self { id: id.to_owned(), token, owner })
    }
}

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(crate) fn run(&self, session: &Session) -> Result<ExitCode, BenchError> {
        match self {
            Self::Pickup { samples } => pickup::run(session, *samples)?,
            Self::Streams { streams, jobs } => streams::run(session, *streams, *jobs)?,
            Self::Gate { rounds } => gate::run(session, *rounds)?,
            Self::Accept { rounds } => accept::run(session, *rounds)?,
            Self::Webhooks(webhooks) => webhooks.run(session)?,
            Self::History(history) => history.run(session)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
