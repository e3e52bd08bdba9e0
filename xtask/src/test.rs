//! `cargo xtask test`: runs every test of the workspace against a PostgreSQL
//! and a Redis that exist only for this run, and then the suites in other
//! languages.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use clap::Args;

use crate::chaos::{self, ChaosError};
use crate::orphans;
use crate::provision::{self, Programs, ProvisionError};
use crate::servers::{self, Passwords, Servers, ServersError};
use crate::session::Session;
use crate::suites::{self, SuiteError};
use regimen_devtools::process::{Output, Process, ProcessError};
use regimen_devtools::signal::{self, Ending};

/// The prefix of the folders of test runs; the process id follows.
const FOLDER_PREFIX: &str = "test-";

/// What `cargo xtask test` takes.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Run only the tests whose name contains this.
    pub(crate) filter: Option<String>,
    /// Test only this package; may be given more than once.
    #[arg(short, long)]
    pub(crate) package: Vec<String>,
    /// Run only this suite in another language, such as schemathesis.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["filter", "package"])]
    pub(crate) suite: Option<String>,
    /// Use the existing binaries.
    #[arg(long, hide = true, requires = "suite")]
    pub(crate) no_build: bool,
    /// Passed to the test programs, after `--`.
    #[arg(last = true)]
    pub(crate) rest: Vec<String>,
}

impl TestArgs {
    /// Whether nothing was selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.filter.is_none()
            && self.package.is_empty()
            && self.suite.is_none()
            && self.rest.is_empty()
    }
}

/// Why the tests could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    /// PostgreSQL or Redis is missing.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// PostgreSQL or Redis does not start.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// Cargo cannot be run, or the code does not compile.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// No suite has the name.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The minute of chaos could not run.
    #[error(transparent)]
    Chaos(#[from] ChaosError),
    /// The folder of a run cannot be removed.
    #[error("cannot remove {}: {source}", path.display())]
    Remove {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Runs the tests and the suites; the exit code is cargo's, or 1 when only a
/// suite failed.
///
/// # Errors
/// The tests could not be run at all.
pub(crate) fn run(session: &Session, args: &TestArgs) -> Result<ExitCode, TestError> {
    remove_leftovers(&session.workspace.place(""))?;
    let folder = session.workspace.place(&format!("{FOLDER_PREFIX}{}", std::process::id()));
    let programs = provision::programs(session)?;
    if args.is_everything() {
        // The minute of chaos needs it: a lack must show now, not after half an hour of
        // tests.
        provision::faketime(session)?;
    }
    let pgbouncer = provision::pgbouncer(session)?;
    if !args.no_build {
        session.say("compiling the binaries and the tests");
        let mut build = cargo(session, "build", args);
        // Together with the tests: alone, the binaries would be compiled with other
        // features of their dependencies, and then again.
        build.args(["--bins", "--tests"]);
        Process::run(session, "cargo build", build, Output::Ours)?;
    }
    let outcome = run_both(session, args, &programs, pgbouncer.as_deref(), &folder);
    orphans::end(session);
    remove(&folder)?;
    let exit_code = outcome?;
    let passed = exit_code == ExitCode::SUCCESS;
    session.say(if passed { "all tests passed" } else { "the tests failed" });
    if passed && args.is_everything() {
        session.say("a minute of chaos with the binaries of the tests");
        return Ok(if chaos::rehearse(session)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    Ok(exit_code)
}

/// Runs the tests of the workspace, then the suites, also if tests failed.
fn run_both(
    session: &Session,
    args: &TestArgs,
    programs: &Programs,
    pgbouncer: Option<&Path>,
    folder: &Path,
) -> Result<ExitCode, TestError> {
    let tests = match args.suite {
        Some(_) => ExitCode::SUCCESS,
        None => exit_code(run_tests(session, args, programs, pgbouncer, folder)?),
    };
    if args.filter.is_some() || !args.package.is_empty() {
        return Ok(tests);
    }
    let passed = suites::run(session, programs, folder, args.suite.as_deref())?;
    Ok(if tests == ExitCode::SUCCESS && !passed { ExitCode::FAILURE } else { tests })
}

fn run_tests(
    session: &Session,
    args: &TestArgs,
    programs: &Programs,
    pgbouncer: Option<&Path>,
    folder: &Path,
) -> Result<ExitStatus, TestError> {
    let servers = Servers::start(session, programs.clone(), folder, Passwords::random())?;
    session.say("running the tests");
    orphans::adopt();
    let mut test = cargo(session, "test", args);
    // One run reports every failure.
    test.arg("--no-fail-fast").args(&args.filter).arg("--").args(&args.rest);
    describe(&servers, &mut test);
    if let Some(pgbouncer) = pgbouncer {
        test.env("REGIMEN_TEST_PGBOUNCER_BIN", pgbouncer);
    }
    let mut tests = Process::start("cargo test", test, Output::Ours, Ending::Terminate)?;
    Ok(tests.wait(session)?)
}

fn cargo(session: &Session, command: &str, args: &TestArgs) -> Command {
    let mut cargo = session.workspace.cargo();
    cargo.arg(command);
    if args.package.is_empty() {
        cargo.arg("--workspace");
    }
    for package in &args.package {
        cargo.args(["--package", package]);
    }
    cargo
}

/// Passes the servers' URLs to the tests, and the programs to those that start their own
/// servers.
fn describe(servers: &Servers, test: &mut Command) {
    let account = servers.account.as_ref().map_or("", |account| &account.name);
    test.env("REGIMEN_TEST_DATABASE_URL", servers.database_url())
        .env("REGIMEN_TEST_REDIS_URL", servers.redis_url())
        .env("REGIMEN_TEST_POSTGRES_BIN", &servers.programs.postgres.folder)
        .env("REGIMEN_TEST_POSTGRES_USER", account)
        .env("REGIMEN_TEST_REDIS_BIN", &servers.programs.redis.path);
}

/// Removes the folders of runs that were killed.
fn remove_leftovers(parent: &Path) -> Result<(), TestError> {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX));
        let Some(pid) = run.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !signal::is_running(pid) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the folder of a run, if there is one. A run that only skipped suites has none.
fn remove(folder: &Path) -> Result<(), TestError> {
    match servers::remove_data(folder).and_then(|()| std::fs::remove_dir_all(folder)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(TestError::Remove { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Cargo's exit code; 1 if a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folders_of_ended_runs_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let of = |pid: u32| dir.path().join(format!("{FOLDER_PREFIX}{pid}"));
        let (ours, old) = (of(std::process::id()), of(ended.id()));
        let other = dir.path().join("test-data");
        remove(&ours).unwrap();
        for folder in [&ours, &old, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        remove_leftovers(dir.path()).unwrap();
        assert!(ours.exists() && other.exists() && !old.exists());
    }
}
