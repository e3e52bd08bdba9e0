//! Cancels a job for its owner, for an operator, or with its owner's account.

use crate::db::Transaction;
use uuid::Uuid;

use super::dispatch::{NextJob, dispatch_next_or_later};
use super::finish::settle;
use super::read::named;
use crate::db::DbError;
use crate::job::JobState;

/// Who ends a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canceller {
    /// Its owner: only jobs of this user are changed.
    Owner(Uuid),
    /// An operator.
    Operator,
    /// The deletion of its owner's account.
    AccountDeletion,
}

impl Canceller {
    /// Its name in the `cancelled` event.
    fn as_str(self) -> &'static str {
        match self {
            Self::Owner(_) => "owner",
            Self::Operator => "operator",
            Self::AccountDeletion => "account deletion",
        }
    }
}

/// The outcome of a cancellation.
#[derive(Debug)]
pub enum CancelOutcome {
    /// The job is cancelled. Its holder finds out by its fence; the user's next jobs are
    /// to be pushed.
    Cancelled {
        /// The number of the `cancelled` event.
        seq: i32,
        /// The jobs to push now.
        next: Vec<NextJob>,
    },
    /// The job had already ended, in this state.
    Ended(JobState),
    /// The user has no such job.
    Missing,
}

/// Cancels a job.
///
/// # Errors
/// Nothing was changed.
pub async fn cancel(
    tx: &Transaction<'_>,
    job_id: Uuid,
    by: Canceller,
    per_user: i64,
) -> Result<CancelOutcome, DbError> {
    let of_user = match by {
        Canceller::Owner(user_id) => Some(user_id),
        Canceller::Operator | Canceller::AccountDeletion => None,
    };
    let statement = tx
        .prepare_cached(
            "-- lock job to cancel
             select user_id, state from regimen.jobs
             where id = $1 and ($2::uuid is null or user_id = $2) for update",
        )
        .await?;
    let Some(row) = tx.query_opt(&statement, &[&job_id, &of_user]).await? else {
        return Ok(CancelOutcome::Missing);
    };
    let (owner, state): (Uuid, JobState) = (row.try_get("user_id")?, named(&row, "state")?);
    if state.is_terminal() {
        return Ok(CancelOutcome::Ended(state));
    }
    let statement = tx
        .prepare_cached(
            "-- cancel job
             with job as (
                 update regimen.jobs set
                     state = 'cancelled', stage = 'done', worker_id = null, lease_expires_at = null,
                     dispatched_at = null, finished_at = now(), updated_at = now(),
                     last_seq = last_seq + 1
                 where id = $1
                 returning last_seq
             )
             insert into regimen.job_events (job_id, seq, at, kind, data)
             select $1, last_seq, now(), 'cancelled', jsonb_build_object('by', $2::text) from job
             returning seq",
        )
        .await?;
    let seq = tx.query_one(&statement, &[&job_id, &by.as_str()]).await?.try_get("seq")?;
    settle(tx, &[job_id]).await?;
    let next = dispatch_next_or_later(tx, &[owner], per_user).await?;
    Ok(CancelOutcome::Cancelled { seq, next })
}
