//! Repairs dispatch: marks jobs that have become due, and jobs whose message
//! Redis lost. These statements run periodically, so they are bounded by their
//! shape, and a job that cannot be marked does not block the others.

use std::time::Duration;

use crate::db::{Client, Transaction};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::dispatch::NextJob;
use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome};
use crate::db::planner::by_index;
use crate::job::JobClass;

/// A page of the users with waiting jobs.
#[derive(Debug)]
pub struct ReadyPage {
    /// The dispatched jobs.
    pub marked: Outcome<Uuid, NextJob>,
    /// The last user of the page; `None` on the last page.
    pub last: Option<Uuid>,
}

/// The page of users.
#[derive(Debug, Clone, Copy)]
pub struct ReadyUsers {
    /// Only those after this one, in the order of ids.
    pub after: Option<Uuid>,
    /// The highest number.
    pub limit: i64,
}

const FIND_DUE: &str = "-- find due jobs
    with recursive waiting as (
        -- Skips from user to user along the index instead of reading every row.
        (select user_id, 1 as n from regimen.jobs
         where state = 'queued' and dispatched_at is null
           and user_id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
         order by user_id, run_at, created_at, id limit 1)
        union all
        select next.user_id, waiting.n + 1
        from waiting cross join lateral (
            select j.user_id from regimen.jobs j
            where j.state = 'queued' and j.dispatched_at is null and j.user_id > waiting.user_id
            order by j.user_id, j.run_at, j.created_at, j.id limit 1
        ) next
        where waiting.n < $2
    )
    select waiting.user_id, due.id
    from waiting left join lateral (
        select j.id from regimen.jobs j
        where j.user_id = waiting.user_id and j.state = 'queued' and j.dispatched_at is null
          and j.run_at <= now() and j.id <> all ($4::uuid[])
        order by j.run_at, j.created_at, j.id
        limit greatest(0, $3 - (
            select count(*) from (
                select from regimen.jobs s
                where s.user_id = waiting.user_id
                  and (s.state = 'running' or (s.state = 'queued' and s.dispatched_at is not null))
                order by s.dispatched_at limit $3
            ) standing))
    ) due on true";

/// Dispatches jobs that became due (retry rounds, freed slots) and fit their user's cap,
/// except those in `quarantine`.
///
/// # Errors
/// Nothing was marked.
pub async fn dispatch_ready(
    client: &mut Client,
    users: ReadyUsers,
    per_user: i64,
    quarantine: &[Uuid],
) -> Result<ReadyPage, DbError> {
    let tx = by_index(client).await?;
    let statement = tx.prepare_cached(FIND_DUE).await?;
    let rows =
        tx.query(&statement, &[&users.after, &users.limit_i32(), &per_user, &quarantine]).await?;
    tx.rollback().await?;
    let (mut due, mut last, mut looked_at) = (Vec::new(), None, 0);
    for row in &rows {
        let user: Uuid = row.try_get("user_id")?;
        if last != Some(user) {
            looked_at += 1;
        }
        last = last.max(Some(user));
        due.extend(row.try_get::<_, Option<Uuid>>("id")?);
    }
    let last = last.filter(|_| looked_at >= users.limit);
    Ok(ReadyPage { marked: batch::change(client, &Mark, &due).await?, last })
}

impl ReadyUsers {
    fn limit_i32(self) -> i32 {
        i32::try_from(self.limit).unwrap_or(i32::MAX)
    }
}

/// Marks waiting jobs as dispatched.
struct Mark;

impl Batch for Mark {
    type Key = Uuid;
    type Done = NextJob;

    async fn pick(&self, _: &Transaction<'_>) -> Result<Vec<Uuid>, DbError> {
        Ok(Vec::new())
    }

    async fn change(&self, tx: &Transaction<'_>, ids: &[Uuid]) -> Result<Vec<NextJob>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- dispatch ready
                 with named as materialized (
                     select id, state, dispatched_at from regimen.jobs
                     where id = any((select $1::uuid[])::uuid[]) for update skip locked
                 )
                 update regimen.jobs j set dispatched_at = now()
                 from named
                 where named.id = j.id and named.state = 'queued' and named.dispatched_at is null
                 returning j.id, j.class, j.dispatched_at as at",
            )
            .await?;
        let rows = tx.query(&statement, &[&ids]).await?;
        rows.iter().map(NextJob::from_row).collect()
    }
}

/// Jobs of one class whose message is lost.
#[derive(Debug, Clone, Copy)]
pub struct LostMessages<'a> {
    /// The class.
    pub class: JobClass,
    /// The time of the oldest message in the list; `None` if it is empty.
    pub popped_before: Option<DateTime<Utc>>,
    /// Younger messages may still be arriving.
    pub grace: Duration,
    /// The highest number.
    pub limit: i64,
    /// Jobs to leave out.
    pub quarantine: &'a [Uuid],
}

/// Waiting jobs that were pushed before `popped_before`: their message is lost. Marks
/// them as pushed again; their place in the queue stays.
///
/// # Errors
/// Nothing was marked.
pub async fn redispatch_lost(
    client: &mut Client,
    lost: &LostMessages<'_>,
) -> Result<Outcome<Uuid, NextJob>, DbError> {
    batch::run(client, lost).await
}

impl Batch for LostMessages<'_> {
    type Key = Uuid;
    type Done = NextJob;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<Uuid>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find lost messages
                 select id from regimen.jobs
                 where class = $1 and state = 'queued' and dispatched_at is not null
                   and run_at <= now() and id <> all ($5::uuid[])
                   and greatest(dispatched_at, pushed_at)
                       < least($2::timestamptz, now()) - make_interval(secs => $3)
                   and not exists (select from regimen.pauses where what = 'queue' and name = $1)
                 order by greatest(dispatched_at, pushed_at) limit $4 for update skip locked",
            )
            .await?;
        let (class, grace) = (self.class.as_str(), self.grace.as_secs_f64());
        let rows = tx
            .query(
                &statement,
                &[&class, &self.popped_before, &grace, &self.limit, &self.quarantine],
            )
            .await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    async fn change(&self, tx: &Transaction<'_>, ids: &[Uuid]) -> Result<Vec<NextJob>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- redispatch lost
                 with named as materialized (
                     select id, state, dispatched_at, pushed_at from regimen.jobs
                     where id = any((select $1::uuid[])::uuid[]) for update skip locked
                 )
                 update regimen.jobs j set pushed_at = now()
                 from named
                 where named.id = j.id and named.state = 'queued'
                   and named.dispatched_at is not null
                   and greatest(named.dispatched_at, named.pushed_at)
                       < least($2::timestamptz, now()) - make_interval(secs => $3)
                 returning j.id, j.class, j.pushed_at as at",
            )
            .await?;
        let grace = self.grace.as_secs_f64();
        let rows = tx.query(&statement, &[&ids, &self.popped_before, &grace]).await?;
        rows.iter().map(NextJob::from_row).collect()
    }
}
