//! Repairs of what faults left behind. Every worker runs these in small
//! batches; `skip locked` keeps them out of each other's way.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Client, GenericClient};
use uuid::Uuid;

use super::Held;
use super::finish::{NextJob, dispatch_next, lose, settle_usage};
use super::read::named;
use crate::db::DbError;
use crate::job::JobClass;

/// A job the reconciler ended or changed.
#[derive(Debug, Clone)]
pub struct Reconciled {
    /// The job.
    pub job_id: Uuid,
    /// The number of the event that records it.
    pub seq: i32,
    /// What to push now.
    pub next: Vec<NextJob>,
}

/// Returns jobs whose lease ran out to waiting, or fails them as poisoned.
///
/// # Errors
/// The batch stopped at the failing job; those before it are done.
pub async fn recover_leases(
    client: &mut Client,
    batch: i64,
    per_user: i64,
) -> Result<Vec<Reconciled>, DbError> {
    let tx = client.transaction().await?;
    let statement = tx
        .prepare_cached(
            "-- lost leases
             select id, fence, worker_id from regimen.jobs
             where state = 'running' and lease_expires_at < now()
             order by lease_expires_at limit $1 for update skip locked",
        )
        .await?;
    let mut recovered = Vec::new();
    for row in tx.query(&statement, &[&batch]).await? {
        let held = Held { id: row.try_get("id")?, fence: row.try_get("fence")? };
        let worker: Option<String> = row.try_get("worker_id")?;
        let reason = format!("the lease of worker {} ran out", worker.unwrap_or_default());
        if let Some(ended) = lose(&tx, held, &reason, per_user).await? {
            recovered.push(Reconciled { job_id: held.id, seq: ended.seq, next: ended.next });
        }
    }
    tx.commit().await?;
    Ok(recovered)
}

/// Ends waiting jobs that nobody started in time.
///
/// # Errors
/// Nothing of the batch was changed.
pub async fn expire_overdue(
    client: &mut Client,
    batch: i64,
    per_user: i64,
) -> Result<Vec<Reconciled>, DbError> {
    let tx = client.transaction().await?;
    let statement = tx
        .prepare_cached(
            "-- expire overdue
             with overdue as (
                 select id from regimen.jobs
                 where state = 'queued' and first_claimed_at is null and expires_at <= now()
                 order by expires_at limit $1 for update skip locked
             ), job as (
                 update regimen.jobs j set
                     state = 'expired', stage = 'done', dispatched_at = null, finished_at = now(),
                     updated_at = now(), last_seq = last_seq + 1, error_code = 'expired',
                     error_detail = 'no worker could start the job in time; submit it again'
                 from overdue where overdue.id = j.id
                 returning j.id, j.user_id, j.last_seq
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind)
                 select id, last_seq, now(), 'expired' from job
             )
             select id, user_id, last_seq from job",
        )
        .await?;
    let rows = tx.query(&statement, &[&batch]).await?;
    let mut expired = Vec::with_capacity(rows.len());
    for row in rows {
        let job_id = row.try_get("id")?;
        settle_usage(&tx, job_id).await?;
        let next = dispatch_next(&tx, row.try_get("user_id")?, per_user).await?;
        expired.push(Reconciled { job_id, seq: row.try_get("last_seq")?, next });
    }
    tx.commit().await?;
    Ok(expired)
}

/// Jobs of one class that were put into Redis before `popped_before` and still
/// wait: their message is gone. Marks them as dispatched anew.
///
/// # Errors
/// Nothing was marked.
pub async fn redispatch_lost<C: GenericClient>(
    client: &C,
    class: JobClass,
    popped_before: Option<DateTime<Utc>>,
    grace: Duration,
    batch: i64,
) -> Result<Vec<NextJob>, DbError> {
    let statement = client
        .prepare_cached(
            "-- redispatch lost
             with lost as (
                 select id from regimen.jobs
                 where class = $1 and state = 'queued' and run_at <= now()
                   and dispatched_at < least($2::timestamptz, now())
                                       - make_interval(secs => $3)
                 order by dispatched_at limit $4 for update skip locked
             )
             update regimen.jobs j set dispatched_at = now()
             from lost where lost.id = j.id
             returning j.id",
        )
        .await?;
    let rows = client
        .query(&statement, &[&class.as_str(), &popped_before, &grace.as_secs_f64(), &batch])
        .await?;
    rows.iter().map(|row| Ok(NextJob { id: row.try_get("id")?, list: class.into() })).collect()
}

/// Dispatches what became due (retry rounds, freed places) and has room under
/// its user's cap.
///
/// # Errors
/// Nothing was marked.
pub async fn dispatch_ready<C: GenericClient>(
    client: &C,
    batch: i64,
    per_user: i64,
) -> Result<Vec<NextJob>, DbError> {
    let statement = client
        .prepare_cached(
            "-- dispatch ready
             with recursive waiting as (
                 -- Skips from user to user along the index instead of reading every row.
                 (select user_id from regimen.jobs
                  where state = 'queued' and dispatched_at is null
                  order by user_id limit 1)
                 union all
                 select (select j.user_id from regimen.jobs j
                         where j.state = 'queued' and j.dispatched_at is null
                           and j.user_id > waiting.user_id
                         order by j.user_id limit 1)
                 from waiting where waiting.user_id is not null
             ), room as (
                 select user_id, $2 - (
                     select count(*) from regimen.jobs j
                     where j.user_id = waiting.user_id
                       and (j.state = 'running'
                            or (j.state = 'queued' and j.dispatched_at is not null))) as free
                 from waiting where user_id is not null
             ), due as (
                 select next.id from room cross join lateral (
                     select j.id from regimen.jobs j
                     where j.user_id = room.user_id and j.state = 'queued'
                       and j.dispatched_at is null and j.run_at <= now()
                     order by j.created_at, j.id limit greatest(0, room.free)
                 ) next
                 limit $1
             ), locked as (
                 select id from regimen.jobs where id in (select id from due)
                   and state = 'queued' and dispatched_at is null
                 for update skip locked
             )
             update regimen.jobs j set dispatched_at = now()
             from locked where locked.id = j.id
             returning j.id, j.class",
        )
        .await?;
    let rows = client.query(&statement, &[&batch, &per_user]).await?;
    rows.iter()
        .map(|row| {
            let class: JobClass = named(row, "class")?;
            Ok(NextJob { id: row.try_get("id")?, list: class.into() })
        })
        .collect()
}

/// How much of a class waits and since when: `(waiting, oldest claimable)`.
///
/// # Errors
/// The query failed.
pub async fn queue_health<C: GenericClient>(
    client: &C,
    class: JobClass,
) -> Result<(i64, Option<Duration>), DbError> {
    let statement = client
        .prepare_cached(
            "-- queue health
             select count(*) as waiting,
                    extract(epoch from now() - min(run_at) filter (where run_at <= now()))::float8
                        as oldest_seconds
             from regimen.jobs where state = 'queued' and class = $1",
        )
        .await?;
    let row = client.query_one(&statement, &[&class.as_str()]).await?;
    let oldest: Option<f64> = row.try_get("oldest_seconds")?;
    Ok((row.try_get("waiting")?, oldest.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))))
}
