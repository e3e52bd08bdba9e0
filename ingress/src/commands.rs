//! The command line of the ingress: without a command it serves.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use regimen_common::check::{self, CheckArgs};
use regimen_common::clock::Clock;
use regimen_common::config::Env;
use regimen_common::db;
use regimen_common::db::console::ConsoleRole;
use regimen_common::{process, start, telemetry};

use crate::config::IngressConfig;
use crate::console::sign_in_link;
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
    /// Print a link that signs in to the console once, within ten minutes.
    ///
    /// Whoever may run this command with DATABASE_URL is an operator.
    ConsoleLink(LinkArgs),
}

/// What `regimen-ingress console-link` takes.
#[derive(Debug, clap::Args)]
struct LinkArgs {
    /// What the link lets its holder do: admin or viewer.
    #[arg(long, default_value_t = ConsoleRole::Admin)]
    role: ConsoleRole,
    /// Who acts, for the audit log.
    #[arg(long = "as", value_name = "NAME", default_value = "operator")]
    actor: String,
    /// Where operators reach this service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
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
            Some(Command::ConsoleLink(args)) => console_link(&args),
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
        let state = AppState::new(config, Clock::system(), start::signals()?)?;
        crate::run(api, operators, state, telemetry.metrics.clone()).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn console_link(args: &LinkArgs) -> Result<ExitCode, Box<dyn Error>> {
    let mut env = Env::from_process();
    let database = db::url_from_env(&mut env);
    let database = env.finish(database)?;
    process::runtime()?.block_on(async {
        let pool = db::pool(&database, 1, "regimen-console-link");
        let pool = pool.map_err(|error| start::of_database(&database, error))?;
        let client = pool.get().await.map_err(|error| start::of_database(&database, error))?;
        let link = sign_in_link(&client, &format!("link:{}", args.actor), args.role).await?;
        process::say(&format!("{}{}", args.url.trim_end_matches('/'), link.path));
        Ok(ExitCode::SUCCESS)
    })
}
