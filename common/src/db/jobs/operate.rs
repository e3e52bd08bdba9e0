//! SQL for operators: what only they see of a job, and retrying failed ones.

use crate::db::{GenericClient, Transaction};
use uuid::Uuid;

use super::attempts::INHERITED;
use super::dispatch::{NextJob, dispatch_next_or_later};
use super::read::named;
use crate::db::DbError;
use crate::job::JobState;

/// The facts about a job that only operators see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces {
    /// The job it was retried as.
    pub retried_as: Option<Uuid>,
    /// The job it is a retry of.
    pub retry_of: Option<Uuid>,
    /// Its holder.
    pub worker_id: Option<String>,
    /// The number of lost workers.
    pub lost: i32,
    /// The trace of the request that made it, as in the header `traceparent`.
    pub trace_context: Option<String>,
}

/// These facts about a job; empty if there is no such job.
///
/// # Errors
/// The query failed.
pub async fn traces<C: GenericClient>(client: &C, job_id: Uuid) -> Result<Traces, DbError> {
    let statement = client
        .prepare_cached(
            "-- traces
             select j.worker_id, j.lost, j.trace_context,
                 (select retried_as from regimen.job_retries where job_id = j.id) as retried_as,
                 (select job_id from regimen.job_retries where retried_as = j.id) as retry_of
             from regimen.jobs j where j.id = $1",
        )
        .await?;
    let Some(row) = client.query_opt(&statement, &[&job_id]).await? else {
        return Ok(Traces::default());
    };
    Ok(Traces {
        retried_as: row.try_get("retried_as")?,
        retry_of: row.try_get("retry_of")?,
        worker_id: row.try_get("worker_id")?,
        lost: row.try_get("lost")?,
        trace_context: row.try_get("trace_context")?,
    })
}

/// The outcome of a retry.
#[derive(Debug)]
pub enum Retried {
    /// A new job replaces the old one.
    New {
        /// Its user.
        user_id: Uuid,
        /// The jobs to push now.
        next: Vec<NextJob>,
    },
    /// It was retried before, as this job.
    Before(Uuid),
    /// It is in this state, which cannot be retried.
    Refused(JobState),
    /// There is no such job.
    Missing,
}

/// Retries a failed or expired job as the new job `as_id`. The old one stays unchanged.
/// The new one belongs to the same generation: the user is not charged for it, and a
/// refunded generation stays refunded. It starts from the old one's reply if that can
/// still become the plan, unless the old job was poisoned.
///
/// # Errors
/// Nothing was changed.
pub async fn retry(
    tx: &Transaction<'_>,
    job_id: Uuid,
    as_id: Uuid,
    by: &str,
    expires_in_seconds: f64,
    per_user: i64,
) -> Result<Retried, DbError> {
    let statement = tx
        .prepare_cached(
            "-- lock job to retry
             select user_id, state from regimen.jobs where id = $1 for update",
        )
        .await?;
    let Some(row) = tx.query_opt(&statement, &[&job_id]).await? else {
        return Ok(Retried::Missing);
    };
    let (user_id, state): (Uuid, JobState) = (row.try_get("user_id")?, named(&row, "state")?);
    if !matches!(state, JobState::Failed | JobState::Expired) {
        return Ok(Retried::Refused(state));
    }
    if let Some(before) = traces(tx, job_id).await?.retried_as {
        return Ok(Retried::Before(before));
    }
    let statement = tx
        .prepare_cached(
            "-- retry job
             with job as (
                 insert into regimen.jobs (id, user_id, generation_id, kind, class, quiz_result_id,
                     input, callback_url, run_at, created_at, expires_at, updated_at, last_seq,
                     warnings, cautions)
                 select $2, user_id, generation_id, kind, class, quiz_result_id, input,
                        callback_url, now(), now(), now() + make_interval(secs => $3), now(), 1,
                        warnings, cautions
                 from regimen.jobs where id = $1
                 returning id
             ), reply as (
                 -- It costs nothing again: its price stays with the old job.
                 insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
                     prompt_version, started_at, finished_at, http_status, request_id, raw_reply)
                 select gen_random_uuid(), job.id, a.user_id, $5, 1, a.provider, a.model,
                        a.prompt_version, a.started_at, a.finished_at, a.http_status,
                        a.request_id, a.raw_reply
                 from job, regimen.job_attempts a
                 join regimen.jobs old on old.id = a.job_id
                     and old.error_code is distinct from 'poisoned'
                 where a.job_id = $1 and a.raw_reply is not null
                   and (a.outcome is null or a.outcome = 'ok')
                 order by a.n desc limit 1
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind, data)
                 select id, 1, now(), 'accepted', jsonb_build_object('retry_of', $1::uuid) from job
             )
             insert into regimen.job_retries (job_id, retried_as, retried_by)
             select $1, id, $4 from job",
        )
        .await?;
    match tx.execute(&statement, &[&job_id, &as_id, &expires_in_seconds, &by, &INHERITED]).await? {
        1 => {}
        found => return Err(DbError::Rows { statement: "retry job", expected: 1, found }),
    }
    Ok(Retried::New { user_id, next: dispatch_next_or_later(tx, &[user_id], per_user).await? })
}

/// A reply as a provider sent it, for operators.
#[derive(Debug, Clone)]
pub struct RawReply {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The reply; none before it arrived, and when it is no longer kept.
    pub text: Option<String>,
}

/// The raw reply of attempt `n` of a job.
///
/// # Errors
/// The query failed.
pub async fn raw_reply<C: GenericClient>(
    client: &C,
    job_id: Uuid,
    n: i32,
) -> Result<Option<RawReply>, DbError> {
    let statement = client
        .prepare_cached(
            "-- raw reply
             select provider, model, raw_reply from regimen.job_attempts
             where job_id = $1 and n = $2",
        )
        .await?;
    let row = client.query_opt(&statement, &[&job_id, &n]).await?;
    row.map(|row| {
        Ok(RawReply {
            provider: row.try_get("provider")?,
            model: row.try_get("model")?,
            text: row.try_get("raw_reply")?,
        })
    })
    .transpose()
}
