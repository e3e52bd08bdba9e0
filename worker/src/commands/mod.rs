//! The command line of the worker: without a command it runs the worker, with
//! one it runs that command and exits.

mod admin;
mod backfill;
mod events;
mod migrate;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
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
    /// What operators do: erase a user.
    Admin(admin::Args),
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
