//! Ends many claims without a result: released by their holder, or lost with
//! it. The jobs keep their place in the queue.

use crate::db::{Client, GenericClient, Transaction};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::Held;
use super::dispatch::{NextJob, dispatch_next_or_later};
use super::finish::{Ended, settle, settle_usage};
use super::read::named;
use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome};
use crate::job::{JobClass, JobEventKind, LOST_WORKERS_LIMIT};

/// Requeues jobs at once: their worker shuts down, or stopped working on them without a
/// result. The attempts do not count. Stale claims are skipped; a row that cannot be
/// changed does not block the others.
///
/// # Errors
/// Nothing was written.
pub async fn release(client: &mut Client, held: &[Held]) -> Result<Outcome<Held, Ended>, DbError> {
    let ended = return_claims(client, held).await;
    batch::or_in_halves(client, &Release, held, ended).await
}

struct Release;

impl Batch for Release {
    type Key = Held;
    type Done = Ended;

    async fn pick(&self, _: &Transaction<'_>) -> Result<Vec<Held>, DbError> {
        Ok(Vec::new())
    }

    async fn change(&self, tx: &Transaction<'_>, held: &[Held]) -> Result<Vec<Ended>, DbError> {
        return_claims(tx, held).await
    }
}

async fn return_claims<C: GenericClient>(client: &C, held: &[Held]) -> Result<Vec<Ended>, DbError> {
    let statement = client
        .prepare_cached(
            "-- release
             with named as materialized (
                 -- By id alone, in its order: no statistics lead elsewhere, and
                 -- statements over many jobs cannot deadlock.
                 select id, fence, state from regimen.jobs
                 where id = any((select $1::uuid[])::uuid[]) for update
             ), held as (
                 select named.id
                 from named
                 join unnest($1::uuid[], $2::bigint[]) as h (id, fence)
                   on named.id = h.id and named.fence = h.fence
                 where named.state = 'running'
             ), job as (
                 update regimen.jobs j set
                     state = 'queued', stage = 'queued', worker_id = null, lease_expires_at = null,
                     drained = true, dispatched_at = now(), updated_at = now(),
                     last_seq = last_seq + 1
                 from held where held.id = j.id
                 returning j.id, j.last_seq, j.class, j.created_at
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind)
                 select id, last_seq, now(), 'drained' from job
             )
             select id, last_seq, class, created_at from job",
        )
        .await?;
    let (ids, fences) = columns(held);
    // First, so that a failure in between leaves no released job unannounced. The ledger
    // accepts a call at any time and repeatedly.
    settle_usage(client, &ids).await?;
    let rows = client.query(&statement, &[&ids, &fences]).await?;
    rows.iter().map(|row| returned(row, JobEventKind::Drained)).collect()
}

