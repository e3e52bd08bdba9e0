//! Provider calls: each has a row before it is made, and its raw reply is
//! stored before it is parsed, so that no reply is paid for twice after a
//! crash.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::db::{Client, GenericClient};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::Held;
use super::many::{by_job, in_order};
use crate::db::DbError;
use crate::db::usage::{MOST_MICROS, MOST_TOKENS};

/// In place of a claim's fence if no claim made the call: the reply was passed on from a
/// job that an operator retried.
pub(super) const INHERITED: i64 = 0;

/// A call about to be made.
#[derive(Debug, Clone)]
pub struct NewAttempt<'a> {
    /// Its id.
    pub id: Uuid,
    /// The provider.
    pub provider: &'a str,
    /// The model.
    pub model: &'a str,
    /// The version of the prompt texts.
    pub prompt_version: &'a str,
    /// Its highest cost, in millionths of a US dollar: replaced when the real cost is
    /// known; final when the call is cancelled.
    pub most_micros: i64,
    /// A warning about the model, for example that it is retired.
    pub warning: Option<&'a str>,
}

/// Tokens and cost of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttemptUsage {
    /// Prompt tokens, cached ones included.
    pub input_tokens: i64,
    /// Prompt tokens read from the provider's cache.
    pub cached_tokens: i64,
    /// Tokens written, reasoning included.
    pub output_tokens: i64,
    /// Millionths of a US dollar.
    pub cost_micros: i64,
    /// The provider's counts were missing or impossible.
    pub estimated: bool,
}

impl AttemptUsage {
    /// The same, capped at the highest plausible values of one call. Larger numbers are
    /// errors and must not reach the ledger.
    pub(super) fn believable(self) -> Self {
        let within = |number: i64, most: i64| number.clamp(0, most);
        let believed = Self {
            input_tokens: within(self.input_tokens, MOST_TOKENS),
            cached_tokens: within(self.cached_tokens, MOST_TOKENS),
            output_tokens: within(self.output_tokens, MOST_TOKENS),
            cost_micros: within(self.cost_micros, MOST_MICROS),
            estimated: self.estimated,
        };
        if believed != self {
            metrics::counter!("regimen_usage_disbelieved_total").increment(1);
            tracing::error!(
                input_tokens = self.input_tokens,
                cached_tokens = self.cached_tokens,
                output_tokens = self.output_tokens,
                cost_micros = self.cost_micros,
                "a call cannot have cost or counted so much: its numbers are cut to the most that \
                 is believed; look at the provider's bill"
            );
        }
        believed
    }
}

/// The judgement of a call.
#[derive(Debug, Clone, Default)]
pub struct AttemptOutcome<'a> {
    /// `ok`, or the failure class.
    pub outcome: &'a str,
    /// The error for people.
    pub error_detail: Option<&'a str>,
    /// HTTP status, where there was one.
    pub http_status: Option<i32>,
    /// The provider's request id.
    pub request_id: Option<&'a str>,
    /// Its usage; `None` leaves the known one.
    pub usage: Option<AttemptUsage>,
}

/// A stored reply that may still become a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRawReply {
    /// The attempt it belongs to.
    pub attempt_id: Uuid,
    /// The attempt's number in the job.
    pub n: i32,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The reply as it was received.
    pub raw: String,
    /// HTTP status it came with.
    pub http_status: Option<i32>,
    /// The provider's request id.
    pub request_id: Option<String>,
    /// The job that this one retries paid for it.
    pub inherited: bool,
}

/// Jobs are looked up by a list of their ids, which only the primary key serves: a join alone
/// may read all jobs, when its plan was made while there were few. And that a job is held is
/// seen from its worker, not from its state, which has indexes of its own.
const START: &str = "-- start attempts
    with asked as materialized (
        select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::text[],
                             $6::text[], $7::bigint[], $8::text[])
            as asked (job_id, of_claim, id, provider, model, prompt_version, most, warning)
    ), job as (
        update regimen.jobs j
        set last_seq = last_seq + 1, stage = 'generating', updated_at = now()
        from asked
        where j.id = any(array(select job_id from asked))
          and j.id = asked.job_id and j.fence = asked.of_claim and j.worker_id is not null
        returning asked.*, j.user_id, j.last_seq, (
            select 1 + coalesce(max(a.n), 0) from regimen.job_attempts a
            where a.job_id = asked.job_id) as n
    ), attempt as (
        insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
                                          prompt_version, started_at, cost_micros, estimated)
        select id, job_id, user_id, of_claim, n, provider, model, prompt_version, now(), most, true
        from job
    ), event as (
        insert into regimen.job_events (job_id, seq, at, kind, data)
        select job_id, last_seq, now(), 'attempt_started',
               jsonb_strip_nulls(jsonb_build_object(
                   'provider', provider, 'model', model, 'n', n, 'warning', warning))
        from job
    )
    select job_id, n, last_seq from job";

