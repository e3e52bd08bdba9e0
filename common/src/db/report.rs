//! What a stretch of time looked like: SQL of the operators' report. Everything is
//! read along the ends of jobs and the times of events, so that what is older costs
//! nothing.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::{DbError, GenericClient};

/// From when to when: the first moment and the one after the last.
pub type Span = (DateTime<Utc>, DateTime<Utc>);

/// Jobs that ended on one day (UTC).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Day {
    /// Which.
    pub day: NaiveDate,
    /// With a plan.
    pub succeeded: i64,
    /// Given up.
    pub failed: i64,
    /// Never started.
    pub expired: i64,
    /// At somebody's wish.
    pub cancelled: i64,
    /// What all calls of the day cost, millionths of a US dollar.
    pub cost_micros: i64,
}

/// Each day of the span, also those without jobs.
///
/// # Errors
/// Postgres failed.
pub async fn days(client: &impl GenericClient, (from, to): Span) -> Result<Vec<Day>, DbError> {
    let statement = client
        .prepare_cached(
            "-- report days
             with days as (
                 select day::date from generate_series(
                     ($1::timestamptz at time zone 'UTC')::date,
                     (($2::timestamptz - interval '1 microsecond') at time zone 'UTC')::date,
                     interval '1 day') day
             ), ended as materialized (
                 select (finished_at at time zone 'UTC')::date as day, state, count(*) as jobs
                 from regimen.jobs where finished_at >= $1 and finished_at < $2 group by 1, 2
             ), spent as materialized (
                 select (at at time zone 'UTC')::date as day,
                     sum(regimen.believable_micros(cost_micros))::bigint as micros
                 from regimen.ai_usage where at >= $1 and at < $2 group by 1
             )
             select days.day,
                 coalesce(sum(jobs) filter (where state = 'succeeded'), 0)::bigint as succeeded,
                 coalesce(sum(jobs) filter (where state = 'failed'), 0)::bigint as failed,
                 coalesce(sum(jobs) filter (where state = 'expired'), 0)::bigint as expired,
                 coalesce(sum(jobs) filter (where state = 'cancelled'), 0)::bigint as cancelled,
                 coalesce((select micros from spent where spent.day = days.day), 0) as cost_micros
             from days left join ended on ended.day = days.day
             group by days.day order by days.day",
        )
        .await?;
    let rows = client.query(&statement, &[&from, &to]).await?;
    rows.iter()
        .map(|row| {
            Ok(Day {
                day: row.try_get("day")?,
                succeeded: row.try_get("succeeded")?,
                failed: row.try_get("failed")?,
                expired: row.try_get("expired")?,
                cancelled: row.try_get("cancelled")?,
                cost_micros: row.try_get("cost_micros")?,
            })
        })
        .collect()
}

/// Half of all took no longer than the first number of seconds, 95 of a hundred no
/// longer than the second. None of nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: Option<f64>,
    /// All but the slowest twentieth.
    pub p95: Option<f64>,
}

/// How long plans took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// From acceptance to the saved plan.
    pub to_plan: Percentiles,
    /// From acceptance to the first claim.
    pub to_claim: Percentiles,
}

/// Of the jobs that ended with a plan in the span.
///
/// # Errors
/// Postgres failed.
pub async fn times(client: &impl GenericClient, (from, to): Span) -> Result<Times, DbError> {
    let statement = client
        .prepare_cached(
            "-- report times
             with plans as (
                 select extract(epoch from finished_at - created_at)::float8 as to_plan,
                     extract(epoch from first_claimed_at - created_at)::float8 as to_claim
                 from regimen.jobs
                 where finished_at >= $1 and finished_at < $2 and state = 'succeeded'
             )
             select percentile_cont(array[0.5, 0.95]) within group (order by to_plan) as to_plan,
                 percentile_cont(array[0.5, 0.95]) within group (order by to_claim) as to_claim
             from plans",
        )
        .await?;
    let row = client.query_one(&statement, &[&from, &to]).await?;
    let read = |name| Ok::<_, DbError>(percentiles(row.try_get(name)?));
    Ok(Times { to_plan: read("to_plan")?, to_claim: read("to_claim")? })
}

fn percentiles(found: Option<Vec<Option<f64>>>) -> Percentiles {
    let found = found.unwrap_or_default();
    let at = |index: usize| found.get(index).copied().flatten();
    Percentiles { p50: at(0), p95: at(1) }
}

/// Something that was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What.
    pub what: String,
    /// How often.
    pub count: i64,
}

async fn counts(
    client: &impl GenericClient,
    sql: &str,
    (from, to): Span,
) -> Result<Vec<Count>, DbError> {
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&from, &to]).await?;
    rows.iter()
        .map(|row| Ok(Count { what: row.try_get("what")?, count: row.try_get("count")? }))
        .collect()
}

