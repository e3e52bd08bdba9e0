//! Jobs of accounts that the app has deleted: none is sent to a provider any
//! more.
//!
//! A trigger on `public.profiles` notes each deletion; every worker works the
//! list off. A claim passes over jobs without a profile and notes their users,
//! so that a deletion the trigger did not see is found here, too.

use crate::db::{Client, GenericClient};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::cancel::{CancelOutcome, Canceller, cancel};
use super::finish::Ended;
use crate::db::DbError;
use crate::job::EventKind;

/// Takes up to `limit` deleted accounts whose jobs may not have ended yet, those
/// first that nobody has looked at for longest.
///
/// # Errors
/// Nothing was taken.
pub async fn deleted_accounts<C: GenericClient>(
    client: &C,
    limit: i64,
) -> Result<Vec<(Uuid, DateTime<Utc>)>, DbError> {
    let statement = client
        .prepare_cached(
            "-- take deleted accounts
             update regimen.deleted_accounts a set looked_at = now()
             from (select user_id from regimen.deleted_accounts
                   where jobs_ended_at is null
                   order by looked_at limit $1 for update skip locked) next
             where a.user_id = next.user_id
             returning a.user_id, a.deleted_at",
        )
        .await?;
    let rows = client.query(&statement, &[&limit]).await?;
    rows.iter().map(|row| Ok((row.try_get("user_id")?, row.try_get("deleted_at")?))).collect()
}

/// Cancels up to `limit` jobs that were accepted before the account's deletion;
/// when none is left the account is done.
///
/// # Errors
/// What was cancelled before stays cancelled.
pub async fn cancel_of_account(
    client: &mut Client,
    user_id: Uuid,
    deleted_at: DateTime<Utc>,
    limit: i64,
    per_user: i64,
) -> Result<Vec<Ended>, DbError> {
    let statement = client
        .prepare_cached(
            // Two parts, each in the shape of an index.
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
    let mut ended = Vec::with_capacity(rows.len());
    for row in &rows {
        let job_id = row.try_get("id")?;
        let tx = client.transaction().await?;
        let outcome = cancel(&tx, job_id, Canceller::AccountDeletion, per_user).await?;
        tx.commit().await?;
        if let CancelOutcome::Cancelled { seq, next } = outcome {
            ended.push(Ended { job_id, kind: EventKind::Cancelled, seq, next });
        }
    }
    if rows.is_empty() {
        done(client, user_id, deleted_at).await?;
    }
    Ok(ended)
}

async fn done(client: &Client, user_id: Uuid, deleted_at: DateTime<Utc>) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- jobs of a deleted account have ended
             update regimen.deleted_accounts set jobs_ended_at = now()
             where user_id = $1 and deleted_at = $2",
        )
        .await?;
    // None: deleted once more meanwhile, so there is another look.
    client.execute(&statement, &[&user_id, &deleted_at]).await?;
    Ok(())
}
