//! Erases a user at once, with the steps that workers take after the grace
//! period. If it is interrupted, workers continue; running it again is safe.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use regimen_common::db::erasure::{self, Deletion, JobsAfter};
use regimen_common::db::jobs::{self, DeletedAccount};
use serde_json::json;
use uuid::Uuid;

use super::Office;
use crate::periodic::erasure::{conclude, round};
use crate::runner::announce::Announcer;

/// Jobs cancelled per round.
const BATCH: i64 = 200;
/// The time limit of notifying the workers.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The arguments of `regimen-worker admin erase`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The user's id.
    #[arg(value_name = "USER")]
    user: Uuid,
    /// Erase the user although a subscription would renew.
    #[arg(long)]
    despite_subscription: bool,
}

/// Why a user was not erased, or not completely.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "the user has a subscription that would go on being paid for; end it at Stripe first, or \
         add --despite-subscription. Nothing was erased"
    )]
    Subscribed,
    #[error(
        "a table of the app's refers to the profile and does not go with it ({0}); delete its \
         rows, or let them go with the profile (on delete cascade). Nothing was erased"
    )]
    Held(#[source] regimen_common::db::DbError),
    #[error(
        "job {job} cannot be cancelled: {error}; mend what this names and run the command again"
    )]
    Stuck { job: Uuid, error: regimen_common::db::DbError },
}

pub(super) async fn run(office: &Office, args: &Args) -> Result<(), Box<dyn Error>> {
    let user = args.user;
    let mut client = office.db.get().await?;
    let tx = client.transaction();
    let at = match erasure::delete_account(&tx, user, args.despite_subscription).await {
        Ok(Deletion::Deleted { at }) => at,
        Ok(Deletion::Subscribed) => return Err(Refusal::Subscribed.into()),
        Err(error) if error.blames_a_row() => return Err(Refusal::Held(error).into()),
        Err(error) => return Err(error.into()),
    };
    office.record(&tx, "erase_account", &user.to_string(), json!({})).await?;
    tx.commit().await?;
    drop(client);

    let account = (user, at);
    let cancelled = cancel_open(office, account).await?;
    let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut after, mut more) = (Some(JobsAfter::newest(account)), true);
    while after.is_some() || more {
        let round = round(&office.db, account, after, more).await?;
        *rows.entry("regimen.jobs").or_default() += round.gone;
        for (table, count) in round.rest.rows {
            *rows.entry(table).or_default() += count;
        }
        (after, more) = (round.jobs, round.rest.more);
    }
    let erased = conclude(&office.db, &office.redis, &[account]).await? == 1;
    rows.retain(|_, count| *count > 0);
    let answer = json!({
        "user_id": user, "deleted_at": at, "cancelled": cancelled, "erased": erased, "rows": rows,
    });
    office.answer(&answer, || {
        let mut text = format!("{user} is deleted; {cancelled} open jobs were cancelled\n");
        for (table, count) in &rows {
            let _ = writeln!(text, "  {count:>7}  {table}");
        }
        text.push_str(if erased {
            "nothing is left but sums without a name"
        } else {
            "what has to stay for now (callbacks still owed, this month's count of generations, \
             keys in a Redis that is away) goes by itself; workers look after it"
        });
        text
    });
    Ok(())
}

/// Cancels the open jobs and notifies the workers that run some of them.
async fn cancel_open(office: &Office, account: DeletedAccount) -> Result<usize, Box<dyn Error>> {
    let announcer = Announcer::start(office.redis.clone());
    let mut cancelled = 0;
    loop {
        let mut client = office.db.get().await?;
        let outcome = jobs::cancel_of_account(
            &mut client,
            account,
            BATCH,
            office.per_user,
            Duration::ZERO,
            &[],
        );
        let outcome = outcome.await?;
        drop(client);
        outcome.done.iter().for_each(|ended| announcer.ended(ended));
        cancelled += outcome.done.len();
        if let Some(error) = outcome.broken_off {
            return Err(error.into());
        }
        if outcome.done.is_empty() {
            announcer.flush(LAST_WORDS).await;
            return match outcome.poisoned.into_iter().next() {
                None => Ok(cancelled),
                Some(stuck) => Err(Refusal::Stuck { job: stuck.key, error: stuck.error }.into()),
            };
        }
    }
}
