//! Ends a claim by its holder: success, failure, or another round. Each checks
//! the fence, records the event, settles the spend and picks the user's next
//! jobs in the caller's transaction.

use std::collections::HashMap;
use std::time::Duration;

use crate::db::{Client, GenericClient, Transaction};
use futures_util::join;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::attempts::{AttemptOutcome, AttemptUsage};
use super::dispatch::{NextJob, dispatch_next_or_later};
use super::many::{by_job, in_order};
use super::read::named;
use super::{Held, count_refused_write};
use crate::db::DbError;
use crate::db::plans::{Locked, NewPlan, lock_profiles, save_plans};
use crate::job::{FailureCode, JobEventKind};

/// The result of a successful job.
#[derive(Debug, Clone)]
pub struct Success {
    /// The saved plan.
    pub plan_id: Uuid,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The reply that it was read from, unless that was judged already.
    pub reply: Option<GoodReply>,
}

/// A reply that became a plan.
#[derive(Debug, Clone)]
pub struct GoodReply {
    /// Its attempt.
    pub attempt_id: Uuid,
    /// HTTP status, where there was one.
    pub http_status: Option<i32>,
    /// The provider's request id.
    pub request_id: Option<String>,
    /// Its usage; `None` leaves the known one.
    pub usage: Option<AttemptUsage>,
}

impl GoodReply {
    /// Its judgement.
    pub fn outcome(&self) -> AttemptOutcome<'_> {
        AttemptOutcome {
            outcome: "ok",
            error_detail: None,
            http_status: self.http_status,
            request_id: self.request_id.as_deref(),
            usage: self.usage,
        }
    }
}

/// A claim, or a wait, that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The job.
    pub job_id: Uuid,
    /// Its event.
    pub kind: JobEventKind,
    /// The number of that event.
    pub seq: i32,
    /// The user's next jobs to push.
    pub next: Vec<NextJob>,
}

const FIND_END: &str = "-- find an end
    select j.last_seq, j.kind, next.id, next.class, next.at
    from (
        select user_id, last_seq, updated_at, (
            select kind from regimen.job_events e
            where e.job_id = jobs.id and e.seq = jobs.last_seq) as kind
        from regimen.jobs where id = $1 and fence = $2 and worker_id is null offset 0
    ) j
    left join lateral (
        -- Dispatched by the transaction that ended the job, so at the same moment. Of all that
        -- the user has running or dispatched, which one index finds.
        select id, class, dispatched_at as at
        from (
            select id, class, state, dispatched_at from regimen.jobs
            where user_id = j.user_id
              and (state = 'running' or (state = 'queued' and dispatched_at is not null))
            offset 0
        ) standing
        where state = 'queued' and dispatched_at = j.updated_at
    ) next on true
    where j.kind = any($3)";

/// The end of a claim whose commit was not answered, if it took effect: the last event of its
/// job is one of `kinds`, and nobody has claimed the job since. With the next jobs that it
/// dispatched; pushing one twice does no harm.
///
/// # Errors
/// The query failed.
pub async fn find_end<C: GenericClient>(
    client: &C,
    held: Held,
    kinds: &[JobEventKind],
) -> Result<Option<Ended>, DbError> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let statement = client.prepare_cached(FIND_END).await?;
    let rows = client.query(&statement, &[&held.id, &held.fence, &kinds]).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let (kind, seq) = (named(first, "kind")?, first.try_get("last_seq")?);
    let mut next = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.try_get::<_, Option<Uuid>>("id")?.is_some() {
            next.push(NextJob::from_row(row)?);
        }
    }
    Ok(Some(Ended { job_id: held.id, kind, seq, next }))
}

