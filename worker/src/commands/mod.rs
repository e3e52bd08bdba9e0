//! The command line of the worker: without a command it runs the worker, with
//! one it runs that command and exits.

mod admin;
mod backfill;
mod events;

use std::error::Error;

use clap::{Parser, Subcommand};
use regimen_common::config::{Env, database_url};
use regimen_common::db::migrate::{MigrateError, TURN, migrate_telling};
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
    /// Bring the database to this release's schema.
    Migrate,
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
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        match self.command {
            None => work(),
            Some(Command::Migrate) => apply_migrations(),
            Some(Command::Backfill(args)) => backfill::run(&args),
            Some(Command::Events(command)) => events::run(&command),
            Some(Command::Admin(args)) => admin::run(&args),
        }
    }
}

fn work() -> Result<(), Box<dyn Error>> {
    let config = WorkerConfig::read(Env::from_process())?;
    let telemetry = telemetry::init(&config.telemetry, "regimen-worker")?;
    crate::metrics::register();
    process::runtime()?.block_on(async {
        let listener = start::listen("METRICS_ADDR", config.metrics_addr).await?;
        let deps = Deps::new(config, start::signals()?)?;
        crate::run(deps, listener, telemetry.metrics.clone()).await?;
        Ok(())
    })
}

fn apply_migrations() -> Result<(), Box<dyn Error>> {
    let mut env = Env::from_process();
    let url = database_url(&mut env);
    let url = env.finish(url)?;
    let report = process::runtime()?.block_on(migrate_telling(&url, TURN, &process::say));
    let report = report.map_err(|error| match error {
        MigrateError::Db(error) => start::of_database(&url, error),
        other => other.into(),
    })?;
    if report.applied.is_empty() {
        process::say(&format!("nothing to do: the database has version {}", report.version));
    } else {
        let applied = report.applied.join(", ");
        process::say(&format!("applied {applied}; the database has version {}", report.version));
    }
    Ok(())
}
