//! SQL of callbacks: what is owed, who sends it, what came of it. Rows are
//! written by a trigger in the transaction that ends the job (V9).

use std::time::Duration;

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::DbError;
use super::jobs::read::named;
use crate::callbacks::JobCallback;

/// A page of the hosts that something is owed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Those to which something may be sent now.
    pub due: Vec<String>,
    /// Where the next page goes on; nothing after the last one.
    pub next: Option<String>,
}

/// Looks at up to `limit` hosts after `after`. Goes from host to host along
/// the index, so that a host that is owed much costs no more than another.
///
/// # Errors
/// Postgres failed.
pub async fn hosts(
    client: &impl GenericClient,
    after: Option<&str>,
    limit: i64,
) -> Result<Hosts, DbError> {
    let statement = client
        .prepare_cached(
            "-- hosts with callbacks
             with recursive hosts (host) as (
                 (select host from regimen.callbacks
                  where state = 'waiting' and ($1::text is null or host > $1)
                  order by host limit 1)
                 union all
                 select (select c.host from regimen.callbacks c
                         where c.state = 'waiting' and c.host > h.host
                         order by c.host limit 1)
                 from hosts h where h.host is not null
             )
             select h.host, exists (select from regimen.callbacks c
                 where c.host = h.host and c.state = 'waiting' and c.run_at <= now()) as due
             from hosts h where h.host is not null limit $2",
        )
        .await?;
    let rows = client.query(&statement, &[&after, &limit]).await?;
    let full = i64::try_from(rows.len()).is_ok_and(|found| found >= limit);
    let due = rows.iter().filter(|row| row.get("due")).map(|row| row.get("host")).collect();
    let next = rows.last().filter(|_| full).map(|row| row.get("host"));
    Ok(Hosts { due, next })
}

/// What one process may claim.
#[derive(Debug, Clone)]
pub struct Room {
    /// How many more to each host.
    pub hosts: Vec<(String, i64)>,
    /// How many of a user's it sends already.
    pub users: Vec<(Uuid, i64)>,
    /// How many of one user's at most.
    pub per_user: i64,
    /// How many in all.
    pub limit: i64,
}

/// A callback this process is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Whose job it is about.
    pub user_id: Uuid,
    /// Where to.
    pub url: String,
    /// Host and port of that address.
    pub host: String,
    /// Claims so far, this one included; proof that the claim is still ours.
    pub attempts: i32,
    /// What to say.
    pub message: JobCallback,
}

/// Claims what is due within `room`, oldest first, for `hold`.
///
/// # Errors
/// Postgres failed, or holds a word this release does not know.
pub async fn claim(
    client: &impl GenericClient,
    room: &Room,
    hold: Duration,
) -> Result<Vec<Owed>, DbError> {
    let statement = client
        .prepare_cached(
            "-- claim callbacks
             with held as (
                 select * from unnest($3::uuid[], $4::bigint[]) u (user_id, n)
             ), due as (
                 select c.* from unnest($1::text[], $2::bigint[]) h (host, room)
                 cross join lateral (
                     select job_id, user_id, run_at from regimen.callbacks
                     where host = h.host and state = 'waiting' and run_at <= now()
                         and user_id not in (select user_id from held where n >= $5)
                     order by run_at limit h.room) c
             ), ranked as (
                 select due.*, coalesce(held.n, 0) + row_number()
                     over (partition by due.user_id order by due.run_at, due.job_id) as nth
                 from due left join held on held.user_id = due.user_id
             ), picked as (
                 select c.job_id from ranked r join regimen.callbacks c on c.job_id = r.job_id
                 where r.nth <= $5 and c.state = 'waiting' and c.run_at <= now()
                 order by r.run_at limit $6 for update of c skip locked
             ), claimed as (
                 update regimen.callbacks c
                 set attempts = c.attempts + 1, revision = c.revision + 1,
                     run_at = now() + make_interval(secs => $7)
                 from picked where c.job_id = picked.job_id
                 returning c.job_id, c.user_id, c.url, c.host, c.attempts
             )
             select c.*, j.kind, j.state, j.error_code, j.finished_at
             from claimed c join regimen.jobs j on j.id = c.job_id",
        )
        .await?;
    let (hosts, rooms): (Vec<&str>, Vec<i64>) =
        room.hosts.iter().map(|(host, room)| (host.as_str(), *room)).unzip();
    let (users, held): (Vec<Uuid>, Vec<i64>) = room.users.iter().copied().unzip();
    let rows = client
        .query(
            &statement,
            &[&hosts, &rooms, &users, &held, &room.per_user, &room.limit, &hold.as_secs_f64()],
        )
        .await?;
    rows.iter().map(owed).collect()
}

fn owed(row: &Row) -> Result<Owed, DbError> {
    let ended_at: DateTime<Utc> = row.try_get("finished_at")?;
    let (kind, state) = (named(row, "kind")?, named(row, "state")?);
    Ok(Owed {
        user_id: row.try_get("user_id")?,
        url: row.try_get("url")?,
        host: row.try_get("host")?,
        attempts: row.try_get("attempts")?,
        message: JobCallback::new(
            row.try_get("job_id")?,
            kind,
            state,
            row.try_get("error_code")?,
            ended_at,
        ),
    })
}

/// What came of sending a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The receiver has it.
    Delivered,
    /// The receiver wants no more of it.
    Gone,
    /// Try again after a while.
    Later(Duration),
    /// Given up.
    Dead,
}

/// Records the end of a claim; false when the claim is not ours any more.
///
/// # Errors
/// Postgres failed.
pub async fn ended(
    client: &impl GenericClient,
    owed: &Owed,
    sent: &Sent,
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
        Sent::Delivered => ("delivered", 0.0),
        Sent::Gone => ("gone", 0.0),
        Sent::Later(wait) => ("waiting", wait.as_secs_f64()),
        Sent::Dead => ("dead", 0.0),
    };
    let (job, status) = (owed.message.data.id, http_status.map(i32::from));
    let ended =
        client.execute(&statement, &[&job, &owed.attempts, &state, &status, &error, &wait]).await?;
    Ok(ended == 1)
}

/// How many callbacks wait, and how long the oldest has been due.
///
/// # Errors
/// Postgres failed.
pub async fn health(client: &impl GenericClient) -> Result<(i64, Duration), DbError> {
    let statement = client
        .prepare_cached(
            "-- callback health
             select count(*) as waiting,
                 coalesce(greatest(extract(epoch from now() - min(run_at)), 0), 0)::float8 as late
             from regimen.callbacks where state = 'waiting'",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok((row.try_get("waiting")?, Duration::from_secs_f64(row.try_get("late")?)))
}
