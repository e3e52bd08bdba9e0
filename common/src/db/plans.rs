//! SQL of the app's meal and workout plans, with the columns that its front end
//! reads.

use std::collections::HashSet;
use std::time::Duration;

use crate::db::{GenericClient, Transaction};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use futures_util::join;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::DbError;
use crate::job::PlanKind;

/// A verified plan to store.
#[derive(Debug, Clone)]
pub struct NewPlan<'a> {
    /// Its id, chosen by the caller.
    pub id: Uuid,
    /// Its user.
    pub user_id: Uuid,
    /// Its quiz; left out when that is gone or another user's.
    pub quiz_result_id: Option<Uuid>,
    /// When it was requested: the app shows how long it took.
    pub requested_at: DateTime<Utc>,
    /// The plan in the front end's format.
    pub plan_data: &'a RawValue,
    /// The columns beside it, by kind.
    pub columns: PlanColumns<'a>,
}

/// The statements of both kinds differ only in these names, which are our own.
struct Table {
    name: &'static str,
    /// The kind in the names of statements.
    kind: &'static str,
    /// The columns of [`PlanColumns`], in the order of its members.
    beside: [&'static str; 3],
}

impl Table {
    fn of(kind: PlanKind) -> Self {
        match kind {
            PlanKind::Meal => Self {
                name: "public.ai_meal_plans",
                kind: "meal",
                beside: ["daily_calories", "preferences", "restrictions"],
            },
            PlanKind::Workout => Self {
                name: "public.ai_workout_plans",
                kind: "workout",
                beside: ["workout_type", "duration_per_session", "frequency_per_week"],
            },
        }
    }
}

/// The columns beside a plan, for the app's lists and filters.
#[derive(Debug, Clone, Copy)]
pub enum PlanColumns<'a> {
    /// Of a meal plan.
    Meal {
        /// `goalCalories`, kcal a day.
        daily_calories: i32,
        /// JSON text of the quiz's `preferredExercise`, as the app has it.
        preferences: &'a str,
        /// The quiz's `dietaryStyle`.
        restrictions: &'a str,
    },
    /// Of a workout plan.
    Workout {
        /// JSON text of the quiz's `preferredExercise`.
        workout_type: &'a str,
        /// The quiz's `exerciseFrequency`, as the app has it.
        duration_per_session: &'a str,
        /// `weekly_summary.total_workout_days` of the plan.
        frequency_per_week: i32,
    },
}

impl PlanColumns<'_> {
    /// The kind of plan these columns belong to.
    pub fn kind(&self) -> PlanKind {
        match self {
            Self::Meal { .. } => PlanKind::Meal,
            Self::Workout { .. } => PlanKind::Workout,
        }
    }
}

/// A stored plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivePlan {
    /// Its id.
    pub id: Uuid,
    /// Its quiz, if that still exists.
    pub quiz_result_id: Option<Uuid>,
    /// The plan in the front end's format.
    pub plan_data: Value,
    /// When it was generated; unknown in old rows.
    pub generated_at: Option<DateTime<Utc>>,
}

/// The user's active plan of a kind. Rows of the replaced service without a plan do not
/// count.
///
/// # Errors
/// Postgres refused.
pub async fn active_plan(
    client: &impl GenericClient,
    user_id: Uuid,
    kind: PlanKind,
) -> Result<Option<ActivePlan>, DbError> {
    let Table { name, kind, .. } = Table::of(kind);
    let sql = format!(
        "-- active {kind} plan
         select id, quiz_result_id, plan_data, generated_at from {name}
         where user_id = $1 and is_active and plan_data is not null
         order by generated_at desc nulls last, id limit 1"
    );
    found(client, &sql, &[&user_id]).await
}

/// The state of a generation in the newest row of a plan table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// The row.
    pub id: Uuid,
    /// As the app writes it: `generating`, `completed` or `failed`.
    pub status: Option<String>,
    /// Whether it has a plan.
    pub has_plan: bool,
    /// Why it failed.
    pub error_message: Option<String>,
    /// When it was generated or started; unknown in old rows.
    pub at: Option<DateTime<Utc>>,
    /// Whether it was started more than `stale_after` ago, by the database's clock.
    pub stale: bool,
}

