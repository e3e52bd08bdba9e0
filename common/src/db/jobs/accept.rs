//! Accepting jobs: rows, first events and the idempotent answer in one
//! transaction, for one request or for those of many users at once.

use std::collections::HashSet;

use futures_util::try_join;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::dispatch::NextJob;
use crate::account::PlanTier;
use crate::db::DbError;
use crate::db::accounts::{self, ENSURE_PROFILE};
use crate::db::generations::{Month, month_of};
use crate::db::{Client, Transaction};
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
    /// The jobs.
    pub jobs: Vec<NewJob>,
    /// The quiz of the request: one of the user's own.
    pub quiz_result_id: Option<Uuid>,
    /// The new value of `quiz_results.calculations`, where there is a quiz.
    pub calculations: Option<Box<RawValue>>,
    /// The worker's input.
    pub input: Box<RawValue>,
    /// Warnings about the answers, for the job's owner.
    pub warnings: Option<Box<RawValue>>,
    /// What speaks for caution, for the job's owner.
    pub cautions: Option<Box<RawValue>>,
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
    /// The key under which the response is stored, if there is one.
    pub idempotency: Option<Idempotency>,
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

/// Statement text with the lock clause of one request, or of many. `is not distinct from`
/// keeps the index of a user's quizzes out: the quiz is looked up by its id.
macro_rules! lock {
    ($clause:literal) => {
        concat!(
            "-- lock profiles to accept",
            $clause,
            "
    select profile.id is not null as held, profile.plan_id,
           coalesce(plan.is_active, plan.id is not null) as active,
           asked.quiz_id is null or quiz.id is not null as own_quiz
    from unnest($1::uuid[], $2::uuid[]) with ordinality as asked (user_id, quiz_id, n)
    left join lateral (
        select id, plan_id from public.profiles where id = asked.user_id
        for no key update",
            $clause,
            "
    ) profile on true
    left join lateral (
        select id from public.quiz_results
        where id = asked.quiz_id and user_id is not distinct from asked.user_id
        for no key update",
            $clause,
            "
    ) quiz on true
    left join public.plans plan on plan.id = profile.plan_id
    order by asked.n"
        )
    };
}

/// Waits for another request of the user, so that their counts add up.
const LOCK: &str = lock!("");
/// Waits for nobody: one locked row must not hold up the requests of other users.
const LOCK_FREE: &str = lock!(" skip locked");

/// After the locks, so that it sees what was committed while they were waited for.
const ACCEPT: &str = concat!(
    "-- accept jobs
    with request as materialized (
        select asked.*, month.allowed, month.used, month.ends_at, (
            select count(*) from (
                select 1 from regimen.jobs
                where user_id = asked.user_id
                  and (state = 'running' or (state = 'queued' and dispatched_at is not null))
                limit asked.per_user
            ) s) as standing
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::jsonb[], $6::text[],
                    $7::text[], $8::jsonb[], $9::jsonb[], $10::float8[], $11::bigint[],
                    $12::bool[], $13::text[], $14::bytea[], $15::int[], $16::json[],
                    $17::jsonb[])
             with ordinality as asked (
                user_id, generation_id, class, quiz_result_id, input, callback_url,
                trace_context, warnings, cautions, expires_in, per_user,
                monthly_quota, key, body_hash, status, response, calculations, n),
             lateral (",
    month_of!("asked.user_id"),
    ") month
    ), counted as materialized (
        select * from request where not monthly_quota or used < allowed
    ), generation as (
        insert into regimen.generations (id, user_id, at)
        select generation_id, user_id, now() from counted
    ), calculated as (
        update public.quiz_results quiz set calculations = (
            select calculations from counted
            where quiz_result_id = quiz.id and user_id = quiz.user_id limit 1)
        where quiz.id = any(array(select quiz_result_id from counted))
          and exists (select from counted
                      where quiz_result_id = quiz.id and user_id = quiz.user_id offset 0)
    ), accepted as (
        insert into regimen.jobs (
            id, user_id, generation_id, kind, class, quiz_result_id, input, callback_url,
            trace_context, run_at, dispatched_at, created_at, expires_at, updated_at,
            last_seq, warnings, cautions)
        select job.id, user_id, generation_id, job.kind, class, quiz_result_id, input,
               callback_url, trace_context, now(),
               case when standing + job.place <= per_user then now() end,
               now(), now() + make_interval(secs => expires_in), now(), 1, warnings, cautions
        from unnest($18::uuid[], $19::text[], $20::bigint[], $21::bigint[])
             as job (id, kind, request, place)
        join counted on counted.n = job.request
        returning id, generation_id, dispatched_at
    ), event as (
        insert into regimen.job_events (job_id, seq, at, kind)
        select id, 1, now(), 'accepted' from accepted
    ), answer as (
        insert into regimen.idempotency_keys
            (user_id, key, body_hash, status, response, job_ids, created_at, expires_at)
        select user_id, key, body_hash, status, response,
               array(select id from accepted where generation_id = counted.generation_id),
               now(), now() + interval '24 hours'
        from counted where key is not null
        on conflict (user_id, key) do update set
            body_hash = excluded.body_hash, status = excluded.status,
            response = excluded.response, job_ids = excluded.job_ids,
            created_at = excluded.created_at,
            expires_at = excluded.expires_at
        where regimen.idempotency_keys.expires_at <= now()
    )
    select allowed, used, ends_at, now() as at,
           n in (select n from counted) as counted,
           array(select id from accepted
                 where generation_id = request.generation_id and dispatched_at is not null
           ) as dispatch
    from request order by n"
);

