//! `cargo xtask bench …`: measurements of an optimised build on its own stack.
//! They print figures and have no thresholds. Without a further word everything is
//! measured, beside the floors and the peers of `load-tests/peers`.

mod accept;
mod all;
mod console;
mod cpu;
mod floor;
mod gate;
mod ground;
mod history;
mod load;
mod memory;
mod pickup;
mod results;
mod spread;
mod streams;
mod subject;
mod users;
mod watcher;
mod webhooks;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Args, Subcommand};

use crate::binaries;
use crate::demo::DemoError;
use crate::http::HttpError;
use crate::key_values::FileError;
use crate::provision::ProvisionError;
use crate::psql::PsqlError;
use crate::resp::RespError;
use crate::servers::ServersError;
use crate::session::Session;
use crate::stack::StackError;
use crate::state::LockError;
use crate::workspace::Profile;
use all::All;
use regimen_devtools::Interrupted;
use regimen_devtools::process::ProcessError;

/// The arguments of `cargo xtask bench`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: Option<Bench>,
    #[command(flatten)]
    all: all::Settings,
}

/// What can be measured.
#[derive(Subcommand)]
enum Bench {
    /// Everything, beside the floors and the peers, in turn; writes docs/performance.md.
    All(All),
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
    /// How long each page of the console takes with millions of finished jobs.
    Console(console::Console),
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

impl BenchArgs {
    /// Measures and prints.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(crate) fn run(self, session: &Session) -> Result<ExitCode, BenchError> {
        let what = self.what.unwrap_or(Bench::All(All::everything(self.all)));
        if what.is_measured() {
            continue_optimised(session)?;
        }
        match what {
            Bench::All(all) => return all.run(session),
            Bench::Pickup { samples } => pickup::run(session, samples)?,
            Bench::Streams { streams, jobs } => streams::run(session, streams, jobs)?,
            Bench::Gate { rounds } => gate::run(session, rounds)?,
            Bench::Accept { rounds } => accept::run(session, rounds)?,
            Bench::Webhooks(webhooks) => webhooks.run(session)?,
            Bench::History(history) => history.run(session)?,
            Bench::Console(console) => console.run(session)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Bench {
    /// Whether figures are made that are worth optimised code.
    fn is_measured(&self) -> bool {
        match self {
            Self::All(all) => all.is_measured(),
            // One request at a time is no load.
            Self::Console(_) => false,
            _ => true,
        }
    }
}

/// Replaces this program by an optimised build of itself: it generates the load.
fn continue_optimised(session: &Session) -> Result<(), BenchError> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    binaries::build_xtask(session)?;
    let program = session.workspace.binaries(Profile::Release).join("xtask");
    // Returns only if it fails.
    Err(Command::new(program).args(std::env::args_os().skip(1)).exec().into())
}
