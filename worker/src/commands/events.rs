//! `regimen-worker events …`: lists and replays Stripe events for operators.
//! Needs only the database and the mode; running workers apply replayed events
//! within a second.

use std::error::Error;

use regimen_common::billing::Mode;
use regimen_common::config::{Env, Environment};
use regimen_common::db::Pool;
use regimen_common::db::billing::events::{self, EventState, Replayed, Summary};
use regimen_common::db::{self, DbError};
use regimen_common::{process, start};
use tokio_postgres::error::SqlState;

use super::operator::Operator;

/// Events read at a time.
const PAGE: i64 = 1_000;

/// Commands for stored events.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the newest events that need an operator, and why.
    List {
        /// Only those that are dead, unresolved or mismatched.
        #[arg(long, value_parser = needing_attention)]
        state: Option<EventState>,
        /// How many of each state at most.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
    },
    /// Apply events again. Effects that are already applied do not happen twice.
    #[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "all_dead"])))]
    Replay {
        /// Ids of stored events, such as evt_1Qx….
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// All dead events.
        #[arg(long)]
        all_dead: bool,
        #[command(flatten)]
        operator: Operator,
    },
}

/// The states that need an operator.
const ATTENTION: [EventState; 3] =
    [EventState::Dead, EventState::Unresolved, EventState::Mismatched];

fn needing_attention(text: &str) -> Result<EventState, String> {
    match text.parse() {
        Ok(state) if ATTENTION.contains(&state) => Ok(state),
        _ => Err("must be dead, unresolved or mismatched".to_owned()),
    }
}

/// Why the command failed at least in part.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "the database has no table of Stripe events; run `regimen-worker migrate` on it, or correct DATABASE_URL"
    )]
    NotMigrated,
    #[error("{0} of the events cannot be replayed; the others were")]
    Some(usize),
}

/// Runs the command.
pub(super) fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    let mut env = Env::from_process();
    let environment = env.or("ENVIRONMENT", Environment::Production);
    let mode = Mode::from_env(&mut env, environment);
    let url = db::url_from_env(&mut env);
    let url = env.finish(url)?;
    process::runtime()?.block_on(async {
        let pool = db::pool(&url, 1, "regimen-events");
        let pool = pool.map_err(|error| start::of_database(&url, error))?;
        let done = match command {
            Command::List { state, limit } => list(&pool, *state, *limit).await,
            Command::Replay { all_dead: true, operator, .. } => {
                replay_dead(&pool, mode, operator).await
            }
            Command::Replay { ids, operator, .. } => replay(&pool, ids, mode, operator).await,
        };
        match done {
            Ok(0) => Ok(()),
            Ok(refused) => Err(Refusal::Some(refused).into()),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                Err(Refusal::NotMigrated.into())
            }
            Err(error) => Err(start::of_database(&url, error)),
        }
    })
}

async fn list(pool: &Pool, state: Option<EventState>, limit: u16) -> Result<usize, DbError> {
    let mut client = pool.get().await?;
    let counts = events::attention(&mut client).await?;
    let mut shown = 0;
    for (wanted, count) in counts {
        if count == 0 || state.is_some_and(|state| state != wanted) {
            continue;
        }
        process::say(&format!("{count} {wanted}: {}", meaning(wanted)));
        for event in events::newest(&client, wanted, i64::from(limit)).await? {
            process::say(&line(&event));
            shown += 1;
        }
        if count > i64::from(limit) {
            process::say(&format!("  … the newest {limit}; --limit N shows more"));
        }
    }
    if shown == 0 {
        let states = state.map_or("dead, unresolved or mismatched", EventState::as_str);
        process::say(&format!("no event is {states}"));
    }
    Ok(0)
}

/// The meaning of a state, for the operator who reads the list.
fn meaning(state: EventState) -> &'static str {
    match state {
        EventState::Dead => {
            "given up. Mend the cause, then `regimen-worker events replay ID…` or --all-dead"
        }
        EventState::Unresolved => {
            "paid by nobody we know. They are looked at again by themselves once the user is known: put user_id into the customer's metadata at Stripe"
        }
        EventState::Mismatched => {
            "of the other mode (STRIPE_LIVEMODE) or a connected account, never applied. Point that webhook of Stripe's elsewhere"
        }
        EventState::Received | EventState::Applied | EventState::Ignored => "nothing to do",
    }
}

fn line(event: &Summary) -> String {
    let why = match &event.error {
        (Some(code), Some(detail)) => format!("{code}: {detail}"),
        (Some(code), None) => code.clone(),
        (None, _) => "no reason".to_owned(),
    };
    format!(
        "  {}  {}  {}  {}  {why}",
        event.received_at.format("%Y-%m-%d %H:%M:%SZ"),
        event.id,
        event.type_name,
        event.customer.as_deref().unwrap_or("no customer"),
    )
}

async fn replay_dead(pool: &Pool, mode: Mode, operator: &Operator) -> Result<usize, DbError> {
    let mut client = pool.get().await?;
    let mut replayed = 0;
    loop {
        let before = replayed;
        for event in events::newest(&client, EventState::Dead, PAGE).await? {
            let outcome = operator.replay(&mut client, &event.id, mode).await?;
            replayed += usize::from(matches!(outcome, Replayed::Again(_)));
        }
        if replayed == before {
            break;
        }
    }
    process::say(&format!("{replayed} dead events will be applied again"));
    Ok(0)
}

/// Returns how many could not be replayed.
async fn replay(
    pool: &Pool,
    ids: &[String],
    mode: Mode,
    operator: &Operator,
) -> Result<usize, DbError> {
    let mut client = pool.get().await?;
    let mut refused = 0;
    for id in ids {
        let replayed = operator.replay(&mut client, id, mode).await?;
        refused += usize::from(matches!(replayed, Replayed::NotOurs | Replayed::Missing));
        process::say(&format!("{id}: {}", became(replayed)));
    }
    Ok(refused)
}

fn became(replayed: Replayed) -> String {
    match replayed {
        Replayed::Again(EventState::Received) => "is tried again now".to_owned(),
        Replayed::Again(before) => format!("was {before} and will be applied again"),
        Replayed::Held => "is being applied by a worker at this moment".to_owned(),
        Replayed::NotOurs => {
            "is of the other mode (STRIPE_LIVEMODE) or another account and must never be applied here; nothing was changed".to_owned()
        }
        Replayed::Missing => {
            "is not stored here; `regimen-worker backfill` fetches what Stripe has of the last 30 days".to_owned()
        }
    }
}
