//! Counts per minute, for charts: how they are made and read. Making a minute reads what
//! ended in it; reading a chart reads minutes only.

mod half_days;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, DurationRound, NaiveDate, TimeDelta, Utc};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use super::jobs::first_id;
use super::{DbError, GenericClient};

pub use half_days::{HALF_DAY, HalfDay, HalfDays, start_of};

/// How long minutes are kept: the longest chart, and a little.
pub const KEPT_DAYS: i32 = 32;
/// The first run goes back this far.
const FIRST: TimeDelta = TimeDelta::hours(24);
/// A minute may still change this long after its end, while transactions commit.
const SETTLED: TimeDelta = TimeDelta::seconds(30);
/// Ended jobs, and accepted ones, that are counted of one minute.
const MOST: i64 = 100_000;
/// Minutes removed at a time.
const REMOVED: i64 = 500;
/// The objective: a plan within so many seconds.
const IN_TIME_SECONDS: f64 = 60.0;

/// The upper edges of the buckets of durations, in seconds: from 50 ms to half an hour,
/// each a quarter above the one before.
pub fn edges() -> Vec<f64> {
    std::iter::successors(Some(0.05), |edge| Some(edge * 1.25)).take(48).collect()
}

/// Durations by the number of their bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(pub BTreeMap<usize, i64>);

impl Histogram {
    fn read(value: &Value) -> Self {
        let buckets = value.as_object().into_iter().flatten();
        let buckets = buckets.filter_map(|(key, count)| Some((key.parse().ok()?, count.as_i64()?)));
        Self(buckets.collect())
    }

    fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// The duration that a share of all does not exceed, in seconds; none of nothing. It
    /// is exact to the width of a bucket.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: i64 = self.0.values().sum();
        if all == 0 {
            return None;
        }
        let (edges, mut left) = (edges(), share * all as f64);
        for (&bucket, &count) in &self.0 {
            let count = count as f64;
            if left <= count {
                let low = bucket.checked_sub(1).and_then(|below| edges.get(below)).copied();
                let low = low.unwrap_or(0.0);
                let high = edges.get(bucket).copied().unwrap_or(low);
                return Some(low + (high - low) * (left / count).clamp(0.0, 1.0));
            }
            left -= count;
        }
        edges.last().copied()
    }
}

/// Takes the lease of counting for `hold`, or keeps it: the first minute to count. None
/// when another worker has it.
///
/// # Errors
/// Postgres failed.
pub async fn begin(
    client: &impl GenericClient,
    holder: &str,
    hold: Duration,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let statement = client
        .prepare_cached(
            "-- begin stats
             update regimen.stats_run
             set holder = $1, held_until = now() + make_interval(secs => $2)
             where holder is null or holder = $1 or held_until <= now()
             returning coalesce(next_minute, now() - make_interval(secs => $3)) as next",
        )
        .await?;
    let first = FIRST.as_seconds_f64();
    let row = client.query_opt(&statement, &[&holder, &hold.as_secs_f64(), &first]).await?;
    row.map(|row| Ok(minute_of(row.try_get("next")?))).transpose()
}

/// Gives the lease back.
///
/// # Errors
/// Postgres failed; the lease expires by itself.
pub async fn end(client: &impl GenericClient, holder: &str) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- end stats
             update regimen.stats_run set holder = null, held_until = null where holder = $1",
        )
        .await?;
    client.execute(&statement, &[&holder]).await?;
    Ok(())
}

