//! `regimen-worker admin …`: operators' commands. Each calls the same functions
//! as the operators' routes; every change is recorded in
//! `regimen.admin_actions` in the same transaction.

mod erase;

use std::error::Error;

use regimen_common::config::Env;
use regimen_common::db::admin_actions::{self, Action};
use regimen_common::db::{self, DbError, Pool, StatementLimits, Transaction};
use regimen_common::redis::{self, Redis};
use regimen_common::{process, start};
use serde_json::{Value, json};

/// The arguments of all commands.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Who acts, for the audit log; the user of the operating system by default.
    #[arg(long = "as", value_name = "NAME", global = true)]
    actor: Option<String>,
    /// The reason, for the audit log.
    #[arg(long, value_name = "TEXT", global = true)]
    reason: Option<String>,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Erase a user now: profile, quizzes, plans, jobs and everything that belongs to
    /// them.
    Erase(erase::Args),
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut env = Env::from_process();
    let database = db::url_from_env(&mut env);
    let redis = redis::url_from_env(&mut env);
    let prefix = env.or("REDIS_PREFIX", "regimen".to_owned());
    let per_user = env.number("PER_USER_RUNNING", 2, 1..=1_000);
    let (database, redis) = env.finish(Option::zip(database, redis))?;
    process::runtime()?.block_on(async {
        let db = db::pool_with(&database, 2, "regimen-admin", StatementLimits::WORK);
        let office = Office {
            db: db.map_err(|error| start::of_database(&database, error))?,
            redis: Redis::new(&redis, &prefix)?,
            actor: format!("cli:{}", args.actor.clone().unwrap_or_else(whoami)),
            reason: args.reason.clone(),
            json: args.json,
            per_user,
        };
        // First, so that an error of the database connection is reported with its cause.
        let reached = office.db.get().await;
        drop(reached.map_err(|error| start::of_database(&database, error))?);
        match &args.command {
            Command::Erase(args) => erase::run(&office, args).await,
        }
    })
}

/// What a command needs, and the operator.
struct Office {
    db: Pool,
    redis: Redis,
    actor: String,
    reason: Option<String>,
    json: bool,
    per_user: i64,
}

impl Office {
    /// Records an action in `tx`.
    async fn record(
        &self,
        tx: &Transaction<'_>,
        name: &str,
        target: &str,
        mut detail: Value,
    ) -> Result<(), DbError> {
        if let Some(reason) = &self.reason {
            detail["reason"] = json!(reason);
        }
        let action = Action { actor: &self.actor, name, target, detail: &detail };
        admin_actions::begin(tx, &action, Some("done")).await?;
        Ok(())
    }

    /// Prints `value`, or the same as `text` for people.
    fn answer(&self, value: &Value, text: impl FnOnce() -> String) {
        if self.json {
            process::say(&value.to_string());
        } else {
            process::say(text().trim_end());
        }
    }
}

/// The operating system's user, as the environment names it.
fn whoami() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}
