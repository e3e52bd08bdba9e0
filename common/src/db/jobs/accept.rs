//! Accepting jobs: profile, rows, first events and the idempotent answer in
//! one transaction.

use deadpool_postgres::Client;
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::db::generations::{self, Month};
use crate::db::{DbError, accounts};
use crate::job::{JobClass, PlanKind};
use crate::queue::List;

/// One job to accept.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id, chosen by the caller.
    pub id: Uuid,
    /// What it makes.
    pub kind: PlanKind,
}

/// The jobs of one request.
#[derive(Debug, Clone)]
pub struct NewJobs {
    /// Whose they are.
    pub user_id: Uuid,
    /// For a profile that does not exist yet.
    pub email: Option<String>,
    /// Counted once against the monthly generations.
    pub generation_id: Uuid,
    /// The dispatch list.
    pub class: JobClass,
    /// The jobs.
    pub jobs: Vec<NewJob>,
    /// The quiz they answer, already known to be the user's.
    pub quiz_result_id: Option<Uuid>,
    /// What `quiz_results.calculations` becomes.
    pub calculations: Value,
    /// What the worker needs.
    pub input: Value,
    /// Told of the end, if given.
    pub callback_url: Option<String>,
    /// W3C `traceparent` of the request.
    pub trace_context: Option<String>,
    /// Not started by then means expired, seconds from now.
    pub expires_in_seconds: f64,
    /// How many of one user's jobs may stand in Redis or run.
    pub per_user: i64,
    /// Whether the user's monthly generations limit this request.
    pub monthly_quota: bool,
}

/// The key under which an answer is kept.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The client's key, scoped to the user.
    pub key: String,
    /// SHA-256 of the request.
    pub body_hash: Vec<u8>,
    /// The status of the answer to keep.
    pub status: i32,
    /// The answer to keep.
    pub response: Value,
}

/// An answer given before.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Its status.
    pub status: i32,
    /// Its body.
    pub response: Value,
}

/// What became of a request.
#[derive(Debug)]
pub enum Acceptance {
    /// Committed. These ids are to be pushed to these lists.
    Accepted {
        /// What to push now; the rest waits for its user's turn.
        dispatch: Vec<(Uuid, List)>,
    },
    /// The key was used for the same request before.
    Replayed(Replay),
    /// The key was used for another request.
    OtherBody,
    /// A request with this key is being answered at this moment.
    InFlight,
    /// The user's plan allows no more generations this month.
    MonthUsedUp(Month),
}

/// Accepts the jobs, or finds the answer given before under the same key.
///
/// # Errors
/// Nothing was written.
pub async fn accept(
    client: &mut Client,
    new: &NewJobs,
    idempotency: Option<&Idempotency>,
) -> Result<Acceptance, DbError> {
    let tx = client.transaction().await?;
    if let Some(idempotency) = idempotency
        && let Some(earlier) = earlier_answer(&tx, new.user_id, idempotency).await?
    {
        // Awaited, so that the key is free again when the caller has the answer.
        tx.rollback().await?;
        return Ok(earlier);
    }
    accounts::ensure_profile(&tx, new.user_id, new.email.as_deref()).await?;
    let (month, counted) =
        generations::take(&tx, new.user_id, new.generation_id, new.monthly_quota).await?;
    if !counted {
        tx.rollback().await?;
        return Ok(Acceptance::MonthUsedUp(month));
    }
    let dispatch = insert_jobs(&tx, new).await?;
    if let Some(quiz_result_id) = new.quiz_result_id {
        // Gone since it was checked means there is nothing to write to.
        accounts::set_calculations(&tx, quiz_result_id, new.user_id, &new.calculations).await?;
    }
    if let Some(idempotency) = idempotency {
        keep_answer(&tx, new.user_id, idempotency).await?;
    }
    tx.commit().await?;
    Ok(Acceptance::Accepted { dispatch })
}

async fn earlier_answer(
    tx: &deadpool_postgres::Transaction<'_>,
    user_id: Uuid,
    idempotency: &Idempotency,
) -> Result<Option<Acceptance>, DbError> {
    // The lock, not the row, is what a second request in flight meets: it
    // answers at once instead of waiting for the first one's commit.
    let statement = tx
        .prepare_cached(
            "-- lock idempotency key
             select pg_try_advisory_xact_lock(hashtextextended($1::text || ':' || $2, 7)) as free",
        )
        .await?;
    let locked: bool =
        tx.query_one(&statement, &[&user_id.to_string(), &idempotency.key]).await?.get("free");
    if !locked {
        return Ok(Some(Acceptance::InFlight));
    }
    let statement = tx
        .prepare_cached(
            "-- find idempotent answer
             select body_hash, status, response from regimen.idempotency_keys
             where user_id = $1 and key = $2 and expires_at > now()",
        )
        .await?;
    let Some(row) = tx.query_opt(&statement, &[&user_id, &idempotency.key]).await? else {
        return Ok(None);
    };
    if row.get::<_, Vec<u8>>("body_hash") != idempotency.body_hash {
        return Ok(Some(Acceptance::OtherBody));
    }
    Ok(Some(Acceptance::Replayed(Replay {
        status: row.get("status"),
        response: row.get("response"),
    })))
}

async fn insert_jobs(
    tx: &deadpool_postgres::Transaction<'_>,
    new: &NewJobs,
) -> Result<Vec<(Uuid, List)>, DbError> {
    let ids: Vec<Uuid> = new.jobs.iter().map(|job| job.id).collect();
    let kinds: Vec<&str> = new.jobs.iter().map(|job| job.kind.as_str()).collect();
    let statement = tx
        .prepare_cached(
            "-- accept jobs
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
                     last_seq)
                 select t.id, $1, $2, t.kind, $3, $6, $7, $8, $9, now(),
                        case when standing.n + t.ord <= $11 then now() end,
                        now(), now() + make_interval(secs => $10), now(), 1
                 from unnest($4::uuid[], $5::text[]) with ordinality as t (id, kind, ord), standing
                 returning id, dispatched_at
             ), event as (
                 insert into regimen.job_events (job_id, seq, at, kind)
                 select id, 1, now(), 'accepted' from accepted
             )
             select id from accepted where dispatched_at is not null",
        )
        .await?;
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
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get("id"), new.class.into())).collect())
}

async fn keep_answer(
    tx: &deadpool_postgres::Transaction<'_>,
    user_id: Uuid,
    idempotency: &Idempotency,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- keep idempotent answer
             insert into regimen.idempotency_keys
                 (user_id, key, body_hash, status, response, created_at, expires_at)
             values ($1, $2, $3, $4, $5, now(), now() + interval '24 hours')
             on conflict (user_id, key) do update set
                 body_hash = excluded.body_hash, status = excluded.status,
                 response = excluded.response, created_at = excluded.created_at,
                 expires_at = excluded.expires_at
             where regimen.idempotency_keys.expires_at <= now()",
        )
        .await?;
    tx.execute(
        &statement,
        &[
            &user_id,
            &idempotency.key,
            &idempotency.body_hash,
            &idempotency.status,
            &Json(&idempotency.response),
        ],
    )
    .await?;
    Ok(())
}