/// Counts one minute, again if it was counted before. Returns the next one, or none when
/// this one is not over yet.
///
/// # Errors
/// Nothing was changed.
pub async fn count(
    client: &impl GenericClient,
    holder: &str,
    minute: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let next = minute + TimeDelta::minutes(1);
    let statement = client
        .prepare_cached(
            "-- count minute
             with ended as materialized (
                 select id, state, error_code, created_at, first_claimed_at, finished_at
                 from regimen.jobs where finished_at >= $1 and finished_at < $2
                 order by finished_at limit $6
             ), times as materialized (
                 select width_bucket(extract(epoch from first_claimed_at - created_at)::float8, $5)
                        as wait,
                     width_bucket(extract(epoch from finished_at - first_claimed_at)::float8, $5)
                        as generation,
                     width_bucket(extract(epoch from finished_at - created_at)::float8, $5)
                        as whole
                 from ended where state = 'succeeded'
             ), calls as materialized (
                 select a.provider, coalesce(a.outcome, 'none') as outcome,
                     regimen.believable_micros(a.cost_micros) as cost_micros,
                     width_bucket(extract(epoch from a.finished_at - a.started_at)::float8, $5)
                        as took
                 from ended cross join lateral (
                     select * from regimen.job_attempts where job_id = ended.id order by n offset 0
                 ) a
                 where a.fence <> 0
             ), providers as (
                 insert into regimen.stats_providers as s
                     (minute, provider, calls, cost_micros, outcomes, latency)
                 select $1, c.provider, count(*), sum(c.cost_micros)::bigint,
                     (select jsonb_object_agg(outcome, n) from (
                         select outcome, count(*) as n from calls o
                         where o.provider = c.provider group by outcome) o),
                     (select coalesce(jsonb_object_agg(took, n), '{}') from (
                         select took, count(*) as n from calls o
                         where o.provider = c.provider and took is not null group by took) o)
                 from calls c group by c.provider
                 on conflict (minute, provider) do update set calls = excluded.calls,
                     cost_micros = excluded.cost_micros, outcomes = excluded.outcomes,
                     latency = excluded.latency
             ), kept as (
                 insert into regimen.stats_minutely as s
                     (minute, accepted, succeeded, failed, expired, cancelled, counted, in_time,
                      wait, generation, whole)
                 select $1,
                     (select count(*) from (
                         select from regimen.jobs where id >= $3 and id < $4
                         order by id limit $6) a),
                     count(*) filter (where state = 'succeeded'),
                     count(*) filter (where state = 'failed'),
                     count(*) filter (where state = 'expired'),
                     count(*) filter (where state = 'cancelled'),
                     count(*) filter (where state <> 'cancelled'
                         and error_code is distinct from 'refused'),
                     count(*) filter (where state = 'succeeded'
                         and finished_at <= created_at + make_interval(secs => $7)),
                     (select coalesce(jsonb_object_agg(wait, n), '{}') from (
                         select wait, count(*) as n from times where wait is not null group by 1) w),
                     (select coalesce(jsonb_object_agg(generation, n), '{}') from (
                         select generation, count(*) as n from times
                         where generation is not null group by 1) g),
                     (select coalesce(jsonb_object_agg(whole, n), '{}') from (
                         select whole, count(*) as n from times where whole is not null group by 1) h)
                 from ended
                 on conflict (minute) do update set accepted = excluded.accepted,
                     succeeded = excluded.succeeded, failed = excluded.failed,
                     expired = excluded.expired, cancelled = excluded.cancelled,
                     counted = excluded.counted, in_time = excluded.in_time, wait = excluded.wait,
                     generation = excluded.generation, whole = excluded.whole
             )
             update regimen.stats_run set next_minute = case when $2 <= now() - make_interval(secs => $8)
                     then greatest(next_minute, $2) else greatest(next_minute, $1) end
             where holder = $9
             returning $2 <= now() as over",
        )
        .await?;
    let values: [&(dyn ToSql + Sync); 9] = [
        &minute,
        &next,
        &first_id(minute),
        &first_id(next),
        &edges(),
        &MOST,
        &IN_TIME_SECONDS,
        &SETTLED.as_seconds_f64(),
        &holder,
    ];
    let row = client.query_opt(&statement, &values).await?;
    let is_over = row.map(|row| row.try_get::<_, bool>("over")).transpose()?.unwrap_or(false);
    Ok(is_over.then_some(next))
}

/// Removes some minutes that are kept no longer; how many.
///
/// # Errors
/// Nothing was removed.
pub async fn forget(client: &impl GenericClient) -> Result<u64, DbError> {
    let mut removed = 0;
    for (name, table) in
        [("minutes", "regimen.stats_minutely"), ("minutes of providers", "regimen.stats_providers")]
    {
        let statement = client
            .prepare_cached(&format!(
                "-- forget {name}
                 delete from {table} where minute = any(array(
                     select minute from {table} where minute < now() - make_interval(days => $1)
                     order by minute limit $2))"
            ))
            .await?;
        removed += client.execute(&statement, &[&KEPT_DAYS, &REMOVED]).await?;
    }
    Ok(removed)
}

fn minute_of(time: DateTime<Utc>) -> DateTime<Utc> {
    // Fails only far outside the times of a clock.
    time.duration_trunc(TimeDelta::minutes(1)).unwrap_or(time)
}

/// What happened in one step of a chart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs accepted.
    pub accepted: i64,
    /// Jobs ended with a plan.
    pub succeeded: i64,
    /// Jobs ended without one, by themselves.
    pub failed: i64,
    /// Jobs that the objective counts.
    pub counted: i64,
    /// Plans within the time of the objective.
    pub in_time: i64,
}

impl Counts {
    fn of(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            accepted: row.try_get("accepted")?,
            succeeded: row.try_get("succeeded")?,
            failed: row.try_get("failed")?,
            counted: row.try_get("counted")?,
            in_time: row.try_get("in_time")?,
        })
    }
}