/// The user's newest row of a kind, of any origin.
///
/// # Errors
/// Postgres refused.
pub async fn newest_row(
    client: &impl GenericClient,
    user_id: Uuid,
    kind: PlanKind,
    stale_after: Duration,
) -> Result<Option<PlanRow>, DbError> {
    let Table { name, kind, .. } = Table::of(kind);
    let sql = format!(
        "-- newest {kind} plan row
         select id, status, plan_data is not null as has_plan, error_message,
                greatest(created_at, generated_at) as at,
                coalesce(greatest(created_at, generated_at)
                    < now() - make_interval(secs => $2), true) as stale
         from {name} where user_id = $1
         order by greatest(created_at, generated_at) desc nulls last, id limit 1"
    );
    let statement = client.prepare_cached(&sql).await?;
    let row = client.query_opt(&statement, &[&user_id, &stale_after.as_secs_f64()]).await?;
    row.map(|row| {
        Ok(PlanRow {
            id: row.try_get("id")?,
            status: row.try_get("status")?,
            has_plan: row.try_get("has_plan")?,
            error_message: row.try_get("error_message")?,
            at: row.try_get("at")?,
            stale: row.try_get("stale")?,
        })
    })
    .transpose()
}

/// Stores a plan as the user's only active one of its kind, in the caller's transaction.
/// Works with and without the app's trigger that does the same. Saves of one user are
/// serialised, so that two at once leave one active plan.
///
/// A row that waits for the plan of this quiz becomes the plan. If the app allows one row
/// per quiz, or one row per user, the conflicting row (an older plan, a failed one)
/// becomes this plan. The row keeps its id. Returns the id of the row; `None` when the
/// profile is gone, and nothing was written.
///
/// # Errors
/// Nothing was written.
pub async fn save_plan(tx: &Transaction<'_>, plan: &NewPlan<'_>) -> Result<Option<Uuid>, DbError> {
    let there = lock_profiles(tx, &[plan.user_id], Locked::Wait).await?;
    if there.is_empty() {
        return Ok(None);
    }
    save(tx, plan).await.map(Some)
}

