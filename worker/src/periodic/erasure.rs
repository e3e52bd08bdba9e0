//! Erases what deleted accounts leave, `ERASURE_GRACE_SECONDS` after their
//! deletion, when running requests and jobs have ended.
//!
//! Contract: runs on every worker, concurrently and repeatedly. A worker that
//! takes an account has it for a minute; if it dies, another one continues.

use std::sync::Arc;

use regimen_common::db::erasure::{self, Erased, JobsAfter, LeftBehind};
use regimen_common::db::jobs::DeletedAccount;
use regimen_common::db::{DbError, PoisonRow, Pool};
use regimen_common::redis::{Redis, forget_users};
use regimen_common::telemetry::UserHash;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::reconcile::went_on;
use crate::deps::Deps;
use crate::runner::quarantine::Quarantine;

/// Accounts per run.
const ACCOUNTS: i64 = 20;
/// Rows per statement.
const BATCH: i64 = 500;
/// Rounds per account and run; more data waits for the next run.
const ROUNDS: usize = 20;
/// Runs of the reconciler between two runs.
const LOOKS: u32 = 5;

/// Runs until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = tokio::time::interval(deps.config.reconcile_every * LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    let mut aside = Quarantine::of_users("erasure");
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        went_on("erasure", look(&deps, &mut aside).await);
    }
}

async fn look(deps: &Deps, aside: &mut Quarantine<Uuid>) -> Result<(), DbError> {
    let mut client = deps.db.get().await?;
    let late = erasure::overdue(&client).await?;
    metrics::gauge!("regimen_erasure_overdue_seconds").set(late);
    let quarantine = aside.rows();
    let left = LeftBehind { limit: ACCOUNTS, quarantine: &quarantine };
    let outcome = erasure::due(&mut client, &left).await?;
    drop(client);
    let (accounts, failed) = aside.take(outcome, |user| *user);
    let mut emptied = Vec::with_capacity(accounts.len());
    for account in accounts {
        if deps.shutdown.drain.is_cancelled() {
            return Ok(());
        }
        match rounds(&deps.db, account).await {
            Ok(true) => emptied.push(account),
            Ok(false) => {}
            Err(error) if error.blames_a_row() => {
                aside.note(vec![PoisonRow { key: account.0, error }], |user| *user);
            }
            Err(error) => return Err(error),
        }
    }
    let erased = conclude(&deps.db, &deps.redis, &emptied).await?;
    metrics::counter!("regimen_accounts_erased_total").increment(erased as u64);
    failed.map_or(Ok(()), Err)
}

/// Erases an account's data; false if there is more than one run may erase.
async fn rounds(db: &Pool, account: DeletedAccount) -> Result<bool, DbError> {
    let (mut jobs, mut rest) = (Some(JobsAfter::newest(account)), true);
    for _ in 0..ROUNDS {
        let round = round(db, account, jobs, rest).await?;
        (jobs, rest) = (round.jobs, round.rest.more);
        if jobs.is_none() && !rest {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What one round erased.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) gone: u64,
    pub(crate) jobs: Option<JobsAfter>,
    pub(crate) rest: Erased,
}

/// Runs one statement of each kind.
pub(crate) async fn round(
    db: &Pool,
    account: DeletedAccount,
    jobs: Option<JobsAfter>,
    rest: bool,
) -> Result<Round, DbError> {
    let mut client = db.get().await?;
    let rest = match rest {
        true => erasure::erase_some(&mut client, account, BATCH).await?,
        false => Erased::default(),
    };
    let (gone, jobs) = match jobs {
        Some(after) => erasure::erase_jobs(&client, account, after, BATCH).await?,
        None => (0, None),
    };
    Ok(Round { gone, jobs, rest })
}

/// Deletes the accounts' keys in Redis and records the results; returns the number of
/// completely erased accounts. Without Redis the accounts stay due.
pub(crate) async fn conclude(
    db: &Pool,
    redis: &Redis,
    accounts: &[DeletedAccount],
) -> Result<usize, DbError> {
    let users: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    if let Err(error) = forget_users(redis, &users).await {
        tracing::warn!(%error, "the keys of deleted accounts stay in Redis for now; trying again");
        return Ok(0);
    }
    let mut erased = 0;
    for &account in accounts {
        if erasure::conclude(&db.get().await?, account).await? {
            erased += 1;
            tracing::info!(user = %UserHash::of(account.0), "a deleted account is erased");
        }
    }
    Ok(erased)
}
