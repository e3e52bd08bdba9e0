//! The command line of the worker: without a command it runs the worker, with
//! one it runs that command and exits.

mod admin;
mod backfill;
mod events;
mod migrate;
mod operator;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use regimen_common::check::{self, CheckArgs};
use regimen_common::config::Env;
use regimen_common::{process, start, telemetry};

use crate::config::WorkerConfig;
use crate::deps::Deps;

/// Worker of Regimen. Without a command it claims jobs until SIGTERM. Every
/// setting is an environment variable; .env.example lists them.
#[derive(Debug, Parser)]
#[command(name = "regimen-worker", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at every setting, and at everything they lead to.
    ///
    /// The exit code is 0 where all is well, 1 with warnings, 2 where something fails.
    Check(CheckArgs),
    /// Bring the database to this release's schema.
    Migrate(migrate::Args),
    /// Fetch the Stripe events that were never delivered, now.
    Backfill(backfill::Args),
    /// Show Stripe events that need an operator, and apply them again.
    #[command(subcommand)]
    Events(events::Command),
    /// For operators: jobs, dead letters, pauses, workers, spend, limits, reports, erasure.
    Admin(admin::Args),
    /// Print the completions of a shell: bash, zsh, fish, elvish or powershell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands into a folder.
    Man {
        /// The folder.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Why it failed, and what to do about it.
    pub fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        match self.command {
            None => work()?,
            Some(Command::Check(args)) => {
                return Ok(check::run::<WorkerConfig>(&args, Env::from_process())?);
            }
            Some(Command::Migrate(args)) => migrate::run(&args)?,
            Some(Command::Backfill(args)) => backfill::run(&args)?,
            Some(Command::Events(command)) => events::run(&command)?,
            Some(Command::Admin(args)) => admin::run(&args)?,
            Some(Command::Completions { shell }) => completions(shell),
            Some(Command::Man { dir }) => man(dir.as_deref())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn work() -> Result<(), Box<dyn Error>> {
    let (config, warnings) = check::settings::<WorkerConfig>(Env::from_process())?;
    let telemetry = telemetry::init(&config.telemetry, "regimen-worker")?;
    warnings.log();
    crate::metrics::register();
    process::runtime()?.block_on(async {
        let listener = start::listen("METRICS_ADDR", config.metrics_addr).await?;
        let deps = Deps::new(config, start::signals()?)?;
        crate::run(deps, listener, telemetry.metrics.clone()).await?;
        Ok(())
    })
}

fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "regimen-worker", &mut script);
    process::say(String::from_utf8_lossy(&script).trim_end());
}

fn man(dir: Option<&Path>) -> Result<(), Box<dyn Error>> {
    match dir {
        Some(dir) => clap_mangen::generate_to(Cli::command(), dir)?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            process::say(String::from_utf8_lossy(&page).trim_end());
        }
    }
    Ok(())
}
