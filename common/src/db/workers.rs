//! The workers there are: each one's sign of life, and what it is at.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::types::Json;

use super::{DbError, GenericClient, elapsed};
use crate::config::Setting;

/// Silent for so long, a worker counts as gone.
const GONE: Duration = Duration::from_secs(60);
/// Characters of a setting that are kept: one is a whole catalogue.
const MOST_SHOWN: usize = 200;

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub struct SignOfLife {
    /// Its id, as claims name it.
    pub worker_id: String,
    /// Its release.
    pub version: &'static str,
    /// The machine it runs on.
    pub host: String,
    /// Its process there.
    pub pid: i32,
    /// Plan jobs it takes at once.
    pub slots: i32,
}

/// Renews a worker's row, and clears away those of workers that have been gone for an
/// hour, and the leases of those that left nothing behind. True when the row lacks the
/// worker's settings: [`describe`] adds them.
///
/// # Errors
/// Postgres failed; the next one says the same.
pub async fn seen(
    client: &impl GenericClient,
    sign: &SignOfLife,
    held: usize,
    draining: bool,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- sign of life
             with gone as (
                 delete from regimen.workers where seen_at < now() - interval '1 hour'
             ), lapsed as (
                 delete from regimen.worker_leases l
                 where expires_at < now() - interval '1 hour' and not exists (
                     select from regimen.jobs j
                     where j.state = 'running' and j.worker_id = l.worker_id offset 0)
             )
             insert into regimen.workers as w
                 (worker_id, version, host, pid, slots, held, draining)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (worker_id) do update
             set seen_at = now(), held = excluded.held, draining = excluded.draining
             returning settings is null as bare",
        )
        .await?;
    let held = i32::try_from(held).unwrap_or(i32::MAX);
    let SignOfLife { worker_id, version, host, pid, slots } = sign;
    let row = client
        .query_one(&statement, &[worker_id, version, host, pid, slots, &held, &draining])
        .await?;
    Ok(row.try_get("bare")?)
}

/// Writes a worker's settings into its row, as operators may see them.
///
/// # Errors
/// Postgres failed; the next sign of life says so.
pub async fn describe(
    client: &impl GenericClient,
    worker_id: &str,
    settings: &[Setting],
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- settings of worker
             update regimen.workers set settings = $2 where worker_id = $1",
        )
        .await?;
    let settings: Vec<Value> = settings
        .iter()
        .map(|Setting { name, source, shown }| {
            let shown: String = shown.chars().take(MOST_SHOWN).collect();
            json!({ "name": name, "source": source, "shown": shown })
        })
        .collect();
    client.execute(&statement, &[&worker_id, &Json(settings)]).await?;
    Ok(())
}

/// A setting of a worker: its name, where its value comes from, and the value where it is
/// no secret.
pub type ShownSetting = (String, String, String);

/// The settings of the workers that live; workers with the same ones together.
///
/// # Errors
/// Postgres failed.
pub async fn settings(
    client: &impl GenericClient,
) -> Result<Vec<(Vec<String>, Vec<ShownSetting>)>, DbError> {
    let statement = client
        .prepare_cached(
            "-- settings of workers
             select array_agg(worker_id order by worker_id) as workers, settings
             from (
                 select worker_id, settings from regimen.workers
                 where seen_at > now() - make_interval(secs => $1) and settings is not null
                 order by seen_at desc limit 1000) w
             group by settings order by min(worker_id)",
        )
        .await?;
    let rows = client.query(&statement, &[&GONE.as_secs_f64()]).await?;
    rows.iter()
        .map(|row| {
            let Json(settings): Json<Vec<Value>> = row.try_get("settings")?;
            let text = |one: &Value, name: &str| {
                one.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let settings = settings
                .iter()
                .map(|one| (text(one, "name"), text(one, "source"), text(one, "shown")));
            Ok((row.try_get("workers")?, settings.collect()))
        })
        .collect()
}

/// Takes a worker's row away: it ends. Its lease is over, unless it left jobs behind. It is
/// not deleted: a claim that is committed only now, its answer long given up, is found by it.
///
/// # Errors
/// Postgres failed; the rows are cleared away later.
pub async fn gone(client: &impl GenericClient, worker_id: &str) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- worker ends
             with lease as (
                 update regimen.worker_leases set expires_at = least(expires_at, now())
                 where worker_id = $1 and not exists (
                     select from regimen.jobs where state = 'running' and worker_id = $1)
             )
             delete from regimen.workers where worker_id = $1",
        )
        .await?;
    client.execute(&statement, &[&worker_id]).await?;
    Ok(())
}

/// A worker as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub worker_id: String,
    /// Its release.
    pub version: String,
    /// The machine it runs on.
    pub host: String,
    /// Its process there.
    pub pid: i32,
    /// Plan jobs it takes at once.
    pub slots: i32,
    /// Since when it works.
    pub started_at: DateTime<Utc>,
    /// Its latest sign of life.
    pub seen_at: DateTime<Utc>,
    /// How long ago that was.
    pub silent: Duration,
    /// Jobs in its hands then.
    pub held: i32,
    /// Jobs that run in its name now, by the truth.
    pub running: i64,
    /// It takes no more and ends when it has none left.
    pub draining: bool,
}

impl Worker {
    /// How it stands, in a word.
    pub fn state(&self) -> &'static str {
        match (self.silent > GONE, self.draining) {
            (true, _) => "gone",
            (false, true) => "draining",
            (false, false) => "working",
        }
    }
}

/// The workers there are, and those that vanished within the last hour; the longest
/// at work first.
///
/// # Errors
/// Postgres failed.
pub async fn all(client: &impl GenericClient) -> Result<Vec<Worker>, DbError> {
    let statement = client
        .prepare_cached(
            "-- workers
             with held as materialized (
                 select worker_id, count(*) as running from (
                     select worker_id from regimen.jobs where state = 'running'
                     order by worker_id, id) j
                 group by worker_id
             )
             select w.worker_id, w.version, w.host, w.pid, w.slots, w.started_at, w.seen_at, w.held,
                 w.draining, extract(epoch from now() - w.seen_at)::float8 as silent,
                 coalesce((select running from held where held.worker_id = w.worker_id), 0)
                     as running
             from regimen.workers w order by w.started_at, w.worker_id",
        )
        .await?;
    let rows = client.query(&statement, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Worker {
                worker_id: row.try_get("worker_id")?,
                version: row.try_get("version")?,
                host: row.try_get("host")?,
                pid: row.try_get("pid")?,
                slots: row.try_get("slots")?,
                started_at: row.try_get("started_at")?,
                seen_at: row.try_get("seen_at")?,
                silent: elapsed(row.try_get("silent")?),
                held: row.try_get("held")?,
                running: row.try_get("running")?,
                draining: row.try_get("draining")?,
            })
        })
        .collect()
}
