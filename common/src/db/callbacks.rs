//! SQL of callbacks: claiming, and recording outcomes. A trigger writes the
//! rows in the transaction that ends the job (V9).

use std::time::Duration;

use crate::db::{Client, GenericClient, Transaction};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::batch::{self, Batch, Outcome, readable};
use super::jobs::read::named;
use super::planner::by_index;
use super::{DbError, elapsed};
use crate::callbacks::JobCallback;

/// A page of the hosts with due callbacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Hosts with a callback to send now.
    pub due: Vec<String>,
    /// Where the next page continues; none after the last one.
    pub next: Option<String>,
}

/// Reads up to `limit` hosts after `after`. Steps from host to host along the index, so
/// that a host with many callbacks costs no more than another.
///
/// # Errors
/// Postgres failed.
pub async fn hosts(client: &mut Client, after: Option<&str>, limit: i64) -> Result<Hosts, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- hosts with callbacks
             with recursive hosts (host, n) as (
                 (select host, 1 from regimen.callbacks
                  where state = 'waiting' and (host, run_at) > ($1, $2)
                  order by host, run_at limit 1)
                 union all
                 select next.host, h.n + 1
                 from hosts h cross join lateral (
                     select c.host from regimen.callbacks c
                     where c.state = 'waiting' and c.host > h.host
                     order by c.host, c.run_at limit 1) next
                 where h.n < $3
             )
             select h.host, (select true from regimen.callbacks c
                 where c.host = h.host and c.state = 'waiting' and c.run_at <= now()
                 order by c.run_at limit 1) is not null as due
             from hosts h order by h.n",
        )
        .await?;
    // After the last entry of a host, or before the first of all.
    let (host, run_at) = match after {
        Some(host) => (host, DateTime::<Utc>::MAX_UTC),
        None => ("", DateTime::<Utc>::UNIX_EPOCH),
    };
    let most = i32::try_from(limit).unwrap_or(i32::MAX);
    let rows = tx.query(&statement, &[&host, &run_at, &most]).await?;
    tx.rollback().await?;
    let full = i64::try_from(rows.len()).is_ok_and(|found| found >= limit);
    let due = rows.iter().filter(|row| row.get("due")).map(|row| row.get("host")).collect();
    let next = rows.last().filter(|_| full).map(|row| row.get("host"));
    Ok(Hosts { due, next })
}

/// The callbacks that one process may claim.
#[derive(Debug, Clone)]
pub struct Room {
    /// How many more to each host.
    pub hosts: Vec<(String, i64)>,
    /// How many of a user's it is sending already.
    pub users: Vec<(Uuid, i64)>,
    /// The highest number per user.
    pub per_user: i64,
    /// The highest number in total.
    pub limit: i64,
}

/// A callback that this process sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedCallback {
    /// The user of its job.
    pub user_id: Uuid,
    /// The URL.
    pub url: String,
    /// Host and port of the URL.
    pub host: String,
    /// Claims so far, this one included; it identifies the claim.
    pub attempts: i32,
    /// The message.
    pub message: JobCallback,
    /// The trace of the request that created the job.
    pub trace_context: Option<String>,
}

/// Callbacks to claim.
#[derive(Debug, Clone, Copy)]
pub struct Due<'a> {
    /// The limits; oldest first.
    pub room: &'a Room,
    /// The duration of the claim.
    pub hold: Duration,
    /// Callbacks to leave out, by their jobs.
    pub quarantine: &'a [Uuid],
}

/// Claims due callbacks within the limits. Only the thousand oldest of each host are
/// considered, so that many callbacks of one user to one host cost no more.
///
/// # Errors
/// Nothing was claimed.
pub async fn claim(
    client: &mut Client,
    due: &Due<'_>,
) -> Result<Outcome<Uuid, ClaimedCallback>, DbError> {
    batch::run(client, due).await
}

