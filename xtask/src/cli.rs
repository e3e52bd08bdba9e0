//! The command line: which commands there are, what they take, and the exit
//! code each ends with.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::leash;
use crate::session::{Session, SessionError};
use crate::test::{self, TestError};

/// Developer commands of Regimen.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test of the workspace against a private PostgreSQL and Redis.
    Test(TestArgs),
    /// End the processes of a parent that vanished; started by the others.
    #[command(hide = true)]
    Leash,
}

/// What `cargo xtask test` takes.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Run only the tests whose name contains this.
    pub(crate) filter: Option<String>,
    /// Test only this package; may be given more than once.
    #[arg(short, long)]
    pub(crate) package: Vec<String>,
    /// Passed on to the test programs, after `--`.
    #[arg(last = true)]
    pub(crate) rest: Vec<String>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Test(#[from] TestError),
    #[error("the leash cannot read: {0}")]
    Leash(#[source] std::io::Error),
}

impl Cli {
    /// Runs the command and says on stderr why it failed, if it did.
    pub(crate) fn run(self) -> ExitCode {
        self.command.run().unwrap_or_else(|error| {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        })
    }
}

impl Command {
    fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Test(args) => Ok(test::run(&Session::open()?, &args)?),
            Self::Leash => {
                leash::hold(std::io::stdin().lock()).map_err(CommandError::Leash)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