const FREE_KEYS: &str = "-- lock idempotency keys
    select pg_try_advisory_xact_lock(hashtextextended(user_id::text || ':' || key, 7)) as free
    from unnest($1::uuid[], $2::text[]) with ordinality as asked (user_id, key, n) order by n";

const FIND_ANSWERS: &str = "-- find idempotent answers
    select kept.body_hash, kept.response, kept.job_ids
    from unnest($1::uuid[], $2::text[]) with ordinality as asked (user_id, key, n)
    left join lateral (
        select body_hash, response, job_ids from regimen.idempotency_keys
        where user_id = asked.user_id and key = asked.key and expires_at > now()
    ) kept on true
    order by n";

/// The outcome of a request.
#[derive(Debug)]
pub enum Acceptance {
    /// Committed.
    Accepted {
        /// The dispatch list of the jobs.
        class: JobClass,
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

/// Accepts the jobs, or returns the response stored under the same key. Creates the user's
/// profile if there is none, and waits for whoever has it locked.
///
/// # Errors
/// Nothing was written.
pub async fn accept(client: &mut Client, new: &NewJobs) -> Result<Acceptance, DbError> {
    let tx = client.transaction();
    let earlier = earlier_answers(&tx, &[new]).await?.pop().flatten();
    if let Some(earlier) = earlier {
        tx.rollback().await?;
        return Ok(earlier);
    }
    // Statements that are not prepared would break the pipeline's order.
    tx.prepare_cached(ENSURE_PROFILE).await?;
    tx.prepare_cached(LOCK).await?;
    let alone = [new];
    let (_, held) = try_join!(
        accounts::ensure_profile(&tx, new.user_id, new.email.as_deref()),
        lock(&tx, LOCK, &alone),
    )?;
    let held = held.first().copied().unwrap_or_default();
    if !held.own_quiz {
        tx.rollback().await?;
        return Ok(Acceptance::QuizMissing);
    }
    let written = write(&tx, &[(new, held.class)], Then::Wait).await?.pop();
    // Awaited, so that the key is free again when the caller has the response.
    match written {
        Some(accepted @ Acceptance::Accepted { .. }) => {
            tx.commit().await?;
            Ok(accepted)
        }
        Some(refused) => {
            tx.rollback().await?;
            Ok(refused)
        }
        None => Err(DbError::Rows { statement: "accept jobs", expected: 1, found: 0 }),
    }
}

/// Accepts the jobs of several users in one transaction, each request with an outcome of
/// its own. `None` for one that has to go alone ([`accept`]): its user has no profile yet,
/// or another request in the list, its quiz is missing, or somebody has a row of it locked.
///
/// # Errors
/// Nothing was written, for any of them. What the server refuses may be the fault of a
/// single one.
pub async fn accept_together(
    client: &mut Client,
    requests: &[&NewJobs],
) -> Result<Vec<Option<Acceptance>>, DbError> {
    let tx = client.transaction();
    // Statements that are not prepared would break the pipeline's order, in which the first
    // error is the cause of the others.
    for sql in [FREE_KEYS, FIND_ANSWERS, LOCK_FREE, ACCEPT] {
        tx.prepare_cached(sql).await?;
    }
    // The rows of requests that are answered already are locked to no purpose, which costs
    // less than to wait for the answers first.
    let (mut outcomes, held) =
        try_join!(earlier_answers(&tx, requests), lock(&tx, LOCK_FREE, requests))?;
    let mut users = HashSet::new();
    let (free, asked): (Vec<usize>, Vec<_>) = (0..requests.len())
        .zip(held)
        .filter(|(n, held)| {
            let new = outcomes[*n].is_none() && users.insert(requests[*n].user_id);
            new && held.profile && held.own_quiz
        })
        .map(|(n, held)| (n, (requests[n], held.class)))
        .unzip();
    if asked.is_empty() {
        tx.rollback().await?;
        return Ok(outcomes);
    }
    let written = write(&tx, &asked, Then::Commit).await?;
    for (n, outcome) in free.into_iter().zip(written) {
        outcomes[n] = Some(outcome);
    }
    Ok(outcomes)
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
    let tx = client.transaction();
    let earlier = answers(&tx, &[(user_id, key, body_hash)]).await?.pop().flatten();
    tx.rollback().await?;
    Ok(earlier)
}

/// What is held of a request.
#[derive(Debug, Clone, Copy)]
struct HeldRows {
    profile: bool,
    own_quiz: bool,
    class: JobClass,
}

impl Default for HeldRows {
    fn default() -> Self {
        Self { profile: false, own_quiz: false, class: JobClass::Free }
    }
}

async fn lock(
    tx: &Transaction<'_>,
    sql: &str,
    requests: &[&NewJobs],
) -> Result<Vec<HeldRows>, DbError> {
    let users: Vec<Uuid> = requests.iter().map(|new| new.user_id).collect();
    let quizzes: Vec<Option<Uuid>> = requests.iter().map(|new| new.quiz_result_id).collect();
    let statement = tx.prepare_cached(sql).await?;
    let rows = tx.query(&statement, &[&users, &quizzes]).await?;
    let held = |row: &Row| {
        let plan: Option<&str> = row.try_get("plan_id")?;
        Ok(HeldRows {
            profile: row.try_get("held")?,
            own_quiz: row.try_get("own_quiz")?,
            class: PlanTier::of(plan, row.try_get("active")?).into(),
        })
    };
    rows.iter().map(held).collect()
}

/// What follows the writing.
#[derive(Clone, Copy)]
enum Then {
    Commit,
    /// The outcome decides.
    Wait,
}

/// Writes requests of different users, whose rows are held.
async fn write(
    tx: &Transaction<'_>,
    requests: &[(&NewJobs, JobClass)],
    then: Then,
) -> Result<Vec<Acceptance>, DbError> {
    macro_rules! each {
        (|$new:ident| $value:expr) => {
            requests.iter().map(|&($new, _)| $value).collect::<Vec<_>>()
        };
    }
    macro_rules! kept {
        (|$kept:ident| $value:expr) => {
            each!(|new| new.idempotency.as_ref().map(|$kept| $value))
        };
    }
    let classes: Vec<&str> = requests.iter().map(|(_, class)| class.as_str()).collect();
    let jobs = || {
        (1_i64..).zip(requests).flat_map(|(n, (new, _))| {
            (1_i64..).zip(&new.jobs).map(move |(place, job)| (job, n, place))
        })
    };
    let statement = tx.prepare_cached(ACCEPT).await?;
    let values: [&(dyn ToSql + Sync); 21] = [
        &each!(|new| new.user_id),
        &each!(|new| new.generation_id),
        &classes,
        &each!(|new| new.quiz_result_id),
        &each!(|new| Json(&new.input)),
        &each!(|new| new.callback_url.as_deref()),
        &each!(|new| new.trace_context.as_deref()),
        &each!(|new| new.warnings.as_ref().map(Json)),
        &each!(|new| new.cautions.as_ref().map(Json)),
        &each!(|new| new.expires_in_seconds),
        &each!(|new| new.per_user),
        &each!(|new| new.monthly_quota),
        &kept!(|kept| kept.key.as_str()),
        &kept!(|kept| kept.body_hash.as_slice()),
        &kept!(|kept| kept.status),
        &kept!(|kept| Json(&kept.response)),
        &each!(|new| new.calculations.as_ref().map(Json)),
        &jobs().map(|(job, ..)| job.id).collect::<Vec<_>>(),
        &jobs().map(|(job, ..)| job.kind.as_str()).collect::<Vec<_>>(),
        &jobs().map(|(_, n, _)| n).collect::<Vec<_>>(),
        &jobs().map(|(.., place)| place).collect::<Vec<_>>(),
    ];
    let rows = match then {
        Then::Commit => tx.commit_after(&statement, &[&values]).await?.pop().unwrap_or_default(),
        Then::Wait => tx.query(&statement, &values).await?,
    };
    let outcome = |(row, (_, class)): (&Row, &(&NewJobs, JobClass))| {
        if !row.try_get::<_, bool>("counted")? {
            return Ok(Acceptance::MonthUsedUp(Month::from_row(row)?));
        }
        let at = row.try_get("at")?;
        let next = |id| NextJob { id, class: *class, at, returned: false };
        let dispatch: Vec<Uuid> = row.try_get("dispatch")?;
        Ok(Acceptance::Accepted {
            class: *class,
            dispatch: dispatch.into_iter().map(next).collect(),
        })
    };
    rows.iter().zip(requests).map(outcome).collect()
}

/// What the keys of the requests decide already, `None` where they decide nothing.
async fn earlier_answers(
    tx: &Transaction<'_>,
    requests: &[&NewJobs],
) -> Result<Vec<Option<Acceptance>>, DbError> {
    let mut outcomes: Vec<Option<Acceptance>> = requests.iter().map(|_| None).collect();
    let (mut places, mut keys) = (Vec::new(), Vec::new());
    for (n, new) in requests.iter().enumerate() {
        if let Some(Idempotency { key, body_hash, .. }) = &new.idempotency {
            places.push(n);
            keys.push((new.user_id, key.as_str(), body_hash.as_slice()));
        }
    }
    for (n, outcome) in places.into_iter().zip(answers(tx, &keys).await?) {
        outcomes[n] = outcome;
    }
    Ok(outcomes)
}

/// The outcomes that the keys decide, each of a user, a key and the hash of a request.
async fn answers(
    tx: &Transaction<'_>,
    asked: &[(Uuid, &str, &[u8])],
) -> Result<Vec<Option<Acceptance>>, DbError> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<Uuid> = asked.iter().map(|(user, ..)| *user).collect();
    let keys: Vec<&str> = asked.iter().map(|(_, key, _)| *key).collect();
    // A concurrent second request meets the lock, not the row: it gets its answer at once
    // instead of waiting for the first one's commit. The rows are read after the locks.
    let locked = tx.prepare_cached(FREE_KEYS).await?;
    let found = tx.prepare_cached(FIND_ANSWERS).await?;
    let of: [&(dyn ToSql + Sync); 2] = [&users, &keys];
    let (locked, found) = try_join!(tx.query(&locked, &of), tx.query(&found, &of))?;
    let rows = locked.iter().zip(&found).zip(asked);
    rows.map(|((locked, found), (.., body_hash))| answer(locked, found, body_hash)).collect()
}

fn answer(locked: &Row, found: &Row, body_hash: &[u8]) -> Result<Option<Acceptance>, DbError> {
    if !locked.try_get::<_, bool>("free")? {
        return Ok(Some(Acceptance::InFlight));
    }
    let Some(kept) = found.try_get::<_, Option<&[u8]>>("body_hash")? else { return Ok(None) };
    if kept != body_hash {
        return Ok(Some(Acceptance::OtherBody));
    }
    let jobs: Option<Vec<Uuid>> = found.try_get("job_ids")?;
    let response = found.try_get("response")?;
    Ok(Some(Acceptance::Replayed(Replay { response, jobs: jobs.unwrap_or_default() })))
}
