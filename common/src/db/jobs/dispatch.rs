//! Whose turn it is: which waiting jobs may stand in Redis.
//!
//! A user has no more jobs there and running than may run at once, so that
//! nobody's backlog stands before somebody else's first job. The mark is
//! `dispatched_at`; Redis only repeats it. What a crash or Redis lost between
//! the mark and the push, [`redispatch_lost`] finds.

use std::time::Duration;

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::read::named;
use crate::db::DbError;
use crate::job::JobClass;
use crate::queue::List;

/// A job whose turn has come: to be pushed after the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextJob {
    /// The job.
    pub id: Uuid,
    /// Where to push it.
    pub list: List,
    /// What its message says: since when it stands there, by the database's clock.
    pub at: DateTime<Utc>,
    /// The job ran before and came back: it goes before all others, as it
    /// stood before them when it was accepted.
    pub returned: bool,
}

impl NextJob {
    pub(super) fn from_row(row: &Row) -> Result<Self, DbError> {
        let class: JobClass = named(row, "class")?;
        let at = row.try_get("at")?;
        Ok(Self { id: row.try_get("id")?, list: class.into(), at, returned: false })
    }
}

/// Picks each user's next waiting jobs, as many as its cap leaves room for,
/// and marks them dispatched. Push them after the commit; what is not pushed,
/// the reconciler finds.
///
/// # Errors
/// Nothing was marked.
pub async fn dispatch_next<C: GenericClient>(
    client: &C,
    users: &[Uuid],
    per_user: i64,
) -> Result<Vec<NextJob>, DbError> {
    let statement = client
        .prepare_cached(
            "-- dispatch next
             update regimen.jobs j set dispatched_at = now()
             from (select distinct unnest($1::uuid[]) as user_id) u
             cross join lateral (
                 select id from regimen.jobs
                 where user_id = u.user_id and state = 'queued' and dispatched_at is null
                   and run_at <= now()
                 order by run_at, created_at, id
                 limit greatest(0, $2 - (
                     select count(*) from regimen.jobs
                     where user_id = u.user_id
                       and (state = 'running' or (state = 'queued' and dispatched_at is not null))))
                 for update skip locked
             ) next
             where j.id = next.id
             returning j.id, j.class, j.dispatched_at as at",
        )
        .await?;
    let rows = client.query(&statement, &[&users, &per_user]).await?;
    rows.iter().map(NextJob::from_row).collect()
}

/// A look at some of the users who have jobs waiting for their turn.
#[derive(Debug)]
pub struct ReadyPage {
    /// What was dispatched.
    pub next: Vec<NextJob>,
    /// The last user looked at; `None` when there are no users behind.
    pub last: Option<Uuid>,
}

/// Dispatches what became due (retry rounds, freed places) and has room under
/// its user's cap, for at most `users` users after `after` in the order of ids.
///
/// # Errors
/// Nothing was marked.
pub async fn dispatch_ready<C: GenericClient>(
    client: &C,
    after: Option<Uuid>,
    users: i64,
    per_user: i64,
) -> Result<ReadyPage, DbError> {
    let statement = client
        .prepare_cached(
            "-- dispatch ready
             with recursive waiting as (
                 -- Skips from user to user along the index instead of reading every row.
                 (select user_id from regimen.jobs
                  where state = 'queued' and dispatched_at is null
                    and user_id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
                  order by user_id limit 1)
                 union all
                 select (select j.user_id from regimen.jobs j
                         where j.state = 'queued' and j.dispatched_at is null
                           and j.user_id > waiting.user_id
                         order by j.user_id limit 1)
                 from waiting where waiting.user_id is not null
             ), page as (
                 select user_id from waiting where user_id is not null limit $2
             ), due as (
                 select next.id from page cross join lateral (
                     select j.id from regimen.jobs j
                     where j.user_id = page.user_id and j.state = 'queued'
                       and j.dispatched_at is null and j.run_at <= now()
                     order by j.run_at, j.created_at, j.id
                     limit greatest(0, $3 - (
                         select count(*) from regimen.jobs s
                         where s.user_id = page.user_id
                           and (s.state = 'running'
                                or (s.state = 'queued' and s.dispatched_at is not null))))
                 ) next
             ), locked as (
                 select id from regimen.jobs where id in (select id from due)
                   and state = 'queued' and dispatched_at is null
                 for update skip locked
             ), dispatched as (
                 update regimen.jobs j set dispatched_at = now()
                 from locked where locked.id = j.id
                 returning j.id, j.class, j.dispatched_at as at
             )
             select d.id, d.class, d.at,
                    case when (select count(*) from page) = $2
                         then (select user_id from page order by user_id desc limit 1) end as last
             from (values (1)) always left join dispatched d on true",
        )
        .await?;
    let rows = client.query(&statement, &[&after, &users, &per_user]).await?;
    let mut page = ReadyPage { next: Vec::with_capacity(rows.len()), last: None };
    for row in &rows {
        page.last = row.try_get("last")?;
        if row.try_get::<_, Option<Uuid>>("id")?.is_some() {
            page.next.push(NextJob::from_row(row)?);
        }
    }
    Ok(page)
}

/// Jobs of one class that were put into Redis before `popped_before` and still
/// wait: their message is gone. Marks them as put there anew; their turn stays
/// as old as it is.
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
                 where class = $1 and state = 'queued' and dispatched_at is not null
                   and run_at <= now()
                   and greatest(dispatched_at, pushed_at)
                       < least($2::timestamptz, now()) - make_interval(secs => $3)
                   and not exists (select from regimen.pauses where what = 'queue' and name = $1)
                 order by greatest(dispatched_at, pushed_at) limit $4 for update skip locked
             )
             update regimen.jobs j set pushed_at = now()
             from lost where lost.id = j.id
             returning j.id, j.class, j.pushed_at as at",
        )
        .await?;
    let rows = client
        .query(&statement, &[&class.as_str(), &popped_before, &grace.as_secs_f64(), &batch])
        .await?;
    rows.iter().map(NextJob::from_row).collect()
}

/// How much of a class waits (counting stops at 100,000) and how long the
/// oldest job whose turn it is has waited for a worker.
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
             select (select count(*) from (
                         select from regimen.jobs
                         where state = 'queued' and class = $1
                         order by run_at limit 100000) w) as waiting,
                    extract(epoch from now() - (
                         select dispatched_at from regimen.jobs
                         where state = 'queued' and class = $1 and dispatched_at is not null
                         order by dispatched_at limit 1))::float8 as oldest_seconds",
        )
        .await?;
    let row = client.query_one(&statement, &[&class.as_str()]).await?;
    let oldest: Option<f64> = row.try_get("oldest_seconds")?;
    Ok((row.try_get("waiting")?, oldest.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))))
}