/// Records calls of several jobs, one of each, that are about to be made, with their events.
/// For each returns its number in the job and the event's, or `None` when the claim is stale.
///
/// # Errors
/// Nothing was written; do not make the calls.
pub async fn start_attempts<C: GenericClient>(
    client: &C,
    starts: &[(Held, NewAttempt<'_>)],
) -> Result<Vec<Option<(i32, i32)>>, DbError> {
    let statement = client.prepare_cached(START).await?;
    let sorted = in_order(starts, |(held, _)| held.id);
    macro_rules! each {
        (|$held:ident, $new:ident| $value:expr) => {
            sorted.iter().map(|($held, $new)| $value).collect::<Vec<_>>()
        };
    }
    let rows = client
        .query(
            &statement,
            &[
                &each!(|held, _new| held.id),
                &each!(|held, _new| held.fence),
                &each!(|_held, new| new.id),
                &each!(|_held, new| new.provider),
                &each!(|_held, new| new.model),
                &each!(|_held, new| new.prompt_version),
                &each!(|_held, new| new.most_micros.clamp(0, MOST_MICROS)),
                &each!(|_held, new| new.warning),
            ],
        )
        .await?;
    let started = by_job(&rows, |row| Ok((row.try_get("n")?, row.try_get("last_seq")?)))?;
    let found = |(held, _): &(Held, NewAttempt<'_>)| {
        let found = started.get(&held.id).copied();
        if found.is_none() {
            super::count_refused_write();
        }
        found
    };
    Ok(starts.iter().map(found).collect())
}

/// Records one call, as [`start_attempts`] does.
///
/// # Errors
/// Nothing was written; do not make the call.
pub async fn start_attempt<C: GenericClient>(
    client: &C,
    held: Held,
    attempt: &NewAttempt<'_>,
) -> Result<Option<(i32, i32)>, DbError> {
    let started = start_attempts(client, &[(held, attempt.clone())]).await?;
    Ok(started.into_iter().flatten().next())
}

/// A reply of a provider.
#[derive(Debug, Clone)]
pub struct PaidReply<'a> {
    /// The claim that paid for it.
    pub held: Held,
    /// Its attempt.
    pub attempt_id: Uuid,
    /// As it was received.
    pub raw: &'a str,
    /// HTTP status.
    pub http_status: Option<i32>,
    /// The provider's request id.
    pub request_id: Option<&'a str>,
}

const STORE: &str = "-- store reply
    with reply as (
        update regimen.job_attempts
        set raw_reply = $4, http_status = $5, request_id = $6, finished_at = now()
        where id = $3 and raw_reply is null
        returning n
    ), job as (
        update regimen.jobs
        set last_seq = last_seq + 1, stage = 'verifying', updated_at = now()
        where id = $1 and fence = $2 and worker_id is not null and exists (select from reply)
        returning last_seq
    )
    insert into regimen.job_events (job_id, seq, at, kind, data)
    select $1, last_seq, now(), 'verifying', jsonb_build_object('n', n) from job, reply
    returning seq";

/// Stores replies of several jobs, one of each, in one transaction, each as [`store_reply`]
/// does: without waiting for an answer in between.
///
/// # Errors
/// No reply is stored; keep them and retry.
pub async fn store_replies(
    client: &mut Client,
    replies: &[PaidReply<'_>],
) -> Result<Vec<Option<i32>>, DbError> {
    let sorted = in_order(replies, |reply| reply.held.id);
    let raws: Vec<Cow<'_, str>> = sorted.iter().map(|reply| storable(reply.raw)).collect();
    let values: Vec<_> = sorted.iter().zip(&raws).map(|(reply, raw)| reply.values(raw)).collect();
    let of_each: Vec<&[&(dyn ToSql + Sync)]> = values.iter().map(<[_; 6]>::as_slice).collect();
    let tx = client.transaction();
    let statement = tx.prepare_cached(STORE).await?;
    let stored = tx.commit_after(&statement, &of_each).await?;
    let stored: HashMap<Uuid, Option<i32>> = sorted
        .iter()
        .zip(&stored)
        .map(|(reply, rows)| (reply.held.id, rows.first().map(|row| row.get("seq"))))
        .collect();
    Ok(replies.iter().map(|reply| stored.get(&reply.held.id).copied().flatten()).collect())
}

/// Stores a reply as received. The fence is not checked: the reply is paid for, and the
/// next holder can use it. While the claim is valid, the job's stage becomes `verifying`;
/// returns the number of that event.
///
/// # Errors
/// The reply is not stored; keep it and retry.
pub async fn store_reply<C: GenericClient>(
    client: &C,
    reply: &PaidReply<'_>,
) -> Result<Option<i32>, DbError> {
    let statement = client.prepare_cached(STORE).await?;
    let row = client.query_opt(&statement, &reply.values(&storable(reply.raw))).await?;
    Ok(row.map(|row| row.get("seq")))
}

impl PaidReply<'_> {
    /// The parameters of [`STORE`].
    fn values<'v>(&'v self, raw: &'v (dyn ToSql + Sync)) -> [&'v (dyn ToSql + Sync); 6] {
        let Self { held, attempt_id, http_status, request_id, .. } = self;
        [&held.id, &held.fence, attempt_id, raw, http_status, request_id]
    }
}

