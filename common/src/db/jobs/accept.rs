//! Accepting jobs: profile, rows, first events and the idempotent answer in
//! one transaction.

use crate::db::{Client, Transaction};
use futures_util::try_join;
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::dispatch::NextJob;
use crate::db::DbError;
use crate::db::accounts::{self, ENSURE_PROFILE, QuizOwnership, SET_CALCULATIONS};
use crate::db::generations::{self, Month, TAKE};
use crate::job::{JobClass, PlanKind};

/// One job to accept.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id, chosen by the caller.
    pub id: Uuid,
    /// The kind of plan.
    pub kind: PlanKind,
}

/// The jobs of one request.
#[derive(Debug, Clone)]
pub struct NewJobs {
    /// Their user.
    pub user_id: Uuid,
    /// For a profile that does not exist yet.
    pub email: Option<String>,
    /// Counted once against the monthly generations.
    pub generation_id: Uuid,
    /// The dispatch list.
    pub class: JobClass,
    /// The jobs.
    pub jobs: Vec<NewJob>,
    /// The quiz of the request: one of the user's own.
    pub quiz_result_id: Option<Uuid>,
    /// The new value of `quiz_results.calculations`.
    pub calculations: Value,
    /// The worker's input.
    pub input: Value,
    /// Warnings about the answers, for the job's owner.
    pub warnings: Option<Value>,
    /// What speaks for caution, for the job's owner.
    pub cautions: Option<Value>,
    /// Gets a POST at the end of each job, if given.
    pub callback_url: Option<String>,
    /// The trace of the request, as header lines.
    pub trace_context: Option<String>,
    /// A job not started by then expires, seconds from now.
    pub expires_in_seconds: f64,
    /// The cap of dispatched and running jobs of the user.
    pub per_user: i64,
    /// Whether the user's monthly generations limit this request.
    pub monthly_quota: bool,
}

/// The idempotency key of the request.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The client's key, scoped to the user.
    pub key: String,
    /// SHA-256 of the request.
    pub body_hash: Vec<u8>,
    /// The status of the response to store.
    pub status: i32,
    /// The response to store.
    pub response: Value,
}

/// A stored response.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Its body.
    pub response: Value,
    /// Its jobs; unknown for responses stored by an earlier release.
    pub jobs: Vec<Uuid>,
}

const ACCEPT: &str = "-- accept jobs
    with standing as (
        select count(*) as n from (
            select 1 from regimen.jobs
            where user_id = $1
              and (state = 'running' or (state = 'queued' and dispatched_at is not null))
            limit $11
        ) s
    ), accepted as (
        insert into regimen.jobs (
            id, user_id, generation_id, kind, class, quiz_result_id, input, callback_url,
            trace_context, run_at, dispatched_at, created_at, expires_at, updated_at,
            last_seq, warnings, cautions)
        select t.id, $1, $2, t.kind, $3, $6, $7, $8, $9, now(),
               case when standing.n + t.ord <= $11 then now() end,
               now(), now() + make_interval(secs => $10), now(), 1, $12, $13
        from unnest($4::uuid[], $5::text[]) with ordinality as t (id, kind, ord), standing
        where exists (select from regimen.generations where id = $2)
          and ($6::uuid is null
               or exists (select from public.quiz_results where id = $6 and user_id = $1))
        returning id, dispatched_at
    ), event as (
        insert into regimen.job_events (job_id, seq, at, kind)
        select id, 1, now(), 'accepted' from accepted
    )
    select id, $3 as class, dispatched_at as at from accepted where dispatched_at is not null";

const KEEP_ANSWER: &str = "-- keep idempotent answer
    insert into regimen.idempotency_keys
        (user_id, key, body_hash, status, response, job_ids, created_at, expires_at)
    values ($1, $2, $3, $4, $5, $6, now(), now() + interval '24 hours')
    on conflict (user_id, key) do update set
        body_hash = excluded.body_hash, status = excluded.status,
        response = excluded.response, job_ids = excluded.job_ids,
        created_at = excluded.created_at,
        expires_at = excluded.expires_at
    where regimen.idempotency_keys.expires_at <= now()";

/// The outcome of a request.
#[derive(Debug)]
pub enum Acceptance {
    /// Committed.
    Accepted {
        /// The jobs to push now; the rest waits.
        dispatch: Vec<NextJob>,
    },
    /// The key was used for the same request before.
    Replayed(Replay),
    /// The key was used for another request.
    OtherBody,
    /// A request with this key is being processed.
    InFlight,
    /// The quiz is not the user's: callers do not learn whether it exists.
    QuizMissing,
    /// The user's plan allows no more generations this month.
    MonthUsedUp(Month),
}

/// Accepts the jobs, or returns the response stored under the same key. All writes go to
/// Postgres as one pipeline, because rows are locked during every round trip.
///
/// # Errors
/// Nothing was written.
pub async fn accept(
    client: &mut Client,
    new: &NewJobs,
    idempotency: Option<&Idempotency>,
) -> Result<Acceptance, DbError> {
    let tx = client.transaction().await?;
    let written = write(&tx, new, idempotency).await?;
    // Awaited, so that the key is free again when the caller has the response.
    match written {
        Acceptance::Accepted { .. } => tx.commit().await?,
        _ => tx.rollback().await?,
    }
    Ok(written)
}