/// The counts since `from`, a day ago at most, in steps of `step`: the beginning of each step that has a
/// minute, in order.
///
/// # Errors
/// Postgres failed.
pub async fn series(
    client: &impl GenericClient,
    from: DateTime<Utc>,
    step: TimeDelta,
) -> Result<Vec<(DateTime<Utc>, Counts)>, DbError> {
    let statement = client
        .prepare_cached(
            "-- series of minutes
             select date_bin(make_interval(secs => $2), minute, $1) as at,
                 sum(accepted)::bigint as accepted, sum(succeeded)::bigint as succeeded,
                 sum(failed + expired)::bigint as failed, sum(counted)::bigint as counted,
                 sum(in_time)::bigint as in_time
             from regimen.stats_minutely where minute >= $1 group by 1 order by 1",
        )
        .await?;
    let rows = client.query(&statement, &[&from, &step.as_seconds_f64()]).await?;
    rows.iter().map(|row| Ok((row.try_get("at")?, Counts::of(row)?))).collect()
}

/// How long plans took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    /// From acceptance to the first claim.
    pub wait: Histogram,
    /// From there to the plan.
    pub generation: Histogram,
    /// Together.
    pub whole: Histogram,
}

/// Of the plans saved since `from`, which is a day ago at most.
///
/// # Errors
/// Postgres failed.
pub async fn durations(
    client: &impl GenericClient,
    from: DateTime<Utc>,
) -> Result<Durations, DbError> {
    let statement = client
        .prepare_cached(
            "-- durations of minutes
             select wait, generation, whole from regimen.stats_minutely
             where minute >= $1 and succeeded > 0 order by minute limit 1500",
        )
        .await?;
    let mut all = Durations::default();
    for row in client.query(&statement, &[&from]).await? {
        let read =
            |name| Ok::<_, DbError>(Histogram::read(&row.try_get::<_, Json<Value>>(name)?.0));
        all.wait.add(&read("wait")?);
        all.generation.add(&read("generation")?);
        all.whole.add(&read("whole")?);
    }
    Ok(all)
}

/// How a provider fared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderStats {
    /// Its calls.
    pub calls: i64,
    /// Their cost, millionths of a US dollar.
    pub cost_micros: i64,
    /// Calls by outcome.
    pub outcomes: BTreeMap<String, i64>,
    /// How long they took.
    pub latency: Histogram,
}

/// By provider, of the calls of jobs that ended since `from`, which is a day ago at most.
///
/// # Errors
/// Postgres failed.
pub async fn providers(
    client: &impl GenericClient,
    from: DateTime<Utc>,
) -> Result<BTreeMap<String, ProviderStats>, DbError> {
    let statement = client
        .prepare_cached(
            "-- providers of minutes
             select provider, calls, cost_micros, outcomes, latency from regimen.stats_providers
             where minute >= $1 order by minute limit 10000",
        )
        .await?;
    let mut all: BTreeMap<String, ProviderStats> = BTreeMap::new();
    for row in client.query(&statement, &[&from]).await? {
        let one = all.entry(row.try_get("provider")?).or_default();
        one.calls += row.try_get::<_, i64>("calls")?;
        one.cost_micros += row.try_get::<_, i64>("cost_micros")?;
        let outcomes: Json<Value> = row.try_get("outcomes")?;
        for (outcome, count) in outcomes.0.as_object().into_iter().flatten() {
            *one.outcomes.entry(outcome.clone()).or_default() += count.as_i64().unwrap_or(0);
        }
        one.latency.add(&Histogram::read(&row.try_get::<_, Json<Value>>("latency")?.0));
    }
    Ok(all)
}

/// What the calls to a provider cost on one day (UTC), by when their jobs ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaySpend {
    /// The day.
    pub day: NaiveDate,
    /// The provider.
    pub provider: String,
    /// Millionths of a US dollar.
    pub cost_micros: i64,
    /// All plans of the day, whoever made them.
    pub plans: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_a_bucket() {
        let edges = edges();
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        let bucket = |seconds: f64| edges.iter().filter(|edge| **edge <= seconds).count();
        for n in 1..=1_000 {
            *histogram.0.entry(bucket(f64::from(n) / 100.0)).or_default() += 1;
        }
        for (share, real) in [(0.5, 5.0), (0.95, 9.5)] {
            let found = histogram.quantile(share).unwrap();
            assert!((found / real - 1.0).abs() < 0.13, "{share}: {found}");
        }
        let slowest = Histogram(BTreeMap::from([(edges.len(), 3)]));
        assert_eq!(slowest.quantile(0.5), edges.last().copied());
    }
}