/// Postgres texts cannot hold NUL; no provider's JSON has one unescaped.
fn storable(raw: &str) -> Cow<'_, str> {
    if raw.contains('\0') { raw.replace('\0', "").into() } else { raw.into() }
}

/// Records the judgement of an attempt; false when its job has ended. A job's cost is
/// added up when it ends and then stays: the row is locked against that end, and after it
/// an attempt keeps the cost with which it was counted.
///
/// # Errors
/// Nothing was written.
pub async fn judge_attempt<C: GenericClient>(
    client: &C,
    attempt_id: Uuid,
    outcome: &AttemptOutcome<'_>,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- judge attempt
             with job as (
                 select id from regimen.jobs
                 where id = (select job_id from regimen.job_attempts where id = $1)
                   and state in ('queued', 'running') for share
             )
             update regimen.job_attempts a set
                 outcome = $2, error_detail = $3, http_status = coalesce($4, http_status),
                 request_id = coalesce($5, request_id), finished_at = coalesce(finished_at, now()),
                 input_tokens = coalesce($6, input_tokens),
                 cached_tokens = coalesce($7, cached_tokens),
                 output_tokens = coalesce($8, output_tokens),
                 cost_micros = coalesce($9, cost_micros),
                 estimated = coalesce($10, estimated)
             from job where a.id = $1",
        )
        .await?;
    let usage = outcome.usage.map(AttemptUsage::believable);
    let judged = client
        .execute(
            &statement,
            &[
                &attempt_id,
                &outcome.outcome,
                &outcome.error_detail,
                &outcome.http_status,
                &outcome.request_id,
                &usage.map(|usage| usage.input_tokens),
                &usage.map(|usage| usage.cached_tokens),
                &usage.map(|usage| usage.output_tokens),
                &usage.map(|usage| usage.cost_micros),
                &usage.map(|usage| usage.estimated),
            ],
        )
        .await?;
    Ok(judged == 1)
}

/// The job's newest paid reply that can still become its plan: unjudged, or valid. Its
/// worker died before the plan was saved, or the plan could not be saved; the next holder
/// continues from the reply instead of paying again.
///
/// # Errors
/// The query failed.
pub async fn usable_reply<C: GenericClient>(
    client: &C,
    job_id: Uuid,
) -> Result<Option<StoredRawReply>, DbError> {
    let statement = client
        .prepare_cached(
            "-- usable reply
             select id, n, provider, model, raw_reply, http_status, request_id,
                    fence = $2 as inherited
             from regimen.job_attempts
             where job_id = $1 and raw_reply is not null and (outcome is null or outcome = 'ok')
             order by n desc limit 1",
        )
        .await?;
    let row = client.query_opt(&statement, &[&job_id, &INHERITED]).await?;
    row.map(|row| {
        Ok(StoredRawReply {
            attempt_id: row.try_get("id")?,
            n: row.try_get("n")?,
            provider: row.try_get("provider")?,
            model: row.try_get("model")?,
            raw: row.try_get("raw_reply")?,
            http_status: row.try_get("http_status")?,
            request_id: row.try_get("request_id")?,
            inherited: row.try_get("inherited")?,
        })
    })
    .transpose()
}