/// Why jobs ended without a plan, the commonest reason first.
///
/// # Errors
/// Postgres failed.
pub async fn reasons(client: &impl GenericClient, span: Span) -> Result<Vec<Count>, DbError> {
    let sql = "-- report reasons
        select coalesce(error_code, state) as what, count(*) as count from regimen.jobs
        where finished_at >= $1 and finished_at < $2 and state in ('failed', 'expired')
        group by 1 order by 2 desc, 1";
    counts(client, sql, span).await
}

/// How calls to providers failed, of jobs that ended in the span: the ten commonest.
/// Those whose attempts are no longer kept are not among them.
///
/// # Errors
/// Postgres failed.
pub async fn errors(client: &impl GenericClient, span: Span) -> Result<Vec<Count>, DbError> {
    let sql = "-- report errors
        with ended as materialized (
            select id from regimen.jobs where finished_at >= $1 and finished_at < $2
        )
        select a.provider || ' ' || a.outcome as what, count(*) as count
        from ended cross join lateral (
            select provider, outcome from regimen.job_attempts where job_id = ended.id
            order by n offset 0) a
        where a.outcome <> 'ok' group by 1 order by 2 desc, 1 limit 10";
    counts(client, sql, span).await
}

/// How Stripe's events fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Webhooks {
    /// Taken in.
    pub events: i64,
    /// Of these, given up.
    pub dead: i64,
    /// Of these, missing until somebody looked for them.
    pub recovered: i64,
    /// From their arrival to their effect, in seconds.
    pub lag: Percentiles,
}

/// Of the events that arrived in the span.
///
/// # Errors
/// Postgres failed.
pub async fn webhooks(client: &impl GenericClient, (from, to): Span) -> Result<Webhooks, DbError> {
    let statement = client
        .prepare_cached(
            "-- report webhooks
             select count(*) as events, count(*) filter (where state = 'dead') as dead,
                 count(*) filter (where source = 'backfill') as recovered,
                 percentile_cont(array[0.5, 0.95]) within group (
                     order by extract(epoch from settled_at - received_at)::float8) as lag
             from regimen.stripe_events where received_at >= $1 and received_at < $2",
        )
        .await?;
    let row = client.query_one(&statement, &[&from, &to]).await?;
    Ok(Webhooks {
        events: row.try_get("events")?,
        dead: row.try_get("dead")?,
        recovered: row.try_get("recovered")?,
        lag: percentiles(row.try_get("lag")?),
    })
}

/// Who came and who paid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Subscriptions {
    /// Profiles made in the span.
    pub new_users: i64,
    /// Subscriptions begun in the span.
    pub begun: i64,
}

/// What began in the span.
///
/// # Errors
/// Postgres failed.
pub async fn subscriptions(
    client: &impl GenericClient,
    (from, to): Span,
) -> Result<Subscriptions, DbError> {
    let statement = client
        .prepare_cached(
            "-- report subscriptions
             select (select count(*) from public.profiles
                     where created_at >= $1 and created_at < $2) as new_users,
                 (select count(*) from regimen.subscriptions
                  where made_at >= $1 and made_at < $2
                      and status not in ('incomplete', 'incomplete_expired')) as begun",
        )
        .await?;
    let row = client.query_one(&statement, &[&from, &to]).await?;
    Ok(Subscriptions { new_users: row.try_get("new_users")?, begun: row.try_get("begun")? })
}

/// A statement that took much of Postgres' time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowStatement {
    /// Its first words, without values.
    pub query: String,
    /// How often it ran.
    pub calls: i64,
    /// One run on average, in milliseconds.
    pub mean_ms: f64,
    /// All runs together, in seconds.
    pub total_seconds: f64,
}

/// The five statements of this database that took longest in all since the statistics
/// were reset; none where pg_stat_statements is not there or not ours to read.
///
/// # Errors
/// Postgres failed.
pub async fn slow_statements(
    client: &impl GenericClient,
) -> Result<Option<Vec<SlowStatement>>, DbError> {
    let there = "-- where pg_stat_statements is
        select format('%I.%I', n.nspname, c.relname) as view
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relname = 'pg_stat_statements' and c.relkind = 'v'
            and has_table_privilege(c.oid, 'select')";
    let statement = client.prepare_cached(there).await?;
    let Some(row) = client.query_opt(&statement, &[]).await? else { return Ok(None) };
    let view: String = row.try_get("view")?;
    let sql = format!(
        "-- slow statements
         select left(regexp_replace(query, '\\s+', ' ', 'g'), 100) as query, calls,
             mean_exec_time as mean_ms, total_exec_time / 1000 as total_seconds
         from {view} where dbid = (select oid from pg_database where datname = current_database())
         order by total_exec_time desc limit 5"
    );
    let statement = client.prepare_cached(&sql).await?;
    // Known, but not preloaded: it says so, and there is nothing to tell.
    let Ok(rows) = client.query(&statement, &[]).await else { return Ok(None) };
    let read = rows.iter().map(|row| {
        Ok(SlowStatement {
            query: row.try_get("query")?,
            calls: row.try_get("calls")?,
            mean_ms: row.try_get("mean_ms")?,
            total_seconds: row.try_get("total_seconds")?,
        })
    });
    read.collect::<Result<_, DbError>>().map(Some)
}
