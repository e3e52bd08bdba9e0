//! The command line of the ingress: without a command it serves.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use regimen_common::check::{self, CheckArgs};
use regimen_common::config::Env;
use regimen_common::{process, start, telemetry};

use crate::config::IngressConfig;
use crate::state::AppState;

/// HTTP door of Regimen. Without a command it serves until SIGTERM. Every
/// setting is an environment variable; .env.example lists them.
#[derive(Debug, Parser)]
#[command(name = "regimen-ingress", version, disable_help_subcommand = true)]
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
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// Why it could not be done, and what to do about it.
    pub fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        match self.command {
            None => serve(),
            Some(Command::Check(args)) => {
                Ok(check::run::<IngressConfig>(&args, Env::from_process())?)
            }
        }
    }
}

fn serve() -> Result<ExitCode, Box<dyn Error>> {
    let (config, warnings) = check::settings::<IngressConfig>(Env::from_process())?;
    let telemetry = telemetry::init(&config.telemetry, "regimen-ingress")?;
    warnings.log();
    crate::metrics::register();
    process::runtime()?.block_on(async {
        let api = start::listen("LISTEN_ADDR", config.listen_addr).await?;
        let operators = start::listen("METRICS_ADDR", config.metrics_addr).await?;
        let state = AppState::new(config, start::signals()?)?;
        crate::run(api, operators, state, telemetry.metrics.clone()).await?;
        Ok(ExitCode::SUCCESS)
    })
}