const SUCCEED: &str = "-- succeed
    with asked as materialized (
        select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::text[],
                             $6::uuid[], $7::int[], $8::text[], $9::bigint[], $10::bigint[],
                             $11::bigint[], $12::bigint[], $13::bool[])
            as asked (job_id, of_claim, plan, by_provider, by_model, attempt_id, status, request,
                      input, cached, output, cost, is_estimate)
    ), job as (
        update regimen.jobs j set
            state = 'succeeded', stage = 'done', worker_id = null, lease_expires_at = null,
            finished_at = now(), updated_at = now(), last_seq = last_seq + 1,
            plan_id = plan, provider = by_provider, model = by_model,
            cost_micros = coalesce((
                select sum(regimen.believable_micros(case when a.id = asked.attempt_id
                    then coalesce(asked.cost, a.cost_micros) else a.cost_micros end))
                from regimen.job_attempts a where a.job_id = asked.job_id)::bigint, 0)
        from asked
        where j.id = any(array(select job_id from asked))
          and j.id = asked.job_id and j.fence = asked.of_claim and j.worker_id is not null
        returning asked.*, j.user_id, j.last_seq
    ), judged as (
        update regimen.job_attempts a set
            outcome = 'ok', error_detail = null, http_status = coalesce(job.status, a.http_status),
            request_id = coalesce(job.request, a.request_id),
            finished_at = coalesce(a.finished_at, now()),
            input_tokens = coalesce(job.input, a.input_tokens),
            cached_tokens = coalesce(job.cached, a.cached_tokens),
            output_tokens = coalesce(job.output, a.output_tokens),
            cost_micros = coalesce(job.cost, a.cost_micros),
            estimated = coalesce(job.is_estimate, a.estimated)
        from job
        where a.id = any(array(select attempt_id from job)) and a.id = job.attempt_id
        returning a.job_id, a.prompt_version, a.n
    ), origin as (
        insert into regimen.plan_origins (plan_id, job_id, user_id, provider, model,
                                          prompt_version, at)
        select job.plan, job.job_id, job.user_id, job.by_provider, job.by_model,
               ok.prompt_version, now()
        from job cross join lateral (
            select prompt_version, n from judged where judged.job_id = job.job_id
            union all
            select prompt_version, n from regimen.job_attempts a
            where a.job_id = job.job_id and a.outcome = 'ok' and a.id is distinct from job.attempt_id
            order by n desc limit 1) ok
    ), event as (
        insert into regimen.job_events (job_id, seq, at, kind, data)
        select job_id, last_seq, now(), 'saved',
               jsonb_build_object('plan_id', plan, 'provider', by_provider, 'model', by_model)
        from job
    )
    select job_id, last_seq from job";

/// Marks jobs as succeeded; returns the number of the event of each whose claim is valid.
async fn mark_succeeded(
    tx: &Transaction<'_>,
    ends: &[&SuccessfulEnd<'_>],
) -> Result<HashMap<Uuid, i32>, DbError> {
    let statement = tx.prepare_cached(SUCCEED).await?;
    let sorted = in_order(ends, |end| end.held.id);
    let replies: Vec<Option<&GoodReply>> =
        sorted.iter().map(|end| end.success.reply.as_ref()).collect();
    let usages: Vec<Option<AttemptUsage>> = replies
        .iter()
        .map(|reply| reply.and_then(|reply| reply.usage).map(AttemptUsage::believable))
        .collect();
    macro_rules! each {
        (|$end:ident| $value:expr) => {
            sorted.iter().map(|$end| $value).collect::<Vec<_>>()
        };
    }
    macro_rules! of_reply {
        (|$reply:ident| $value:expr) => {
            replies.iter().map(|reply| reply.and_then(|$reply| $value)).collect::<Vec<_>>()
        };
    }
    macro_rules! of_usage {
        (|$usage:ident| $value:expr) => {
            usages.iter().map(|usage| usage.map(|$usage| $value)).collect::<Vec<_>>()
        };
    }
    let rows = tx
        .query(
            &statement,
            &[
                &each!(|end| end.held.id),
                &each!(|end| end.held.fence),
                &each!(|end| end.success.plan_id),
                &each!(|end| end.success.provider.as_str()),
                &each!(|end| end.success.model.as_str()),
                &of_reply!(|reply| Some(reply.attempt_id)),
                &of_reply!(|reply| reply.http_status),
                &of_reply!(|reply| reply.request_id.as_deref()),
                &of_usage!(|usage| usage.input_tokens),
                &of_usage!(|usage| usage.cached_tokens),
                &of_usage!(|usage| usage.output_tokens),
                &of_usage!(|usage| usage.cost_micros),
                &of_usage!(|usage| usage.estimated),
            ],
        )
        .await?;
    by_job(&rows, |row| row.try_get("last_seq"))
}

/// The end of a successful job, with its plan.
#[derive(Debug, Clone)]
pub struct SuccessfulEnd<'a> {
    /// The claim.
    pub held: Held,
    /// Its result.
    pub success: &'a Success,
    /// The plan of that id.
    pub plan: NewPlan<'a>,
}

