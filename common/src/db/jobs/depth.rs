//! The size, age and pace of the backlog. These statements run periodically, so
//! each reads a few rows at any size of the backlog.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::Row;

use super::read::named;
use crate::db::planner::by_index;
use crate::db::{Client, DbError, elapsed};
use crate::job::JobClass;

/// The pace uses at most this many jobs, the latest ones.
const PACE_OF: i64 = 2_000;
/// The shortest time from which a pace is computed.
const SHORTEST_SPAN: f64 = 5.0;

/// The state of the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueHealth {
    /// By class.
    pub classes: HashMap<JobClass, ClassHealth>,
    /// For how long the earliest lease of a running job has been expired without a
    /// takeover.
    pub lease_overdue: Duration,
    /// For how long the most overdue waiting job should have been expired.
    pub start_overdue: Duration,
}

/// The backlog of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClassHealth {
    /// All waiting jobs: for dispatch, for a worker, for a retry.
    pub waiting: i64,
    /// How long the oldest claimable job has waited for a worker. Its id may be in Redis,
    /// or be pushed again.
    pub oldest: Duration,
}

impl ClassHealth {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        let oldest: Option<f64> = row.try_get("oldest")?;
        let oldest = oldest.map(elapsed).unwrap_or_default();
        Ok(Self { waiting: row.try_get("waiting")?, oldest })
    }
}

/// Reads the state of the queue.
///
/// # Errors
/// The query failed.
pub async fn queue_health(client: &mut Client) -> Result<QueueHealth, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- queue health
             select c.class,
                    (select coalesce(sum(w.jobs), 0)::bigint from regimen.waiting_jobs w
                     where w.class = c.class) as waiting,
                    (select extract(epoch from now() - dispatched_at)::float8
                     from regimen.jobs
                     where state = 'queued' and class = c.class and dispatched_at is not null
                       and dispatched_at > '-infinity' and dispatched_at < 'infinity'
                     order by dispatched_at limit 1) as oldest,
                    greatest(
                        (select extract(epoch from now() - lease_expires_at)::float8
                         from regimen.jobs
                         where state = 'running'
                           and lease_expires_at > '-infinity' and lease_expires_at < 'infinity'
                         order by lease_expires_at limit 1),
                        (select extract(epoch from now() - min(l.expires_at))::float8
                         from regimen.worker_leases l
                         where l.expires_at < now() and exists (
                             select from regimen.jobs j
                             where j.state = 'running' and j.worker_id = l.worker_id offset 0))
                    ) as lease,
                    (select extract(epoch from now() - expires_at)::float8
                     from regimen.jobs
                     where state = 'queued' and first_claimed_at is null
                       and expires_at > '-infinity' and expires_at < 'infinity'
                     order by expires_at limit 1) as start
             from unnest($1::text[]) as c (class)",
        )
        .await?;
    let classes: Vec<&str> = JobClass::ALL.iter().map(|class| class.as_str()).collect();
    let rows = tx.query(&statement, &[&classes]).await?;
    tx.rollback().await?;
    let mut health = QueueHealth::default();
    for row in &rows {
        health.classes.insert(named(row, "class")?, ClassHealth::from_row(row)?);
        let overdue = |since: &str| Ok::<_, DbError>(row.try_get::<_, Option<f64>>(since)?);
        health.lease_overdue = overdue("lease")?.map(elapsed).unwrap_or_default();
        health.start_overdue = overdue("start")?.map(elapsed).unwrap_or_default();
    }
    Ok(health)
}

/// The size of the backlog, and its pace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Jobs waiting.
    pub queued: i64,
    /// Jobs that recently ended per second; none while none ends.
    pub pace: Option<f64>,
}

/// The backlog, and the pace at which jobs ended within the last `window`: from the first
/// of them until now.
///
/// # Errors
/// The query failed.
pub async fn backlog(client: &mut Client, window: Duration) -> Result<Backlog, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- backlog
             with ended as materialized (
                 select finished_at from regimen.jobs
                 where finished_at > now() - make_interval(secs => $1) and finished_at <= now()
                 order by finished_at desc limit $2
             )
             select (select coalesce(sum(jobs), 0)::bigint from regimen.waiting_jobs) as queued,
                    (select count(*) from ended) as ended,
                    coalesce(extract(epoch from now() - (select min(finished_at) from ended)), 0)
                        ::float8 as span",
        )
        .await?;
    let row = tx.query_one(&statement, &[&window.as_secs_f64(), &PACE_OF]).await?;
    tx.rollback().await?;
    let (ended, span): (i64, f64) = (row.try_get("ended")?, row.try_get("span")?);
    let pace = (ended > 0).then(|| ended as f64 / span.max(SHORTEST_SPAN));
    Ok(Backlog { queued: row.try_get("queued")?, pace })
}
