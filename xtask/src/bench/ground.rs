//! Where benchmarks run: compiled binaries, and stacks with fresh servers on free ports.

use std::path::{Path, PathBuf};

use super::BenchError;
use crate::binaries;
use crate::provision::{self, Programs};
use crate::secrets::Secrets;
use crate::servers::{self, Servers};
use crate::session::Session;
use crate::stack::{Providers, Stack, StackPlan};
use crate::state::Lock;
use crate::workspace::Profile;

/// The folder of a benchmark's stack under `target`.
const FOLDER: &str = "bench";

/// How many jobs of a user are pushed at once: the most that can be set. What waits behind
/// the jobs of its own user is not pushed, and a peer pushes each job.
const PER_USER: (&str, &str) = ("PER_USER_RUNNING", "1000");

/// Limits of the ingress that are checked, as in production, but never reached.
pub(super) const UNREACHED: [(&str, &str); 8] = [
    PER_USER,
    ("FLOOD_PER_SECOND", "1000000"),
    ("FLOOD_BURST", "1000000"),
    ("RATE_GENERATE_PLANS", "1000000/h"),
    ("RATE_DAILY", "1000000/d"),
    ("MONTHLY_QUOTA", "false"),
    ("MAX_QUEUED", "10000000"),
    ("QUEUE_EXPIRY_SECONDS", "36000"),
];

/// Settings of a worker whose limits of calls and of running jobs are never reached.
pub(super) const UNHURRIED: [(&str, &str); 9] = [
    PER_USER,
    ("OPENAI_CALLS_PER_SECOND", "1000000"),
    ("OPENAI_CONCURRENCY", "20000"),
    ("ANTHROPIC_CALLS_PER_SECOND", "1000000"),
    ("ANTHROPIC_CONCURRENCY", "20000"),
    ("GEMINI_CALLS_PER_SECOND", "1000000"),
    ("GEMINI_CONCURRENCY", "20000"),
    ("LLAMA_CALLS_PER_SECOND", "1000000"),
    ("LLAMA_CONCURRENCY", "20000"),
];

/// The binaries that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Build {
    /// Their profile.
    pub(super) profile: Profile,
    /// Whether to compile them first.
    pub(super) compile: bool,
}

impl Build {
    /// Optimised, and compiled if anything has changed.
    pub(super) const RELEASE: Self = Self { profile: Profile::Release, compile: true };
}

/// A stack to measure; the rest is the same for all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// How many workers.
    pub(super) workers: usize,
    /// Settings of the ingress.
    pub(super) ingress: &'a [(&'a str, &'a str)],
    /// Settings of the workers.
    pub(super) worker: &'a [(&'a str, &'a str)],
}

/// What a benchmark has to itself.
pub(super) struct Ground<'a> {
    /// The session of the run.
    pub(super) session: &'a Session,
    /// The folder of its files.
    pub(super) folder: PathBuf,
    /// The secrets of its stacks.
    pub(super) secrets: Secrets,
    /// PostgreSQL and Redis.
    pub(super) programs: Programs,
    /// The folder of the compiled binaries.
    pub(super) binaries: PathBuf,
    _lock: Lock,
}

impl<'a> Ground<'a> {
    /// Locks the folder, finds the servers and compiles the binaries.
    ///
    /// # Errors
    /// Another benchmark runs, a server is missing, or the code does not compile.
    pub(super) fn take(session: &'a Session, build: Build) -> Result<Self, BenchError> {
        let folder = session.workspace.place(FOLDER);
        let lock = Lock::take(&folder)?;
        let secrets = Secrets::of(&folder)?;
        let programs = provision::programs(session)?;
        if build.compile {
            binaries::build(session, build.profile)?;
        }
        let binaries = session.workspace.binaries(build.profile);
        Ok(Self { session, folder, secrets, programs, binaries, _lock: lock })
    }

    /// Starts a stack without data.
    ///
    /// # Errors
    /// A part of it does not start.
    pub(super) fn stack(&self, wanted: Wanted<'_>) -> Result<Stack, BenchError> {
        self.stack_in(&self.folder, wanted)
    }

    /// Starts a stack without data in another folder, beside one that runs.
    ///
    /// # Errors
    /// A part of it does not start.
    pub(super) fn stack_in(&self, folder: &Path, wanted: Wanted<'_>) -> Result<Stack, BenchError> {
        servers::remove_data(folder)
            .map_err(|source| BenchError::Remove { path: folder.to_owned(), source })?;
        let (programs, passwords) = (self.programs.clone(), self.secrets.passwords.clone());
        let servers = Servers::start(self.session, programs, folder, passwords)?;
        Ok(self.plan(folder, wanted).start(self.session, servers)?)
    }

    /// The plan of a stack, which can also start further processes of one.
    pub(super) fn plan<'b>(&'b self, folder: &'b Path, wanted: Wanted<'b>) -> StackPlan<'b> {
        StackPlan {
            folder,
            binaries: &self.binaries,
            secrets: &self.secrets,
            workers: wanted.workers,
            providers: Providers::Simulator,
            ingress_settings: wanted.ingress,
            worker_settings: wanted.worker,
        }
    }

    /// A program of PostgreSQL, such as pgbench.
    pub(super) fn postgres_program(&self, name: &str) -> PathBuf {
        self.programs.postgres.folder.join(name)
    }
}