/// What became of the end of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndOutcome {
    /// It is written.
    Ended(Ended),
    /// The claim is stale; nothing was written.
    Stale,
    /// The user's profile is gone; nothing was written.
    NoProfile,
}

/// Ends jobs of several users, one of each, as succeeded and saves their plans, in one
/// transaction, each with an outcome of its own. `None` for one that has to go alone
/// ([`succeed_alone`]): its profile is locked, or gone.
///
/// # Errors
/// Nothing was written, for any of them.
pub async fn succeed_together(
    client: &mut Client,
    ends: &[SuccessfulEnd<'_>],
    per_user: i64,
) -> Result<Vec<Option<EndOutcome>>, DbError> {
    let tx = client.transaction();
    let users: Vec<Uuid> = ends.iter().map(|end| end.plan.user_id).collect();
    let there = lock_profiles(&tx, &users, Locked::Skip).await?;
    let is_free = |end: &&SuccessfulEnd<'_>| there.contains(&end.plan.user_id);
    let free: Vec<&SuccessfulEnd<'_>> = ends.iter().filter(is_free).collect();
    let mut outcomes = write_ends(&tx, &free, per_user).await?.into_iter();
    tx.commit().await?;
    Ok(ends.iter().map(|end| is_free(&end).then(|| outcomes.next()).flatten()).collect())
}

/// Ends one job, waiting for its user's profile.
///
/// # Errors
/// Nothing was written.
pub async fn succeed_alone(
    client: &mut Client,
    end: &SuccessfulEnd<'_>,
    per_user: i64,
) -> Result<EndOutcome, DbError> {
    let tx = client.transaction();
    if lock_profiles(&tx, &[end.plan.user_id], Locked::Wait).await?.is_empty() {
        return Ok(EndOutcome::NoProfile);
    }
    let outcomes = write_ends(&tx, &[end], per_user).await?;
    tx.commit().await?;
    Ok(outcomes.into_iter().next().unwrap_or(EndOutcome::Stale))
}

/// Ends jobs of users whose profiles this transaction has locked.
async fn write_ends(
    tx: &Transaction<'_>,
    ends: &[&SuccessfulEnd<'_>],
    per_user: i64,
) -> Result<Vec<EndOutcome>, DbError> {
    let marked = mark_succeeded(tx, ends).await?;
    let (mut outcomes, mut written) = (Vec::with_capacity(ends.len()), Vec::new());
    for end in ends {
        let Some(&seq) = marked.get(&end.held.id) else {
            count_refused_write();
            outcomes.push(EndOutcome::Stale);
            continue;
        };
        let kind = JobEventKind::Saved;
        let ended = Ended { job_id: end.held.id, kind, seq, next: Vec::new() };
        outcomes.push(EndOutcome::Ended(ended));
        written.push(*end);
    }
    if written.is_empty() {
        return Ok(outcomes);
    }
    let jobs: Vec<Uuid> = written.iter().map(|end| end.held.id).collect();
    let users: Vec<Uuid> = written.iter().map(|end| end.plan.user_id).collect();
    let plans: Vec<&NewPlan<'_>> = written.iter().map(|end| &end.plan).collect();
    let settled = async { settle(tx, &jobs).await.map(|()| Vec::new()) };
    let (settled, saved) = join!(settled, save_plans(tx, &plans));
    let saved = DbError::all_or_cause([settled, saved])?.concat();
    for (end, saved) in written.iter().zip(saved) {
        if saved != end.plan.id {
            saved_in(tx, end.held.id, end.plan.id, saved).await?;
        }
    }
    let mut next = dispatch_next_or_later(tx, &users, per_user).await?;
    for outcome in &mut outcomes {
        if let EndOutcome::Ended(first) = outcome {
            first.next = std::mem::take(&mut next);
        }
    }
    Ok(outcomes)
}

/// Records that the plan of a job ended by this transaction was written to an existing
/// row: under that row's id, not the `intended` one.
///
/// # Errors
/// Nothing was written.
async fn saved_in(
    tx: &Transaction<'_>,
    job_id: Uuid,
    intended: Uuid,
    plan_id: Uuid,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- saved in an older row
             with job as (
                 update regimen.jobs set plan_id = $2 where id = $1 returning last_seq, plan_id
             ), event as (
                 update regimen.job_events e
                 set data = jsonb_set(e.data, '{plan_id}', to_jsonb($2::uuid))
                 from job where e.job_id = $1 and e.seq = job.last_seq
             ), former as (
                 delete from regimen.plan_origins where plan_id = $3
                 returning user_id, provider, model, prompt_version, at
             )
             insert into regimen.plan_origins
                 (plan_id, job_id, user_id, provider, model, prompt_version, at)
             select $2, $1, user_id, provider, model, prompt_version, at from former
             on conflict (plan_id) do update set
                 job_id = excluded.job_id, provider = excluded.provider, model = excluded.model,
                 prompt_version = excluded.prompt_version, at = excluded.at",
        )
        .await?;
    tx.execute(&statement, &[&job_id, &plan_id, &intended]).await?;
    Ok(())
}

/// Ends the job as failed.
///
/// # Errors
/// Nothing was written.
pub async fn fail(
    tx: &Transaction<'_>,
    held: Held,
    code: FailureCode,
    detail: &str,
    evidence: &Value,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- fail
             with job as (
                 update regimen.jobs j set
                     state = 'failed', stage = 'done', worker_id = null, lease_expires_at = null,
                     finished_at = now(), updated_at = now(), last_seq = last_seq + 1,
                     error_code = $3, error_detail = $4
                 where id = $1 and fence = $2 and worker_id is not null
                 returning user_id, last_seq
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind, data)
                 select $1, last_seq, now(), 'failed', $5 from job
             )
             select user_id, last_seq from job",
        )
        .await?;
    let data = json!({ "code": code.as_str(), "detail": detail, "evidence": evidence });
    let row = tx
        .query_opt(&statement, &[&held.id, &held.fence, &code.as_str(), &detail, &Json(&data)])
        .await?;
    finish(tx, held.id, JobEventKind::Failed, row, per_user).await
}

