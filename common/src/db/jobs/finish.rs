//! Ends of a claim: success, failure, another round, hand-back. Each checks
//! the fence, records the event, settles the spend and picks the user's next
//! jobs in the caller's transaction.

use std::time::Duration;

use deadpool_postgres::{GenericClient, Transaction};
use serde_json::{Value, json};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::Held;
use super::read::named;
use crate::db::DbError;
use crate::job::{FailureCode, JobClass, LOST_WORKERS_LIMIT};
use crate::queue::List;

/// A job whose turn has come: to be pushed after the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextJob {
    /// The job.
    pub id: Uuid,
    /// Where to push it.
    pub list: List,
}

/// What a finished job leaves behind.
#[derive(Debug, Clone)]
pub struct Success {
    /// The saved plan.
    pub plan_id: Uuid,
    /// Who wrote it.
    pub provider: String,
    /// With which model.
    pub model: String,
}

/// A claim that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The number of the event that records it.
    pub seq: i32,
    /// The user's jobs whose turn has come.
    pub next: Vec<NextJob>,
}

/// Ends the job as succeeded. Call it before the plan is inserted in the same
/// transaction: `None` means the claim is stale and nothing may be written.
///
/// # Errors
/// Nothing was written.
pub async fn succeed(
    tx: &Transaction<'_>,
    held: Held,
    success: &Success,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- succeed
             with job as (
                 update regimen.jobs j set
                     state = 'succeeded', stage = 'done', worker_id = null, lease_expires_at = null,
                     finished_at = now(), updated_at = now(), last_seq = last_seq + 1,
                     plan_id = $3, provider = $4, model = $5,
                     cost_micros = (select coalesce(sum(cost_micros), 0)::bigint
                                    from regimen.job_attempts a where a.job_id = j.id)
                 where id = $1 and fence = $2 and state = 'running'
                 returning user_id, last_seq
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind, data)
                 select $1, last_seq, now(), 'saved',
                        jsonb_build_object('plan_id', $3::uuid, 'provider', $4::text, 'model', $5::text)
                 from job
             )
             select user_id, last_seq from job",
        )
        .await?;
    let row = tx
        .query_opt(
            &statement,
            &[&held.id, &held.fence, &success.plan_id, &success.provider, &success.model],
        )
        .await?;
    finish(tx, held.id, row, per_user).await
}

/// Ends the job as failed for good.
///
/// # Errors
/// Nothing was written.
pub async fn fail(
    tx: &Transaction<'_>,
    held: Held,
    code: FailureCode,
    detail: &str,
    evidence: &Value,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- fail
             with job as (
                 update regimen.jobs j set
                     state = 'failed', stage = 'done', worker_id = null, lease_expires_at = null,
                     finished_at = now(), updated_at = now(), last_seq = last_seq + 1,
                     error_code = $3, error_detail = $4,
                     cost_micros = (select coalesce(sum(cost_micros), 0)::bigint
                                    from regimen.job_attempts a where a.job_id = j.id)
                 where id = $1 and fence = $2 and state = 'running'
                 returning user_id, last_seq
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind, data)
                 select $1, last_seq, now(), 'failed', $5 from job
             )
             select user_id, last_seq from job",
        )
        .await?;
    let data = json!({ "code": code.as_str(), "detail": detail, "evidence": evidence });
    let row = tx
        .query_opt(&statement, &[&held.id, &held.fence, &code.as_str(), &detail, &Json(&data)])
        .await?;
    finish(tx, held.id, row, per_user).await
}

/// Sends the job back to wait for another round, `after` from now, without
/// holding a slot. Its next claim starts a fresh deadline.
///
/// # Errors
/// Nothing was written.
pub async fn retry_later(
    tx: &Transaction<'_>,
    held: Held,
    stage: &str,
    after: Duration,
    reason: &str,
    counts_as_round: bool,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- retry later
             with job as (
                 update regimen.jobs j set
                     state = 'queued', stage = $3, worker_id = null, lease_expires_at = null,
                     deadline_at = null, run_at = now() + make_interval(secs => $4),
                     rounds = rounds + $6::boolean::int, updated_at = now(),
                     last_seq = last_seq + 1
                 where id = $1 and fence = $2 and state = 'running'
                 returning user_id, last_seq, run_at
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind, data)
                 select $1, last_seq, now(), 'retry_scheduled',
                        jsonb_build_object('at', run_at, 'reason', $5::text)
                 from job
             )
             select user_id, last_seq from job",
        )
        .await?;
    let row = tx
        .query_opt(
            &statement,
            &[&held.id, &held.fence, &stage, &after.as_secs_f64(), &reason, &counts_as_round],
        )
        .await?;
    finish(tx, held.id, row, per_user).await
}

