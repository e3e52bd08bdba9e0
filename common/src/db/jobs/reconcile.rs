//! Repairs the effects of faults. Every worker runs this in small batches;
//! `skip locked` keeps workers from waiting for each other. A row that cannot
//! be repaired does not block the others.

use std::time::Duration;

use crate::db::{Client, Transaction};
use uuid::Uuid;

use super::Held;
use super::dispatch::dispatch_next_or_later;
use super::finish::Ended;
use super::release::lose;
use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome};
use crate::job::JobEventKind;

/// Jobs whose worker is lost, or whose claim has lasted too long.
#[derive(Debug, Clone, Copy)]
pub struct LostLeases<'a> {
    /// The highest number.
    pub limit: i64,
    /// While Postgres was away no worker could extend its lease. So nothing is taken
    /// over before Postgres has been up for this long: every live worker has extended its
    /// lease by then.
    pub grace: Duration,
    /// The cap on running jobs of a user.
    pub per_user: i64,
    /// Jobs to leave out.
    pub quarantine: &'a [Uuid],
}

/// Requeues jobs whose claim has expired, with their worker's lease or at its own end, or
/// fails them as poisoned.
///
/// # Errors
/// Nothing of the batch was changed.
pub async fn recover_leases(
    client: &mut Client,
    lost: &LostLeases<'_>,
) -> Result<Outcome<Held, Ended>, DbError> {
    batch::run(client, lost).await
}

impl Batch for LostLeases<'_> {
    type Key = Held;
    type Done = Ended;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<Held>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- lost leases
                 with dead as materialized (
                     select worker_id from regimen.worker_leases
                     where expires_at < now()
                       and now() > pg_postmaster_start_time() + make_interval(secs => $2)
                 ), orphaned as materialized (
                     select j.id, j.fence from dead cross join lateral (
                         select id, fence from regimen.jobs
                         where state = 'running' and worker_id = dead.worker_id
                           and id <> all ($3::uuid[])
                         order by worker_id, id limit $1 for update skip locked) j
                     limit $1
                 ), outlasted as materialized (
                     select id, fence from regimen.jobs
                     where state = 'running' and lease_expires_at < now() and id <> all ($3::uuid[])
                       and now() > pg_postmaster_start_time() + make_interval(secs => $2)
                     order by lease_expires_at limit $1 for update skip locked
                 )
                 select id, fence from orphaned union select id, fence from outlasted
                 limit $1",
            )
            .await?;
        let rows = tx
            .query(&statement, &[&self.limit, &self.grace.as_secs_f64(), &self.quarantine])
            .await?;
        Ok(rows.iter().map(Held::from_row).collect())
    }

    async fn change(&self, tx: &Transaction<'_>, held: &[Held]) -> Result<Vec<Ended>, DbError> {
        // What a worker holds that was heard of since then still has its holder.
        let held = still_lost(tx, held).await?;
        lose(tx, &held, "its lease ran out", self.per_user).await
    }
}

async fn still_lost(tx: &Transaction<'_>, held: &[Held]) -> Result<Vec<Held>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- still lost
             with named as materialized (
                 select id, fence, state, worker_id, lease_expires_at from regimen.jobs
                 where id = any((select $1::uuid[])::uuid[]) for update skip locked
             )
             select id, fence from named left join regimen.worker_leases l using (worker_id)
             where state = 'running' and (lease_expires_at < now() or l.expires_at < now())",
        )
        .await?;
    let ids: Vec<Uuid> = held.iter().map(|held| held.id).collect();
    let rows = tx.query(&statement, &[&ids]).await?;
    Ok(rows.iter().map(Held::from_row).collect())
}

/// Waiting jobs that were not started in time.
#[derive(Debug, Clone, Copy)]
pub struct Overdue<'a> {
    /// The highest number.
    pub limit: i64,
    /// The cap on running jobs of a user.
    pub per_user: i64,
    /// Jobs to leave out.
    pub quarantine: &'a [Uuid],
}

/// Expires waiting jobs that were not started in time.
///
/// # Errors
/// Nothing of the batch was changed.
pub async fn expire_overdue(
    client: &mut Client,
    overdue: &Overdue<'_>,
) -> Result<Outcome<Uuid, Ended>, DbError> {
    batch::run(client, overdue).await
}

impl Batch for Overdue<'_> {
    type Key = Uuid;
    type Done = Ended;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<Uuid>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find overdue
                 select id from regimen.jobs
                 where state = 'queued' and first_claimed_at is null and expires_at <= now()
                   and id <> all ($2::uuid[])
                 order by expires_at limit $1 for update skip locked",
            )
            .await?;
        let rows = tx.query(&statement, &[&self.limit, &self.quarantine]).await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    async fn change(&self, tx: &Transaction<'_>, ids: &[Uuid]) -> Result<Vec<Ended>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- expire overdue
                 with named as materialized (
                     select id, state, first_claimed_at, expires_at from regimen.jobs
                     where id = any((select $1::uuid[])::uuid[]) for update skip locked
                 ), job as (
                     update regimen.jobs j set
                         state = 'expired', stage = 'done', dispatched_at = null,
                         finished_at = now(), updated_at = now(), last_seq = last_seq + 1,
                         error_code = 'expired',
                         error_detail = 'no worker could start the job in time; submit it again'
                     from named
                     where named.id = j.id and named.state = 'queued'
                       and named.first_claimed_at is null and named.expires_at <= now()
                     returning j.id, j.user_id, j.last_seq
                 ), event as (
                     insert into regimen.job_events (job_id, seq, at, kind)
                     select id, last_seq, now(), 'expired' from job
                 )
                 select id, user_id, last_seq from job",
            )
            .await?;
        let rows = tx.query(&statement, &[&ids]).await?;
        let mut expired = Vec::with_capacity(rows.len());
        let mut users: Vec<Uuid> = Vec::with_capacity(rows.len());
        for row in &rows {
            users.push(row.try_get("user_id")?);
            let (job_id, seq) = (row.try_get("id")?, row.try_get("last_seq")?);
            expired.push(Ended { job_id, kind: JobEventKind::Expired, seq, next: Vec::new() });
        }
        if let Some(last) = expired.last_mut() {
            last.next = dispatch_next_or_later(tx, &users, self.per_user).await?;
        }
        Ok(expired)
    }
}