/// Requeues the job for another round, `after` from now, without holding a slot. Its next
/// claim starts a new deadline.
///
/// # Errors
/// Nothing was written.
pub async fn retry_later(
    tx: &Transaction<'_>,
    held: Held,
    stage: &str,
    after: Duration,
    reason: &str,
    counts_as_round: bool,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let statement = tx
        .prepare_cached(
            "-- retry later
             with job as (
                 update regimen.jobs j set
                     state = 'queued', stage = $3, worker_id = null, lease_expires_at = null,
                     deadline_at = null, run_at = now() + make_interval(secs => $4),
                     rounds = rounds + $6::boolean::int, updated_at = now(),
                     last_seq = last_seq + 1
                 where id = $1 and fence = $2 and worker_id is not null
                 returning user_id, last_seq, run_at
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind, data)
                 select $1, last_seq, now(), 'retry_scheduled',
                        jsonb_build_object('at', run_at, 'stage', $3::text, 'reason', $5::text)
                 from job
             )
             select user_id, last_seq from job",
        )
        .await?;
    let row = tx
        .query_opt(
            &statement,
            &[&held.id, &held.fence, &stage, &after.as_secs_f64(), &reason, &counts_as_round],
        )
        .await?;
    finish(tx, held.id, JobEventKind::RetryScheduled, row, per_user).await
}