/// Hands the job back at once because its worker shuts down; the attempt does
/// not count. The job itself is among the user's next jobs.
///
/// # Errors
/// Nothing was written.
pub async fn drain(
    tx: &Transaction<'_>,
    held: Held,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- drain
             with job as (
                 update regimen.jobs set
                     state = 'queued', stage = 'queued', worker_id = null, lease_expires_at = null,
                     drained = true, updated_at = now(), last_seq = last_seq + 1
                 where id = $1 and fence = $2 and state = 'running'
                 returning user_id, last_seq
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind)
                 select $1, last_seq, now(), 'drained' from job
             )
             select user_id, last_seq from job",
        )
        .await?;
    let row = tx.query_opt(&statement, &[&held.id, &held.fence]).await?;
    finish(tx, held.id, row, per_user).await
}

/// Records that a claim ended in the loss of its worker: back to waiting, or
/// failed as poisoned at the third time. Used for leases that ran out and for
/// handlers that panicked.
///
/// # Errors
/// Nothing was written.
pub async fn lose(
    tx: &Transaction<'_>,
    held: Held,
    reason: &str,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- lose claim
             with job as (
                 update regimen.jobs j set
                     lost = lost + 1,
                     state = case when lost + 1 >= $3 then 'failed' else 'queued' end,
                     stage = case when lost + 1 >= $3 then 'done' else 'queued' end,
                     finished_at = case when lost + 1 >= $3 then now() end,
                     error_code = case when lost + 1 >= $3 then 'poisoned' end,
                     error_detail = case when lost + 1 >= $3
                         then 'the job took ' || (lost + 1) || ' workers down with it; the last time: ' || $4
                         end,
                     worker_id = null, lease_expires_at = null, updated_at = now(),
                     last_seq = last_seq + 1,
                     cost_micros = (select coalesce(sum(cost_micros), 0)::bigint
                                    from regimen.job_attempts a where a.job_id = j.id)
                 where id = $1 and fence = $2 and state = 'running'
                 returning user_id, last_seq, state, lost, error_code
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind, data)
                 select $1, last_seq, now(),
                        case state when 'failed' then 'failed' else 'lease_lost' end,
                        jsonb_strip_nulls(jsonb_build_object(
                            'code', error_code, 'workers_lost', lost, 'reason', $4::text))
                 from job
             )
             select user_id, last_seq from job",
        )
        .await?;
    let row =
        tx.query_opt(&statement, &[&held.id, &held.fence, &LOST_WORKERS_LIMIT, &reason]).await?;
    finish(tx, held.id, row, per_user).await
}

/// Picks the user's next waiting jobs, as many as its cap leaves room for,
/// and marks them dispatched. Push them after the commit; what is not pushed,
/// the reconciler finds.
///
/// # Errors
/// Nothing was marked.
pub async fn dispatch_next<C: GenericClient>(
    client: &C,
    user_id: Uuid,
    per_user: i64,
) -> Result<Vec<NextJob>, DbError> {
    let statement = client
        .prepare_cached(
            "-- dispatch next
             update regimen.jobs j set dispatched_at = now()
             from (
                 select id from regimen.jobs
                 where user_id = $1 and state = 'queued' and dispatched_at is null
                   and run_at <= now()
                 order by created_at, id
                 limit greatest(0, $2 - (
                     select count(*) from regimen.jobs
                     where user_id = $1
                       and (state = 'running' or (state = 'queued' and dispatched_at is not null))))
                 for update skip locked
             ) next
             where j.id = next.id
             returning j.id, j.class",
        )
        .await?;
    let rows = client.query(&statement, &[&user_id, &per_user]).await?;
    rows.iter()
        .map(|row| {
            let class: JobClass = named(row, "class")?;
            Ok(NextJob { id: row.try_get("id")?, list: class.into() })
        })
        .collect()
}

/// Copies the job's paid attempts into the ledger, each once.
pub(super) async fn settle_usage<C: GenericClient>(
    client: &C,
    job_id: Uuid,
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- settle usage
             insert into regimen.ai_usage (attempt_id, job_id, user_id, at, provider, model,
                                           input_tokens, cached_tokens, output_tokens, cost_micros)
             select id, job_id, user_id, coalesce(finished_at, started_at), provider, model,
                    input_tokens, cached_tokens, output_tokens, cost_micros
             from regimen.job_attempts
             where job_id = $1 and (cost_micros > 0 or input_tokens > 0 or output_tokens > 0)
             on conflict (attempt_id) do nothing",
        )
        .await?;
    client.execute(&statement, &[&job_id]).await?;
    Ok(())
}

async fn finish(
    tx: &Transaction<'_>,
    job_id: Uuid,
    row: Option<tokio_postgres::Row>,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let Some(row) = row else {
        metrics::counter!("regimen_stale_writes_refused_total").increment(1);
        return Ok(None);
    };
    settle_usage(tx, job_id).await?;
    let next = dispatch_next(tx, row.try_get("user_id")?, per_user).await?;
    Ok(Some(Ended { seq: row.try_get("last_seq")?, next }))
}
