//! `regimen-worker admin …`: operators' commands. Each calls the same functions
//! as the operators' routes; every change is recorded in
//! `regimen.admin_actions` in the same transaction.

mod erase;
mod jobs;
mod limits;
mod look;
mod pauses;
mod replay;
mod report;
mod table;

use std::error::Error;
use std::time::Duration;

use regimen_common::billing::Mode;
use regimen_common::clock::Clock;
use regimen_common::config::{Env, Environment};
use regimen_common::db::pauses::Pausable;
use regimen_common::db::{self, DbError, Pool, StatementLimits, Transaction};
use regimen_common::redis::{self, Redis};
use regimen_common::{process, start};
use serde_json::Value;
use uuid::Uuid;

use super::operator::Operator;

/// The arguments of all commands.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    operator: Operator,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Everybody's jobs: list, show, retry, cancel.
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Show everything that was given up: jobs, callbacks, Stripe's events, mails.
    Dead(look::DeadArgs),
    /// Pause a queue, a provider or a model.
    Pause(pauses::Args),
    /// Resume a queue, a provider or a model; a provider also loses its breakers.
    Resume(pauses::Args),
    /// Show what is paused.
    Pauses,
    /// Show the workers, what each holds, and whether it drains.
    Workers,
    /// Show what calls to providers cost.
    Spend(look::SpendArgs),
    /// A user's limits: show, reset.
    #[command(subcommand)]
    Limits(limits::Command),
    /// Stripe's events: replay.
    #[command(subcommand)]
    Events(replay::EventsCommand),
    /// Callbacks: replay.
    #[command(subcommand)]
    Callbacks(replay::CallbacksCommand),
    /// Mails about payments: replay.
    #[command(subcommand)]
    Mails(replay::MailsCommand),
    /// Reports: weekly.
    #[command(subcommand)]
    Report(report::Command),
    /// Show what operators did, when and why.
    Audit(look::AuditArgs),
    /// Erase a user: profile, quizzes, plans, jobs and all that hangs on them, now.
    Erase(erase::Args),
}

/// Why not everything could be done, or nothing.
#[derive(Debug, thiserror::Error)]
enum Partly {
    #[error("{0} of them were refused, see above; the others are done")]
    Refused(usize),
    #[error("there is no job {0}; `regimen-worker admin jobs list` shows them")]
    NoJob(Uuid),
    #[error(
        "there is no such {0}: a queue is pro, free or stripe, a provider one of {1}, a model its id"
    )]
    NothingToPause(Pausable, String),
}

/// A report over a large week takes its time; nobody waits for it but who asked.
const LIMITS: StatementLimits = StatementLimits {
    usual: Duration::from_secs(120),
    longest: Duration::from_secs(300),
    lock: StatementLimits::WORK.lock,
};

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut env = Env::from_process();
    let database = db::url_from_env(&mut env);
    let redis = redis::url_from_env(&mut env);
    let prefix = env.or("REDIS_PREFIX", "regimen".to_owned());
    let per_user = env.number("PER_USER_RUNNING", 2, 1..=1_000);
    let expiry = env.seconds("QUEUE_EXPIRY_SECONDS", 900.0);
    let environment = env.or("ENVIRONMENT", Environment::Production);
    let mode = Mode::from_env(&mut env, environment);
    let (database, redis) = env.finish(Option::zip(database, redis))?;
    process::runtime()?.block_on(async {
        let db = db::pool_with(&database, 2, "regimen-admin", LIMITS);
        let office = Office {
            db: db.map_err(|error| start::of_database(&database, error))?,
            redis: Redis::new(&redis, &prefix)?,
            operator: args.operator.clone(),
            json: args.json,
            per_user,
            expiry,
            mode,
            clock: Clock::system(),
        };
        // First, so that an error of the database connection is reported with its cause.
        let reached = office.db.get().await;
        drop(reached.map_err(|error| start::of_database(&database, error))?);
        match &args.command {
            Command::Jobs(command) => jobs::run(&office, command).await,
            Command::Dead(args) => look::dead(&office, args).await,
            Command::Pause(args) => pauses::set(&office, args, true).await,
            Command::Resume(args) => pauses::set(&office, args, false).await,
            Command::Pauses => pauses::list(&office).await,
            Command::Workers => look::workers(&office).await,
            Command::Spend(args) => look::spend(&office, args).await,
            Command::Limits(command) => limits::run(&office, command).await,
            Command::Events(command) => replay::events(&office, command).await,
            Command::Callbacks(command) => replay::callbacks(&office, command).await,
            Command::Mails(command) => replay::mails(&office, command).await,
            Command::Report(command) => report::run(&office, command).await,
            Command::Audit(args) => look::audit(&office, args).await,
            Command::Erase(args) => erase::run(&office, args).await,
        }
    })
}

/// What a command needs, and the operator.
struct Office {
    db: Pool,
    redis: Redis,
    operator: Operator,
    json: bool,
    per_user: i64,
    /// How long a job may wait for a worker.
    expiry: Duration,
    /// Whether Stripe's events here are about real money.
    mode: Mode,
    clock: Clock,
}

impl Office {
    /// Records an action in `tx`.
    async fn record(
        &self,
        tx: &Transaction<'_>,
        name: &str,
        target: &str,
        detail: Value,
    ) -> Result<(), DbError> {
        self.operator.record(tx, name, target, detail).await
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
