//! Reads for many waiting requests in one statement: changes, state and events
//! of jobs, and the length of the queue.
//!
//! The owner of a job is returned with it; the caller compares.

use std::collections::HashMap;
use std::time::Duration;

use crate::db::{Client, GenericClient};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::read::{COLUMNS, JobRow, named};
use crate::db::DbError;
use crate::db::planner::by_index;
use crate::job::{JobClass, JobState};

/// The version of a job. Two equal marks describe the same state of the same job, except
/// for its place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its user.
    pub user_id: Uuid,
    /// Its state.
    pub state: JobState,
    /// The number of its latest event.
    pub seq: i32,
    /// The number of its judged attempts, which changes between two events.
    pub judged: i64,
    /// When its plan was last edited, Unix microseconds: users can edit their plans.
    pub plan_edited: Option<i64>,
    /// The revision of its callback, which changes after the job's end.
    pub told: i32,
}

/// Selects the jobs `j` whose ids are in an array. Postgres assumes ten elements for an
/// array that it cannot see. If it saw the usual single id, it would consider a custom
/// plan cheaper than the generic one and plan anew at every run, which takes longer than
/// running it.
const ONE_OF: &str = "j.id = any((select $1::uuid[])::uuid[])";

/// The columns of a mark, for statements that call the job `j` and join its plan.
const MARK: &str = "j.user_id, j.state, j.last_seq,
    (select count(*) from regimen.job_attempts a
     where a.job_id = j.id and a.outcome is not null) as judged,
    coalesce((select cb.revision from regimen.callbacks cb where cb.job_id = j.id), 0) as told,
    (extract(epoch from coalesce(m.updated_at, w.updated_at)) * 1000000)::bigint as plan_edited";

const PLANS: &str = "left join public.ai_meal_plans m on j.kind = 'meal' and m.id = j.plan_id
    left join public.ai_workout_plans w on j.kind = 'workout' and w.id = j.plan_id";

impl Mark {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            user_id: row.try_get("user_id")?,
            state: named(row, "state")?,
            seq: row.try_get("last_seq")?,
            judged: row.try_get("judged")?,
            plan_edited: row.try_get("plan_edited")?,
            told: row.try_get("told")?,
        })
    }
}

/// The marks of those of `ids` that exist.
///
/// # Errors
/// The query failed.
pub async fn marks<C: GenericClient>(
    client: &C,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Mark>, DbError> {
    let statement = client
        .prepare_cached(&format!(
            "-- marks
             select j.id, {MARK} from regimen.jobs j {PLANS} where {ONE_OF}"
        ))
        .await?;
    let rows = client.query(&statement, &[&ids]).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, Mark::from_row(row)?))).collect()
}

/// One call to a provider.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AttemptRow {
    /// 1, 2, 3 … over the whole life of the job.
    pub n: i32,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// `ok`, or the failure class; none before the reply is judged.
    pub outcome: Option<String>,
    /// The error in the provider's own text: for operators only.
    pub error: Option<String>,
    /// HTTP status, where there was one.
    pub http_status: Option<i32>,
    /// When the call began.
    pub started_at: DateTime<Utc>,
    /// When the reply arrived or the call was given up.
    pub finished_at: Option<DateTime<Utc>>,
    /// Prompt tokens.
    pub input_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Millionths of a US dollar.
    pub cost_micros: i64,
    /// The provider's counts were missing or impossible.
    pub estimated: bool,
}

/// A job's callback, as the job's owner sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CallbackRow {
    /// Its state; `pending` before the job's end.
    pub state: String,
    /// The number of claims.
    pub attempts: i32,
    /// The status of the latest response.
    pub http_status: Option<i32>,
    /// Why the latest try failed.
    pub error: Option<String>,
    /// Not before this time, after a failed try.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was delivered or became dead.
    pub settled_at: Option<DateTime<Utc>>,
}

/// Everything that is shown of a job.
#[derive(Debug, Clone)]
pub struct Details {
    /// The job, without its plan.
    pub row: JobRow,
    /// Its version.
    pub mark: Mark,
    /// Its class.
    pub class: JobClass,
    /// When it became claimable; none while it waits for its user's other jobs, or for
    /// `run_at`.
    pub turn_since: Option<DateTime<Utc>>,
    /// While it waits for its user's other jobs: how many of those come first.
    pub own_ahead: i64,
    /// Its provider calls, oldest first.
    pub attempts: Vec<AttemptRow>,
    /// Its callback, if it has one.
    pub callback: Option<CallbackRow>,
    /// The plan, once it exists, as Postgres writes it.
    pub plan: Option<Box<RawValue>>,
}