/// The response stored under a key, for a request that would be refused if it were new: a
/// repeated request is answered whatever has been used up since.
///
/// # Errors
/// The query failed.
pub async fn answered_before(
    client: &mut Client,
    user_id: Uuid,
    key: &str,
    body_hash: &[u8],
) -> Result<Option<Acceptance>, DbError> {
    let tx = client.transaction().await?;
    let earlier = earlier_answer(&tx, user_id, key, body_hash).await?;
    tx.rollback().await?;
    Ok(earlier)
}

/// Writes everything; any result except `Accepted` must be rolled back.
async fn write(
    tx: &Transaction<'_>,
    new: &NewJobs,
    idempotency: Option<&Idempotency>,
) -> Result<Acceptance, DbError> {
    if let Some(idempotency) = idempotency
        && let Some(earlier) =
            earlier_answer(tx, new.user_id, &idempotency.key, &idempotency.body_hash).await?
    {
        return Ok(earlier);
    }
    // Statements that are not prepared would break the pipeline's order.
    for statement in [ENSURE_PROFILE, SET_CALCULATIONS, ACCEPT, KEEP_ANSWER].iter().chain(&TAKE) {
        tx.prepare_cached(statement).await?;
    }
    // Polled together, they are sent in this order. Jobs without a counted generation and
    // a quiz of the user's own are not inserted; the rest is rolled back then.
    let (_, (month, counted), dispatch, own_quiz, ()) = try_join!(
        accounts::ensure_profile(tx, new.user_id, new.email.as_deref()),
        generations::take(tx, new.user_id, new.generation_id, new.monthly_quota),
        insert_jobs(tx, new),
        set_calculations(tx, new),
        keep_answer(tx, new, idempotency),
    )?;
    Ok(match (counted, own_quiz) {
        (_, QuizOwnership::Missing) => Acceptance::QuizMissing,
        (false, QuizOwnership::Own) => Acceptance::MonthUsedUp(month),
        (true, QuizOwnership::Own) => Acceptance::Accepted { dispatch },
    })
}

/// Writes the targets to their quiz, if there is one.
async fn set_calculations(tx: &Transaction<'_>, new: &NewJobs) -> Result<QuizOwnership, DbError> {
    match new.quiz_result_id {
        Some(quiz) => accounts::set_calculations(tx, quiz, new.user_id, &new.calculations).await,
        None => Ok(QuizOwnership::Own),
    }
}

async fn earlier_answer(
    tx: &Transaction<'_>,
    user_id: Uuid,
    key: &str,
    body_hash: &[u8],
) -> Result<Option<Acceptance>, DbError> {
    // A concurrent second request meets the lock, not the row: it gets its answer at once
    // instead of waiting for the first one's commit.
    let statement = tx
        .prepare_cached(
            "-- lock idempotency key
             select pg_try_advisory_xact_lock(hashtextextended($1::text || ':' || $2, 7)) as free",
        )
        .await?;
    let locked: bool = tx.query_one(&statement, &[&user_id.to_string(), &key]).await?.get("free");
    if !locked {
        return Ok(Some(Acceptance::InFlight));
    }
    let statement = tx
        .prepare_cached(
            "-- find idempotent answer
             select body_hash, response, job_ids from regimen.idempotency_keys
             where user_id = $1 and key = $2 and expires_at > now()",
        )
        .await?;
    let Some(row) = tx.query_opt(&statement, &[&user_id, &key]).await? else {
        return Ok(None);
    };
    if row.get::<_, &[u8]>("body_hash") != body_hash {
        return Ok(Some(Acceptance::OtherBody));
    }
    Ok(Some(Acceptance::Replayed(Replay {
        response: row.get("response"),
        jobs: row.get::<_, Option<Vec<Uuid>>>("job_ids").unwrap_or_default(),
    })))
}

async fn insert_jobs(tx: &Transaction<'_>, new: &NewJobs) -> Result<Vec<NextJob>, DbError> {
    let ids: Vec<Uuid> = new.jobs.iter().map(|job| job.id).collect();
    let kinds: Vec<&str> = new.jobs.iter().map(|job| job.kind.as_str()).collect();
    let statement = tx.prepare_cached(ACCEPT).await?;
    let rows = tx
        .query(
            &statement,
            &[
                &new.user_id,
                &new.generation_id,
                &new.class.as_str(),
                &ids,
                &kinds,
                &new.quiz_result_id,
                &Json(&new.input),
                &new.callback_url,
                &new.trace_context,
                &new.expires_in_seconds,
                &new.per_user,
                &new.warnings.as_ref().map(Json),
                &new.cautions.as_ref().map(Json),
            ],
        )
        .await?;
    rows.iter().map(NextJob::from_row).collect()
}

async fn keep_answer(
    tx: &Transaction<'_>,
    new: &NewJobs,
    idempotency: Option<&Idempotency>,
) -> Result<(), DbError> {
    let Some(idempotency) = idempotency else { return Ok(()) };
    let jobs: Vec<Uuid> = new.jobs.iter().map(|job| job.id).collect();
    let statement = tx.prepare_cached(KEEP_ANSWER).await?;
    tx.execute(
        &statement,
        &[
            &new.user_id,
            &idempotency.key,
            &idempotency.body_hash,
            &idempotency.status,
            &Json(&idempotency.response),
            &jobs,
        ],
    )
    .await?;
    Ok(())
}
