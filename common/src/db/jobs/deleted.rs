//! Cancels jobs of accounts that the app has deleted, so that none is sent to a
//! provider.
//!
//! A trigger on `public.profiles` records each deletion; every worker processes
//! that list. A claim skips jobs without a profile and records their users, so
//! that a deletion that the trigger did not see is found too.

use std::time::Duration;

use crate::db::{Client, Transaction};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::cancel::{CancelOutcome, Canceller, cancel};
use super::finish::Ended;
use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome, PoisonRow};
use crate::job::JobEventKind;

/// Deleted accounts whose jobs may not have ended yet, the longest unchecked first.
#[derive(Debug, Clone, Copy)]
pub struct DeletedAccounts<'a> {
    /// The highest number.
    pub limit: i64,
    /// Accounts to leave out.
    pub quarantine: &'a [Uuid],
}

/// An account, and when it was deleted.
pub type DeletedAccount = (Uuid, DateTime<Utc>);

/// Picks accounts whose jobs are to be cancelled.
///
/// # Errors
/// Nothing was picked.
pub async fn deleted_accounts(
    client: &mut Client,
    accounts: &DeletedAccounts<'_>,
) -> Result<Outcome<Uuid, DeletedAccount>, DbError> {
    batch::run(client, accounts).await
}

impl Batch for DeletedAccounts<'_> {
    type Key = Uuid;
    type Done = DeletedAccount;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<Uuid>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find deleted accounts
                 select user_id from regimen.deleted_accounts
                 where jobs_ended_at is null and user_id <> all ($2::uuid[])
                 order by looked_at limit $1 for update skip locked",
            )
            .await?;
        let rows = tx.query(&statement, &[&self.limit, &self.quarantine]).await?;
        rows.iter().map(|row| Ok(row.try_get("user_id")?)).collect()
    }

    async fn change(
        &self,
        tx: &Transaction<'_>,
        users: &[Uuid],
    ) -> Result<Vec<DeletedAccount>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- take deleted accounts
                 with named as materialized (
                     select user_id, jobs_ended_at from regimen.deleted_accounts
                     where user_id = any((select $1::uuid[])::uuid[]) for update skip locked
                 )
                 update regimen.deleted_accounts a set looked_at = now()
                 from named
                 where a.user_id = named.user_id and named.jobs_ended_at is null
                 returning a.user_id, a.deleted_at",
            )
            .await?;
        let rows = tx.query(&statement, &[&users]).await?;
        rows.iter().map(|row| Ok((row.try_get("user_id")?, row.try_get("deleted_at")?))).collect()
    }
}

/// Cancels up to `limit` jobs that were accepted before the account's deletion, except
/// those of `quarantine`; when none is left the account is done, and its remaining data
/// is due for erasure `grace` after the deletion. A job that cannot be cancelled does not
/// block the others.
///
/// # Errors
/// Nothing was cancelled.
pub async fn cancel_of_account(
    client: &mut Client,
    (user_id, deleted_at): DeletedAccount,
    limit: i64,
    per_user: i64,
    grace: Duration,
    quarantine: &[Uuid],
) -> Result<Outcome<Uuid, Ended>, DbError> {
    let statement = client
        .prepare_cached(
            // Two parts, each with its own index.
            "-- open jobs of a deleted account
             (select id from regimen.jobs
              where user_id = $1 and created_at <= $2
                and (state = 'running' or (state = 'queued' and dispatched_at is not null))
              limit $3)
             union all
             (select id from regimen.jobs
              where user_id = $1 and state = 'queued' and dispatched_at is null
                and created_at <= $2
              order by created_at limit $3)",
        )
        .await?;
    let rows = client.query(&statement, &[&user_id, &deleted_at, &limit]).await?;
    let mut outcome = Outcome::of(Vec::with_capacity(rows.len()));
    for row in &rows {
        let job_id = row.try_get("id")?;
        if quarantine.contains(&job_id) {
            continue;
        }
        match cancel_alone(client, job_id, per_user).await {
            Ok(ended) => outcome.done.extend(ended),
            Err(error) if error.blames_a_row() => {
                outcome.poisoned.push(PoisonRow { key: job_id, error });
            }
            Err(error) => {
                outcome.broken_off = Some(error);
                return Ok(outcome);
            }
        }
    }
    if rows.is_empty() {
        done(client, user_id, deleted_at, grace).await?;
    }
    Ok(outcome)
}

async fn cancel_alone(
    client: &mut Client,
    job_id: Uuid,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let tx = client.transaction();
    let outcome = cancel(&tx, job_id, Canceller::AccountDeletion, per_user).await?;
    tx.commit().await?;
    Ok(match outcome {
        CancelOutcome::Cancelled { seq, next } => {
            Some(Ended { job_id, kind: JobEventKind::Cancelled, seq, next })
        }
        _ => None,
    })
}

async fn done(
    client: &Client,
    user_id: Uuid,
    deleted_at: DateTime<Utc>,
    grace: Duration,
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- jobs of a deleted account have ended
             update regimen.deleted_accounts
             set jobs_ended_at = now(), erased_at = null,
                 erase_at = deleted_at + make_interval(secs => $3)
             where user_id = $1 and deleted_at = $2",
        )
        .await?;
    // No row: the account was deleted again meanwhile, so it is checked again.
    client.execute(&statement, &[&user_id, &deleted_at, &grace.as_secs_f64()]).await?;
    Ok(())
}
