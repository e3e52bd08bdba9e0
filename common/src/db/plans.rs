//! SQL of the app's meal and workout plans, with the columns its front end
//! reads.

use chrono::{DateTime, Utc};
use deadpool_postgres::{GenericClient, Transaction};
use serde_json::Value;
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
    /// Whose plan.
    pub user_id: Uuid,
    /// The quiz it answers; left out when that is gone or somebody else's.
    pub quiz_result_id: Option<Uuid>,
    /// The plan as the front end reads it.
    pub plan_data: &'a Value,
    /// The columns beside it, by kind.
    pub columns: PlanColumns<'a>,
}

/// What the app keeps beside a plan, for its lists and filters.
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
    /// The quiz it answers, if that is still there.
    pub quiz_result_id: Option<Uuid>,
    /// The plan as the front end reads it.
    pub plan_data: Value,
    /// When it was made; old rows may not tell.
    pub generated_at: Option<DateTime<Utc>>,
}

/// The user's active plan of a kind. Rows the replaced service left without a
/// plan in them do not count.
///
/// # Errors
/// Postgres refused.
pub async fn active_plan(
    client: &impl GenericClient,
    user_id: Uuid,
    kind: PlanKind,
) -> Result<Option<ActivePlan>, DbError> {
    let sql = match kind {
        PlanKind::Meal => {
            "-- active meal plan
             select id, quiz_result_id, plan_data, generated_at from public.ai_meal_plans
             where user_id = $1 and is_active and plan_data is not null
             order by generated_at desc nulls last, id limit 1"
        }
        PlanKind::Workout => {
            "-- active workout plan
             select id, quiz_result_id, plan_data, generated_at from public.ai_workout_plans
             where user_id = $1 and is_active and plan_data is not null
             order by generated_at desc nulls last, id limit 1"
        }
    };
    found(client, sql, &[&user_id]).await
}

/// One of the user's plans, active or not.
///
/// # Errors
/// Postgres refused.
pub async fn own_plan(
    client: &impl GenericClient,
    user_id: Uuid,
    kind: PlanKind,
    plan_id: Uuid,
) -> Result<Option<ActivePlan>, DbError> {
    let sql = match kind {
        PlanKind::Meal => {
            "-- own meal plan
             select id, quiz_result_id, plan_data, generated_at from public.ai_meal_plans
             where id = $2 and user_id = $1 and plan_data is not null"
        }
        PlanKind::Workout => {
            "-- own workout plan
             select id, quiz_result_id, plan_data, generated_at from public.ai_workout_plans
             where id = $2 and user_id = $1 and plan_data is not null"
        }
    };
    found(client, sql, &[&user_id, &plan_id]).await
}

/// Stores a plan as the user's only active one of its kind, in the caller's
/// transaction. Works with the app's trigger that does the same and without.
/// Saves of one user take turns, so that two at once leave one active plan.
///
/// # Errors
/// Nothing was written: Postgres refused, or the profile is gone.
pub async fn save_plan(tx: &Transaction<'_>, plan: &NewPlan<'_>) -> Result<(), DbError> {
    lock_profile(tx, plan.user_id).await?;
    deactivate(tx, plan.user_id, plan.columns.kind()).await?;
    let data = Json(plan.plan_data);
    let (statement, touched) = match plan.columns {
        PlanColumns::Meal { daily_calories, preferences, restrictions } => {
            let values: [&(dyn ToSql + Sync); 7] = [
                &plan.id,
                &plan.user_id,
                &plan.quiz_result_id,
                &data,
                &daily_calories,
                &preferences,
                &restrictions,
            ];
            ("save meal plan", insert(tx, INSERT_MEAL, &values).await?)
        }
        PlanColumns::Workout { workout_type, duration_per_session, frequency_per_week } => {
            let values: [&(dyn ToSql + Sync); 7] = [
                &plan.id,
                &plan.user_id,
                &plan.quiz_result_id,
                &data,
                &workout_type,
                &duration_per_session,
                &frequency_per_week,
            ];
            ("save workout plan", insert(tx, INSERT_WORKOUT, &values).await?)
        }
    };
    one_row(statement, touched)
}

const INSERT_MEAL: &str = "-- save meal plan
    insert into public.ai_meal_plans (id, user_id, quiz_result_id, plan_data, daily_calories,
        preferences, restrictions, status, is_active, generated_at, created_at, updated_at)
    values ($1, $2,
        (select id from public.quiz_results where id = $3 and user_id = $2 for key share),
        $4, $5, $6, $7, 'completed', true, now(), now(), now())";

const INSERT_WORKOUT: &str = "-- save workout plan
    insert into public.ai_workout_plans (id, user_id, quiz_result_id, plan_data, workout_type,
        duration_per_session, frequency_per_week, status, is_active, generated_at, created_at,
        updated_at)
    values ($1, $2,
        (select id from public.quiz_results where id = $3 and user_id = $2 for key share),
        $4, $5, $6, $7, 'completed', true, now(), now(), now())";

async fn insert(
    tx: &Transaction<'_>,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<u64, DbError> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.execute(&statement, values).await?)
}

async fn lock_profile(tx: &Transaction<'_>, user_id: Uuid) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- lock profile
             select 1 from public.profiles where id = $1 for no key update",
        )
        .await?;
    let rows = tx.query(&statement, &[&user_id]).await?;
    one_row("lock profile", rows.len() as u64)
}

async fn deactivate(tx: &Transaction<'_>, user_id: Uuid, kind: PlanKind) -> Result<(), DbError> {
    let sql = match kind {
        PlanKind::Meal => {
            "-- deactivate meal plans
             update public.ai_meal_plans set is_active = false where user_id = $1 and is_active"
        }
        PlanKind::Workout => {
            "-- deactivate workout plans
             update public.ai_workout_plans set is_active = false where user_id = $1 and is_active"
        }
    };
    let statement = tx.prepare_cached(sql).await?;
    // Any number: none before the first plan, several in untidy old data.
    tx.execute(&statement, &[&user_id]).await?;
    Ok(())
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

fn one_row(statement: &'static str, found: u64) -> Result<(), DbError> {
    if found == 1 { Ok(()) } else { Err(DbError::Rows { statement, expected: 1, found }) }
}