impl Batch for Due<'_> {
    type Key = Uuid;
    type Done = ClaimedCallback;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<Uuid>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find due callbacks
                 with held as materialized (
                     select * from unnest($3::uuid[], $4::bigint[]) u (user_id, n)
                 ), due as (
                     select c.* from unnest($1::text[], $2::bigint[]) h (host, room)
                     cross join lateral (
                         select * from (
                             select job_id, user_id, run_at from regimen.callbacks
                             where host = h.host and state = 'waiting' and run_at <= now()
                                 and job_id <> all ($7::uuid[])
                             order by run_at limit 1000) head
                         where user_id not in (select user_id from held where n >= $5)
                         order by run_at limit h.room) c
                 ), ranked as (
                     select due.*, coalesce(held.n, 0) + row_number()
                         over (partition by due.user_id order by due.run_at, due.job_id) as nth
                     from due left join held on held.user_id = due.user_id
                 )
                 select job_id from ranked where nth <= $5 order by run_at limit $6",
            )
            .await?;
        let (hosts, rooms): (Vec<&str>, Vec<i64>) =
            self.room.hosts.iter().map(|(host, room)| (host.as_str(), *room)).unzip();
        let (users, held): (Vec<Uuid>, Vec<i64>) = self.room.users.iter().copied().unzip();
        let (per_user, limit) = (self.room.per_user, self.room.limit);
        let rows = tx
            .query(
                &statement,
                &[&hosts, &rooms, &users, &held, &per_user, &limit, &self.quarantine],
            )
            .await?;
        rows.iter().map(|row| Ok(row.try_get("job_id")?)).collect()
    }

    async fn change(
        &self,
        tx: &Transaction<'_>,
        jobs: &[Uuid],
    ) -> Result<Vec<ClaimedCallback>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- claim callbacks
                 with named as materialized (
                     -- By id alone: no statistics lead elsewhere.
                     select job_id, state, run_at from regimen.callbacks
                     where job_id = any((select $1::uuid[])::uuid[]) for update skip locked
                 ), claimed as (
                     update regimen.callbacks c
                     set attempts = c.attempts + 1, revision = c.revision + 1,
                         run_at = now() + make_interval(secs => $2)
                     from named
                     where c.job_id = named.job_id and named.state = 'waiting'
                         and named.run_at <= now()
                     returning c.job_id, c.user_id, c.url, c.host, c.attempts
                 )
                 select c.*, j.kind, j.state, j.error_code, j.finished_at, j.trace_context
                 from claimed c join regimen.jobs j on j.id = c.job_id",
            )
            .await?;
        let rows = tx.query(&statement, &[&jobs, &self.hold.as_secs_f64()]).await?;
        Ok(readable("claim_callbacks", rows.iter().map(claimed)))
    }
}

fn claimed(row: &Row) -> Result<ClaimedCallback, DbError> {
    let ended_at: DateTime<Utc> = row.try_get("finished_at")?;
    let (kind, state) = (named(row, "kind")?, named(row, "state")?);
    Ok(ClaimedCallback {
        user_id: row.try_get("user_id")?,
        url: row.try_get("url")?,
        host: row.try_get("host")?,
        attempts: row.try_get("attempts")?,
        trace_context: row.try_get("trace_context")?,
        message: JobCallback::new(
            row.try_get("job_id")?,
            kind,
            state,
            row.try_get("error_code")?,
            ended_at,
        ),
    })
}

/// The outcome of sending a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbackOutcome {
    /// The receiver accepted it.
    Delivered,
    /// The receiver refuses further messages.
    Gone,
    /// Retry after this time.
    Later(Duration),
    /// Given up.
    Dead,
}

/// Records the end of a claim; false when the claim is stale.
///
/// # Errors
/// Postgres failed.
pub async fn ended(
    client: &impl GenericClient,
    claimed: &ClaimedCallback,
    sent: &CallbackOutcome,
    http_status: Option<u16>,
    error: Option<&str>,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- callback ended
             update regimen.callbacks
             set state = $3, http_status = $4, error = $5, revision = revision + 1,
                 run_at = now() + make_interval(secs => $6),
                 settled_at = case when $3 <> 'waiting' then now() end
             where job_id = $1 and attempts = $2 and state = 'waiting'",
        )
        .await?;
    let (state, wait) = match sent {
        CallbackOutcome::Delivered => ("delivered", 0.0),
        CallbackOutcome::Gone => ("gone", 0.0),
        CallbackOutcome::Later(wait) => ("waiting", wait.as_secs_f64()),
        CallbackOutcome::Dead => ("dead", 0.0),
    };
    let (job, status) = (claimed.message.data.id, http_status.map(i32::from));
    let ended = client
        .execute(&statement, &[&job, &claimed.attempts, &state, &status, &error, &wait])
        .await?;
    Ok(ended == 1)
}

/// The number of waiting callbacks (counting stops at 10,000), and how long the oldest
/// has been due.
///
/// # Errors
/// Postgres failed.
pub async fn health(client: &mut Client) -> Result<(i64, Duration), DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- callback health
             select (select count(*) from (
                         select from regimen.callbacks where state = 'waiting'
                         order by host, run_at limit 10000) w) as waiting,
                 coalesce((select extract(epoch from now() - run_at) from regimen.callbacks
                           where state = 'waiting' and timezone('UTC', run_at) > '-infinity'
                               and run_at < 'infinity'
                           order by timezone('UTC', run_at) limit 1), 0)::float8 as late",
        )
        .await?;
    let row = tx.query_one(&statement, &[]).await?;
    tx.rollback().await?;
    Ok((row.try_get("waiting")?, elapsed(row.try_get("late")?)))
}