/// The same for plans of several users, one of each, whose profiles are locked.
///
/// # Errors
/// Nothing was written.
pub(super) async fn save_plans(
    tx: &Transaction<'_>,
    plans: &[&NewPlan<'_>],
) -> Result<Vec<Uuid>, DbError> {
    DbError::all_or_cause(join_all(plans.iter().map(|plan| save(tx, plan))).await)
}

/// Stores the plan of a user whose profile is locked.
async fn save(tx: &Transaction<'_>, plan: &NewPlan<'_>) -> Result<Uuid, DbError> {
    let table = Table::of(plan.columns.kind());
    let data = Json(plan.plan_data);
    let (first, second, third): (&(dyn ToSql + Sync), &(dyn ToSql + Sync), &(dyn ToSql + Sync)) =
        match &plan.columns {
            PlanColumns::Meal { daily_calories, preferences, restrictions } => {
                (daily_calories, preferences, restrictions)
            }
            PlanColumns::Workout { workout_type, duration_per_session, frequency_per_week } => {
                (workout_type, duration_per_session, frequency_per_week)
            }
        };
    let values: [&(dyn ToSql + Sync); 8] = [
        &plan.id,
        &plan.user_id,
        &plan.quiz_result_id,
        &data,
        first,
        second,
        third,
        &plan.requested_at,
    ];
    let (deactivate, insert, replace) = (deactivate(&table), insert(&table), replace(&table));
    // Statements that are not prepared would break the pipeline's order.
    let deactivate = tx.prepare_cached(&deactivate).await?;
    tx.prepare_cached(&insert).await?;
    // Any number of rows: none before the first plan, several in inconsistent old data.
    let deactivated = async { tx.execute(&deactivate, &[&plan.user_id]).await.map(|_| None) };
    let (deactivated, inserted) = join!(deactivated, written(tx, &insert, &values));
    let mut saved = DbError::all_or_cause([deactivated, inserted])?.pop().flatten();
    // The conflicting row may be deleted between the two statements.
    for _ in 0..SAVE_TRIES {
        if saved.is_none() {
            saved = written(tx, &replace, &values).await?;
        }
        if saved.is_none() {
            saved = written(tx, &insert, &values).await?;
        }
    }
    saved.ok_or(DbError::Rows { statement: "save plan", expected: 1, found: 0 })
}

fn deactivate(Table { name, kind, .. }: &Table) -> String {
    format!(
        "-- deactivate {kind} plans
         update {name} set is_active = false where user_id = $1 and is_active"
    )
}

const SAVE_TRIES: usize = 3;

/// No conflict target, because the constraints are the app's.
fn insert(Table { name, kind, beside: [first, second, third] }: &Table) -> String {
    format!(
        "-- save {kind} plan
         with waiting as (
             select id from {name}
             where user_id = $2 and quiz_result_id = $3 and plan_data is null
                 and status = 'generating'
             order by created_at desc nulls last, id limit 1 for update
         ), filled as (
             update {name} set plan_data = $4, {first} = $5, {second} = $6, {third} = $7,
                 status = 'completed', error_message = null, is_active = true,
                 generated_at = now(), updated_at = now()
             where id = (select id from waiting)
             returning id
         ), added as (
             insert into {name} (id, user_id, quiz_result_id, plan_data, {first}, {second}, {third},
                 status, is_active, generated_at, created_at, updated_at)
             select $1, $2,
                 (select id from public.quiz_results where id = $3 and user_id = $2 for key share),
                 $4, $5, $6, $7, 'completed', true, now(), $8, now()
             where not exists (select from waiting)
             on conflict do nothing
             returning id
         )
         select id from filled union all select id from added"
    )
}

/// The conflicting row is that of the same quiz if there is one, else the user's only
/// row.
fn replace(Table { name, kind, beside: [first, second, third] }: &Table) -> String {
    format!(
        "-- replace {kind} plan
         update {name} set
             quiz_result_id =
                 (select id from public.quiz_results where id = $3 and user_id = $2 for key share),
             plan_data = $4, {first} = $5, {second} = $6, {third} = $7,
             status = 'completed', error_message = null, is_active = true,
             generated_at = now(), created_at = $8, updated_at = now()
         where id = (
             select id from {name} where user_id = $2 and id <> $1
             order by quiz_result_id is not distinct from $3 desc, created_at desc nulls last, id
             limit 1 for update)
         returning id"
    )
}

/// The id of the row that a statement wrote, if it wrote one.
async fn written(
    tx: &Transaction<'_>,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Option<Uuid>, DbError> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.query_opt(&statement, values).await?.map(|row| row.get("id")))
}

/// What to do about a profile that somebody has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locked {
    /// Wait for it.
    Wait,
    /// Leave it out.
    Skip,
}

const LOCK: &str = "-- lock profiles
    select id from public.profiles where id = any((select $1::uuid[])::uuid[])
    order by id for no key update";
const LOCK_FREE: &str = "-- lock free profiles
    select id from public.profiles where id = any((select $1::uuid[])::uuid[])
    order by id for no key update skip locked";

/// Locks profiles in the order of their ids, so that two transactions cannot deadlock.
/// Returns those that it locked.
pub(super) async fn lock_profiles(
    tx: &Transaction<'_>,
    users: &[Uuid],
    locked: Locked,
) -> Result<HashSet<Uuid>, DbError> {
    let sql = match locked {
        Locked::Wait => LOCK,
        Locked::Skip => LOCK_FREE,
    };
    let statement = tx.prepare_cached(sql).await?;
    let rows = tx.query(&statement, &[&users]).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

async fn found(
    client: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Option<ActivePlan>, DbError> {
    let statement = client.prepare_cached(sql).await?;
    client.query_opt(&statement, values).await?.map(|row| read(&row)).transpose()
}

fn read(row: &Row) -> Result<ActivePlan, DbError> {
    Ok(ActivePlan {
        id: row.try_get("id")?,
        quiz_result_id: row.try_get("quiz_result_id")?,
        plan_data: row.try_get("plan_data")?,
        generated_at: row.try_get("generated_at")?,
    })
}
