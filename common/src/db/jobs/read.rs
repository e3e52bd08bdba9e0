//! Reads jobs of one owner, or for operators of anybody.

use std::collections::HashMap;
use std::str::FromStr;

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::db::planner::by_index;
use crate::db::{Client, DbError};
use crate::job::{JobState, PlanKind, UnknownName};

/// A job as its owner sees it.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// Its request.
    pub generation_id: Uuid,
    /// The kind of plan.
    pub kind: PlanKind,
    /// Its state.
    pub state: JobState,
    /// The stage of its round.
    pub stage: String,
    /// Its quiz.
    pub quiz_result_id: Option<Uuid>,
    /// Claims that counted.
    pub attempts: i32,
    /// Retry rounds taken.
    pub rounds: i32,
    /// Not before this time.
    pub run_at: DateTime<Utc>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When a worker first held it.
    pub first_claimed_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// A job not started by then expires.
    pub expires_at: DateTime<Utc>,
    /// The number of its latest event: its revision.
    pub last_seq: i32,
    /// The provider of the plan.
    pub provider: Option<String>,
    /// The model of the plan.
    pub model: Option<String>,
    /// What it cost so far, millionths of a US dollar.
    pub cost_micros: i64,
    /// The saved plan.
    pub plan_id: Option<Uuid>,
    /// The failure code.
    pub error_code: Option<String>,
    /// The error text for people.
    pub error_detail: Option<String>,
    /// Warnings about the answers.
    pub warnings: Option<Value>,
    /// What speaks for caution.
    pub cautions: Option<Value>,
    /// The plan, once it exists.
    pub plan: Option<Value>,
}

pub(super) const COLUMNS: &str = "j.id, j.user_id, j.generation_id, j.kind, j.state, j.stage, \
    j.quiz_result_id, j.attempts, j.rounds, j.run_at, j.created_at, j.first_claimed_at, \
    j.updated_at, j.finished_at, j.expires_at, j.last_seq, j.provider, j.model, j.cost_micros, \
    j.plan_id, j.error_code, j.error_detail, j.warnings, j.cautions";

impl JobRow {
    pub(super) fn from_row(row: &Row, plan: Option<Value>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("id")?,
            user_id: row.try_get("user_id")?,
            generation_id: row.try_get("generation_id")?,
            kind: named(row, "kind")?,
            state: named(row, "state")?,
            stage: row.try_get("stage")?,
            quiz_result_id: row.try_get("quiz_result_id")?,
            attempts: row.try_get("attempts")?,
            rounds: row.try_get("rounds")?,
            run_at: row.try_get("run_at")?,
            created_at: row.try_get("created_at")?,
            first_claimed_at: row.try_get("first_claimed_at")?,
            updated_at: row.try_get("updated_at")?,
            finished_at: row.try_get("finished_at")?,
            expires_at: row.try_get("expires_at")?,
            last_seq: row.try_get("last_seq")?,
            provider: row.try_get("provider")?,
            model: row.try_get("model")?,
            cost_micros: row.try_get("cost_micros")?,
            plan_id: row.try_get("plan_id")?,
            error_code: row.try_get("error_code")?,
            error_detail: row.try_get("error_detail")?,
            warnings: row.try_get("warnings")?,
            cautions: row.try_get("cautions")?,
            plan,
        })
    }
}

/// One job of `user_id` with its plan, or of anybody when `None` (operators).
///
/// # Errors
/// The query failed.
pub async fn job<C: GenericClient>(
    client: &C,
    job_id: Uuid,
    user_id: Option<Uuid>,
) -> Result<Option<JobRow>, DbError> {
    let statement = client
        .prepare_cached(&format!(
            "-- job
             select {COLUMNS}, coalesce(m.plan_data, w.plan_data) as plan
             from regimen.jobs j
             left join public.ai_meal_plans m on j.kind = 'meal' and m.id = j.plan_id
             left join public.ai_workout_plans w on j.kind = 'workout' and w.id = j.plan_id
             where j.id = $1 and ($2::uuid is null or j.user_id = $2)"
        ))
        .await?;
    let row = client.query_opt(&statement, &[&job_id, &user_id]).await?;
    row.map(|row| JobRow::from_row(&row, row.try_get("plan")?)).transpose()
}

/// The state and revision of each job that still exists, for many at once.
///
/// # Errors
/// The query failed.
pub async fn revisions<C: GenericClient>(
    client: &C,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, JobState, i32)>, DbError> {
    let statement = client
        .prepare_cached(
            "-- revisions
             select id, state, last_seq from regimen.jobs where id = any($1)",
        )
        .await?;
    let rows = client.query(&statement, &[&ids]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("id")?, named(row, "state")?, row.try_get("last_seq")?)))
        .collect()
}

/// The jobs of a user to list.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this kind.
    pub kind: Option<PlanKind>,
    /// Only older than this job (its time and id).
    pub before: Option<(DateTime<Utc>, Uuid)>,
    /// The highest number.
    pub limit: i64,
}

/// A user's jobs, newest first, without their plans.
///
/// # Errors
/// The query failed.
pub async fn jobs_of_user(
    client: &mut Client,
    user_id: Uuid,
    filter: &ListFilter,
) -> Result<Vec<JobRow>, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(&format!(
            "-- jobs of user
             select {COLUMNS} from regimen.jobs j
             where j.user_id = $1
               and ($2::text is null or j.state = $2)
               and ($3::text is null or j.kind = $3)
               and (j.created_at, j.id) < (coalesce($4::timestamptz, 'infinity'),
                   coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
             order by j.created_at desc, j.id desc limit $6"
        ))
        .await?;
    let rows = tx
        .query(
            &statement,
            &[
                &user_id,
                &filter.state.map(JobState::as_str),
                &filter.kind.map(PlanKind::as_str),
                &filter.before.map(|(at, _)| at),
                &filter.before.map(|(_, id)| id),
                &filter.limit,
            ],
        )
        .await?;
    tx.rollback().await?;
    rows.iter().map(|row| JobRow::from_row(row, None)).collect()
}

/// The targets for which the plans of jobs are built, as their workers read them.
///
/// # Errors
/// The query failed.
pub async fn targets<C: GenericClient>(
    client: &C,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Value>, DbError> {
    let statement = client
        .prepare_cached(
            "-- targets
             select id, coalesce(input -> 'targets', 'null') as targets from regimen.jobs
             where id = any($1)",
        )
        .await?;
    let rows = client.query(&statement, &[&ids]).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("targets")?))).collect()
}

/// How far back [`generation_of`] looks.
const NEWEST: i32 = 200;

/// The newest job of each kind of a user, among the 200 newest, for the legacy status
/// route.
///
/// # Errors
/// The query failed.
pub async fn generation_of(client: &mut Client, user_id: Uuid) -> Result<Vec<JobRow>, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(&format!(
            "-- newest job of each kind
             with newest as materialized (
                 select * from regimen.jobs where user_id = $1
                 order by created_at desc, id desc limit {NEWEST}
             )
             select {COLUMNS} from (values ('meal'), ('workout')) kinds (kind)
             cross join lateral (
                 select * from newest where newest.kind = kinds.kind limit 1
             ) j"
        ))
        .await?;
    let rows = tx.query(&statement, &[&user_id]).await?;
    tx.rollback().await?;
    rows.iter().map(|row| JobRow::from_row(row, None)).collect()
}

/// Reads a column that holds one of an enum's names.
pub(in crate::db) fn named<T: FromStr<Err = UnknownName>>(
    row: &Row,
    column: &'static str,
) -> Result<T, DbError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|source| DbError::Value { column, source })
}