/// Copies the jobs' paid attempts into the ledger, each once; a cost that became known
/// later is corrected.
pub(super) async fn settle_usage<C: GenericClient>(
    client: &C,
    jobs: &[Uuid],
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- settle usage
             with paid as materialized (
                 -- Found by job and sorted after that: the order of ids leads through
                 -- everybody's attempts. `offset 0`: looked up for each of them.
                 select * from regimen.job_attempts a
                 where job_id = any((select $1::uuid[])::uuid[])
                   and (cost_micros > 0 or input_tokens > 0 or output_tokens > 0
                        or exists (select from regimen.ai_usage u
                                   where u.attempt_id = a.id offset 0))
             )
             insert into regimen.ai_usage (attempt_id, job_id, user_id, at, provider, model,
                                           input_tokens, cached_tokens, output_tokens, cost_micros,
                                           estimated)
             select id, job_id, user_id, coalesce(finished_at, started_at), provider, model,
                    regimen.believable_tokens(input_tokens),
                    regimen.believable_tokens(cached_tokens),
                    regimen.believable_tokens(output_tokens),
                    regimen.believable_micros(cost_micros), estimated
             from paid
             order by id
             on conflict (attempt_id) do update set
                 input_tokens = excluded.input_tokens, cached_tokens = excluded.cached_tokens,
                 output_tokens = excluded.output_tokens, cost_micros = excluded.cost_micros,
                 estimated = excluded.estimated
             where (ai_usage.input_tokens, ai_usage.output_tokens, ai_usage.cost_micros)
                 is distinct from
                 (excluded.input_tokens, excluded.output_tokens, excluded.cost_micros)",
        )
        .await?;
    client.execute(&statement, &[&jobs]).await?;
    Ok(())
}

/// Settles the usage of jobs whose rows this transaction has locked, and adds up the cost
/// of each. It is a separate statement on purpose: it also sees what was judged while the
/// lock was waited for, and nothing is judged after it.
pub(super) async fn settle(tx: &Transaction<'_>, jobs: &[Uuid]) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- add up cost
             update regimen.jobs j set cost_micros = spent.micros
             from (select job_id, sum(regimen.believable_micros(cost_micros))::bigint as micros
                   from regimen.job_attempts where job_id = any($1) group by job_id) spent
             where j.id = spent.job_id and j.cost_micros <> spent.micros",
        )
        .await?;
    let added_up = async { tx.execute(&statement, &[&jobs]).await.map(drop) };
    let (settled, added_up) = join!(settle_usage(tx, jobs), added_up);
    DbError::all_or_cause([settled, added_up]).map(drop)
}

async fn finish(
    tx: &Transaction<'_>,
    job_id: Uuid,
    kind: JobEventKind,
    row: Option<Row>,
    per_user: i64,
) -> Result<Option<Ended>, DbError> {
    let Some(row) = row else {
        count_refused_write();
        return Ok(None);
    };
    settle(tx, &[job_id]).await?;
    let next = dispatch_next_or_later(tx, &[row.try_get("user_id")?], per_user).await?;
    Ok(Some(Ended { job_id, kind, seq: row.try_get("last_seq")?, next }))
}