/// Ends claims as lost with their worker: requeued, or failed as poisoned at the third
/// loss, with the lost workers as evidence. Used for expired leases and for panicked
/// handlers.
///
/// # Errors
/// Nothing was written.
pub async fn lose(
    tx: &Transaction<'_>,
    held: &[Held],
    reason: &str,
    per_user: i64,
) -> Result<Vec<Ended>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- lose claims
             with named as materialized (
                 -- By id alone, in its order: no statistics lead elsewhere, and
                 -- statements over many jobs cannot deadlock.
                 select id, fence, state, worker_id, lost from regimen.jobs
                 where id = any((select $1::uuid[])::uuid[]) for update
             ), held as (
                 select named.id, named.worker_id, named.lost + 1 as lost,
                        named.lost + 1 >= $3 as poisoned
                 from named
                 join unnest($1::uuid[], $2::bigint[]) as h (id, fence)
                   on named.id = h.id and named.fence = h.fence
                 where named.state = 'running'
             ), job as (
                 update regimen.jobs j set
                     lost = held.lost,
                     state = case when poisoned then 'failed' else 'queued' end,
                     stage = case when poisoned then 'done' else 'queued' end,
                     dispatched_at = case when not poisoned then now() end,
                     finished_at = case when poisoned then now() end,
                     error_code = case when poisoned then 'poisoned' end,
                     error_detail = case when poisoned then
                         'the job took ' || held.lost || ' workers down with it; the last time: '
                         || $4 end,
                     worker_id = null, lease_expires_at = null, updated_at = now(),
                     last_seq = last_seq + 1
                 from held where held.id = j.id
                 returning j.id, j.user_id, j.class, j.created_at, j.last_seq, j.error_detail,
                           held.lost, held.poisoned,
                           jsonb_build_object('worker', held.worker_id, 'reason', $4::text) as loss
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind, data)
                 select id, last_seq, now(),
                        case when poisoned then 'failed' else 'lease_lost' end,
                        case when poisoned then jsonb_build_object(
                            'code', 'poisoned', 'detail', error_detail,
                            'evidence', (
                                select coalesce(jsonb_agg(jsonb_build_object(
                                           'at', e.at, 'worker', e.data -> 'worker',
                                           'reason', e.data -> 'reason') order by e.seq), '[]')
                                from regimen.job_events e
                                where e.job_id = job.id and e.kind = 'lease_lost')
                                || (jsonb_build_object('at', now()) || loss))
                        else loss || jsonb_build_object('workers_lost', lost) end
                 from job
             )
             select id, user_id, class, created_at, last_seq, poisoned from job",
        )
        .await?;
    let (ids, fences) = columns(held);
    let rows = tx.query(&statement, &[&ids, &fences, &LOST_WORKERS_LIMIT, &reason]).await?;
    let taken = rows.iter().map(|row| row.try_get("id")).collect::<Result<Vec<Uuid>, _>>()?;
    settle(tx, &taken).await?;
    let mut lost = Vec::with_capacity(rows.len());
    for row in &rows {
        lost.push(if row.try_get("poisoned")? {
            ended_for_good(tx, row, per_user).await?
        } else {
            returned(row, JobEventKind::LeaseLost)?
        });
    }
    Ok(lost)
}

/// The same for claims of a worker that lives and has no handler for them.
///
/// # Errors
/// Nothing was written.
pub async fn lose_each(
    client: &mut Client,
    held: &[Held],
    reason: &str,
    per_user: i64,
) -> Result<Outcome<Held, Ended>, DbError> {
    batch::change(client, &Loss { reason, per_user }, held).await
}

struct Loss<'a> {
    reason: &'a str,
    per_user: i64,
}

impl Batch for Loss<'_> {
    type Key = Held;
    type Done = Ended;

    async fn pick(&self, _: &Transaction<'_>) -> Result<Vec<Held>, DbError> {
        Ok(Vec::new())
    }

    async fn change(&self, tx: &Transaction<'_>, held: &[Held]) -> Result<Vec<Ended>, DbError> {
        lose(tx, held, self.reason, self.per_user).await
    }
}

/// A poisoned job: its user's next one is dispatched.
async fn ended_for_good(tx: &Transaction<'_>, row: &Row, per_user: i64) -> Result<Ended, DbError> {
    let job_id = row.try_get("id")?;
    let next = dispatch_next_or_later(tx, &[row.try_get("user_id")?], per_user).await?;
    Ok(Ended { job_id, kind: JobEventKind::Failed, seq: row.try_get("last_seq")?, next })
}

fn returned(row: &Row, kind: JobEventKind) -> Result<Ended, DbError> {
    let job_id = row.try_get("id")?;
    let class: JobClass = named(row, "class")?;
    let at: DateTime<Utc> = row.try_get("created_at")?;
    let next = NextJob { id: job_id, class, at, returned: true };
    Ok(Ended { job_id, kind, seq: row.try_get("last_seq")?, next: vec![next] })
}

fn columns(held: &[Held]) -> (Vec<Uuid>, Vec<i64>) {
    held.iter().map(|held| (held.id, held.fence)).unzip()
}