/// The details of those of `ids` that exist.
///
/// # Errors
/// The query failed.
pub async fn details<C: GenericClient>(
    client: &C,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Details>, DbError> {
    let statement = client
        .prepare_cached(&format!(
            "-- details
             select {COLUMNS}, {MARK}, j.class, j.dispatched_at,
                    coalesce(m.plan_data, w.plan_data) as plan,
                    case when j.state = 'queued' and j.dispatched_at is null then (
                        select count(*) from (
                            select from regimen.jobs o
                            where o.user_id = j.user_id and o.state = 'queued'
                              and o.dispatched_at is null
                              and (o.run_at, o.created_at, o.id) < (j.run_at, j.created_at, j.id)
                            limit 1000) own)
                    else 0 end as own_ahead,
                    (select coalesce(jsonb_agg(jsonb_build_object(
                        'n', a.n, 'provider', a.provider, 'model', a.model,
                        'outcome', a.outcome, 'error', a.error_detail,
                        'http_status', a.http_status, 'started_at', a.started_at,
                        'finished_at', a.finished_at, 'input_tokens', a.input_tokens,
                        'output_tokens', a.output_tokens, 'cost_micros', a.cost_micros,
                        'estimated', a.estimated)
                        order by a.n), '[]')
                     from regimen.job_attempts a where a.job_id = j.id) as calls,
                    case when j.callback_url is null then null
                    when j.finished_at is null
                    then jsonb_build_object('state', 'pending', 'attempts', 0)
                    else (select jsonb_build_object(
                            'state', cb.state, 'attempts', cb.attempts,
                            'http_status', cb.http_status, 'error', cb.error,
                            'next_attempt_at', case when cb.state = 'waiting' then cb.run_at end,
                            'settled_at', cb.settled_at)
                        from regimen.callbacks cb where cb.job_id = j.id) end as callback
             from regimen.jobs j {PLANS} where {ONE_OF}"
        ))
        .await?;
    let rows = client.query(&statement, &[&ids]).await?;
    rows.iter()
        .map(|row| {
            let plan: Option<Json<Box<RawValue>>> = row.try_get("plan")?;
            let Json(attempts) = row.try_get("calls")?;
            let callback: Option<Json<CallbackRow>> = row.try_get("callback")?;
            let details = Details {
                row: JobRow::from_row(row, None)?,
                mark: Mark::from_row(row)?,
                class: named(row, "class")?,
                turn_since: row.try_get("dispatched_at")?,
                own_ahead: row.try_get("own_ahead")?,
                attempts,
                callback: callback.map(|Json(callback)| callback),
                plan: plan.map(|Json(plan)| plan),
            };
            Ok((details.row.id, details))
        })
        .collect()
}

/// One event of a job, for streaming. The kind stays a text, so that an older release
/// passes on kinds of a newer one.
#[derive(Debug, Clone, serde::Serialize)]
pub struct HistoryLine {
    /// 1, 2, 3 … per job, without gaps.
    pub seq: i32,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: String,
    /// Details by kind.
    pub data: Box<RawValue>,
}

/// For each pair of a job and an event number: the job's events after that number, oldest
/// first. Pairs without new events are left out.
///
/// # Errors
/// The query failed.
pub async fn histories<C: GenericClient>(
    client: &C,
    seen: &[(Uuid, i32)],
) -> Result<HashMap<(Uuid, i32), Vec<HistoryLine>>, DbError> {
    let statement = client
        .prepare_cached(
            "-- histories
             select seen.id, seen.seq as seen, e.seq, e.at, e.kind, e.data
             from unnest($1::uuid[], $2::int[]) as seen (id, seq)
             join regimen.job_events e on e.job_id = seen.id and e.seq > seen.seq
             order by seen.id, seen.seq, e.seq",
        )
        .await?;
    let (ids, seqs): (Vec<Uuid>, Vec<i32>) = seen.iter().copied().unzip();
    let mut histories: HashMap<_, Vec<HistoryLine>> = HashMap::new();
    for row in client.query(&statement, &[&ids, &seqs]).await? {
        let Json(data) = row.try_get("data")?;
        let line = HistoryLine {
            seq: row.try_get("seq")?,
            at: row.try_get("at")?,
            kind: row.try_get("kind")?,
            data,
        };
        histories.entry((row.try_get("id")?, row.try_get("seen")?)).or_default().push(line);
    }
    Ok(histories)
}

/// The queue of one class: the claimable jobs.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// When each job became claimable, oldest first, up to a limit.
    pub turns: Vec<DateTime<Utc>>,
    /// Jobs of the class that recently ended per second.
    pub pace: f64,
}

impl Line {
    /// How many jobs are before a waiting job of this class.
    ///
    /// A limited number of one user's jobs is claimable at once. A job that waits for its
    /// user's others is behind the whole queue, and behind those of them that became due
    /// before it.
    pub fn ahead(&self, job: &Details) -> i64 {
        match job.turn_since {
            Some(turn) => self.turns.partition_point(|other| *other < turn) as i64,
            None => self.turns.len() as i64 + job.own_ahead,
        }
    }
}

/// The queues of all classes. Reads at most `deepest` places of each; the pace covers the
/// last `window`, or the last 2,000 jobs if that is less.
///
/// # Errors
/// The query failed.
pub async fn lines(
    client: &mut Client,
    deepest: i64,
    window: Duration,
) -> Result<HashMap<JobClass, Line>, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- lines
             with recent as (
                 select class, finished_at from regimen.jobs
                 where finished_at > now() - make_interval(secs => $3)
                 order by finished_at desc limit 2000
             ), span as (
                 select case when count(*) = 2000
                        then greatest(extract(epoch from now() - min(finished_at))::float8, 0.001)
                        else $3 end as seconds
                 from recent
             )
             select c.class,
                    (select coalesce(array_agg(t.dispatched_at), '{}') from (
                        select dispatched_at from regimen.jobs
                        where class = c.class and state = 'queued' and dispatched_at is not null
                        order by dispatched_at limit $2) t) as turns,
                    (select count(*) from recent r where r.class = c.class)
                        / (select seconds from span) as pace
             from unnest($1::text[]) as c (class)",
        )
        .await?;
    let classes: Vec<&str> = JobClass::ALL.iter().map(|class| class.as_str()).collect();
    let rows = tx.query(&statement, &[&classes, &deepest, &window.as_secs_f64()]).await?;
    tx.rollback().await?;
    rows.iter()
        .map(|row| {
            let line = Line { turns: row.try_get("turns")?, pace: row.try_get("pace")? };
            Ok((named(row, "class")?, line))
        })
        .collect()
}
