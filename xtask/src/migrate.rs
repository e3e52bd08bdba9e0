//! `cargo xtask migrate`: brings a database to this release's schema, with the
//! worker's own command.

use std::process::ExitCode;

use crate::key_values::{self, FileError};
use crate::session::Session;
use crate::state::{DEV_FOLDER, env_file};
use crate::workspace::Profile;
use regimen_devtools::process::{Output, Process, ProcessError};

const VARIABLE: &str = "DATABASE_URL";

/// Why the migration failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// No database is named.
    #[error("which database? Set {VARIABLE}, or have a stack running (`cargo xtask up`)")]
    NoDatabase,
    /// The file that describes the running stack cannot be read.
    #[error(transparent)]
    Env(#[from] FileError),
    /// The worker does not compile, or the migration failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Migrates the database of the environment, or else that of the running stack.
///
/// # Errors
/// See [`MigrateError`].
pub(crate) fn run(session: &Session) -> Result<ExitCode, MigrateError> {
    let given = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    let url = match given {
        Some(url) => url,
        None => {
            let env = key_values::read(&env_file(&session.workspace.place(DEV_FOLDER)))?;
            let url = env.unwrap_or_default().remove(VARIABLE);
            url.ok_or(MigrateError::NoDatabase)?
        }
    };
    let mut build = session.workspace.cargo();
    build.args(["build", "--quiet", "--package", "regimen-worker", "--bins"]);
    Process::run(session, "cargo build", build, Output::Ours)?;
    let worker = session.workspace.binaries(Profile::Dev).join("regimen-worker");
    let mut migrate = std::process::Command::new(worker);
    migrate.arg("migrate").env(VARIABLE, url);
    Process::run(session, "regimen-worker migrate", migrate, Output::Ours)?;
    Ok(ExitCode::SUCCESS)
}
