//! SQL of test calls: an operator asks, one worker that has the provider's key makes the
//! call, and its result stays for a while.
//!
//! Invariant: one test call is under way at a time; after a minute it counts no longer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::erasure::NOBODY;
use super::{DbError, GenericClient, Transaction};

/// A call that has no result by then has none.
pub const VALID: Duration = Duration::from_secs(60);
/// Results that are kept.
const KEPT: i64 = 50;
/// Results removed with each new call.
const REMOVED: i64 = 100;

/// Asks for a call; none while another one is under way.
///
/// # Errors
/// Nothing was written.
pub async fn ask(
    tx: &Transaction<'_>,
    provider: &str,
    model: &str,
    actor: &str,
) -> Result<Option<Uuid>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- clear test calls
             with kept as materialized (
                 select id from regimen.test_calls order by asked_at desc limit $2
             ), removed as (
                 delete from regimen.test_calls where id = any(array(
                     select id from regimen.test_calls where id not in (select id from kept)
                     order by asked_at limit $3))
             )
             update regimen.test_calls set ended_at = now(), outcome = 'expired'
             where ended_at is null and asked_at <= now() - make_interval(secs => $1)",
        )
        .await?;
    tx.execute(&statement, &[&VALID.as_secs_f64(), &KEPT, &REMOVED]).await?;
    let statement = tx
        .prepare_cached(
            "-- ask for test call
             insert into regimen.test_calls (id, provider, model, asked_by)
             values ($1, $2, $3, $4)
             on conflict ((ended_at is null)) where ended_at is null do nothing",
        )
        .await?;
    let id = Uuid::now_v7();
    let asked = tx.execute(&statement, &[&id, &provider, &model, &actor]).await?;
    Ok((asked == 1).then_some(id))
}

/// A call for a worker to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its id.
    pub id: Uuid,
    /// The provider to call.
    pub provider: String,
    /// The model to ask for.
    pub model: String,
}

/// Takes the call that waits, if it is of one of these providers. No other worker takes
/// it.
///
/// # Errors
/// Nothing was taken.
pub async fn take(
    client: &impl GenericClient,
    worker_id: &str,
    providers: &[&str],
) -> Result<Option<Taken>, DbError> {
    let statement = client
        .prepare_cached(
            "-- take test call
             update regimen.test_calls set taken_by = $1
             where id = (
                 select id from regimen.test_calls
                 where ended_at is null and taken_by is null and provider = any($2)
                     and asked_at > now() - make_interval(secs => $3)
                 limit 1 for update skip locked)
             returning id, provider, model",
        )
        .await?;
    let values: [&(dyn ToSql + Sync); 3] = [&worker_id, &providers, &VALID.as_secs_f64()];
    let row = client.query_opt(&statement, &values).await?;
    row.map(|row| {
        Ok(Taken {
            id: row.try_get("id")?,
            provider: row.try_get("provider")?,
            model: row.try_get("model")?,
        })
    })
    .transpose()
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `ok`, or the class of the failure.
    pub outcome: &'static str,
    /// How long it took, milliseconds.
    pub took_ms: i64,
    /// Prompt tokens.
    pub input_tokens: i64,
    /// Generated tokens.
    pub output_tokens: i64,
    /// Its cost, millionths of a US dollar.
    pub cost_micros: i64,
    /// Whether the cost is an estimate.
    pub estimated: bool,
}

/// Keeps the result of a call that `worker_id` took, and its cost, which is nobody's. False
/// when it has ended meanwhile.
///
/// # Errors
/// Nothing was written.
pub async fn end(
    client: &impl GenericClient,
    worker_id: &str,
    taken: &Taken,
    result: &Outcome,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- end test call
             with ended as (
                 update regimen.test_calls
                 set ended_at = now(), outcome = $3, took_ms = $4, input_tokens = $5,
                     output_tokens = $6, cost_micros = $7
                 where id = $1 and taken_by = $2 and ended_at is null
                 returning id, provider, model
             ), paid as (
                 insert into regimen.ai_usage (attempt_id, job_id, user_id, at, provider, model,
                     input_tokens, cached_tokens, output_tokens, cost_micros, estimated)
                 select id, id, $8, now(), provider, model, $5, 0, $6, $7, $9
                 from ended where $7 > 0
             )
             select id from ended",
        )
        .await?;
    let Outcome { outcome, took_ms, input_tokens, output_tokens, cost_micros, estimated } = result;
    let values: [&(dyn ToSql + Sync); 9] = [
        &taken.id,
        &worker_id,
        outcome,
        took_ms,
        input_tokens,
        output_tokens,
        cost_micros,
        &NOBODY,
        estimated,
    ];
    Ok(client.query_opt(&statement, &values).await?.is_some())
}

/// A call as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestCall {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Who asked for it.
    pub asked_by: String,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// The worker that made it.
    pub taken_by: Option<String>,
    /// `ok`, the class of the failure, or `expired`; none while it is under way.
    pub outcome: Option<String>,
    /// How long it took, milliseconds.
    pub took_ms: Option<i64>,
    /// Prompt tokens.
    pub input_tokens: Option<i64>,
    /// Generated tokens.
    pub output_tokens: Option<i64>,
    /// Its cost, millionths of a US dollar.
    pub cost_micros: Option<i64>,
}

/// The newest calls.
///
/// # Errors
/// Postgres failed.
pub async fn recent(client: &impl GenericClient, limit: i64) -> Result<Vec<TestCall>, DbError> {
    let statement = client
        .prepare_cached(
            "-- test calls
             select provider, model, asked_by, asked_at, taken_by, took_ms, input_tokens,
                 output_tokens, cost_micros,
                 coalesce(outcome, case when asked_at <= now() - make_interval(secs => $2)
                     then 'expired' end) as outcome
             from regimen.test_calls order by asked_at desc limit $1",
        )
        .await?;
    let rows = client.query(&statement, &[&limit, &VALID.as_secs_f64()]).await?;
    rows.iter()
        .map(|row| {
            Ok(TestCall {
                provider: row.try_get("provider")?,
                model: row.try_get("model")?,
                asked_by: row.try_get("asked_by")?,
                asked_at: row.try_get("asked_at")?,
                taken_by: row.try_get("taken_by")?,
                outcome: row.try_get("outcome")?,
                took_ms: row.try_get("took_ms")?,
                input_tokens: row.try_get("input_tokens")?,
                output_tokens: row.try_get("output_tokens")?,
                cost_micros: row.try_get("cost_micros")?,
            })
        })
        .collect()
}
