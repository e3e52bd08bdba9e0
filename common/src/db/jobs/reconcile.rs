//! Repairs of what faults left behind. Every worker runs these in small
//! batches; `skip locked` keeps them out of each other's way.

use std::time::Duration;

use crate::db::Client;
use uuid::Uuid;

use super::Held;
use super::dispatch::dispatch_next;
use super::finish::Ended;
use super::release::lose;
use crate::db::DbError;
use crate::job::EventKind;

/// Returns jobs whose lease ran out to waiting, or fails them as poisoned.
///
/// While Postgres was away no holder could extend its lease. So nothing is
/// taken away from anybody before Postgres has been up for `grace`: whoever
/// still lives has spoken up by then.
///
/// # Errors
/// Nothing of the batch was changed.
pub async fn recover_leases(
    client: &mut Client,
    batch: i64,
    grace: Duration,
    per_user: i64,
) -> Result<Vec<Ended>, DbError> {
    let tx = client.transaction().await?;
    let statement = tx
        .prepare_cached(
            "-- lost leases
             select id, fence from regimen.jobs
             where state = 'running' and lease_expires_at < now()
               and now() > pg_postmaster_start_time() + make_interval(secs => $2)
             order by lease_expires_at limit $1 for update skip locked",
        )
        .await?;
    let rows = tx.query(&statement, &[&batch, &grace.as_secs_f64()]).await?;
    let held: Vec<Held> =
        rows.iter().map(|row| Held { id: row.get("id"), fence: row.get("fence") }).collect();
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let recovered = lose(&tx, &held, "its lease ran out", per_user).await?;
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
) -> Result<Vec<Ended>, DbError> {
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
    let mut users: Vec<Uuid> = Vec::with_capacity(rows.len());
    for row in &rows {
        users.push(row.try_get("user_id")?);
        let (job_id, seq) = (row.try_get("id")?, row.try_get("last_seq")?);
        expired.push(Ended { job_id, kind: EventKind::Expired, seq, next: Vec::new() });
    }
    if let Some(last) = expired.last_mut() {
        last.next = dispatch_next(&tx, &users, per_user).await?;
    }
    tx.commit().await?;
    Ok(expired)
}
