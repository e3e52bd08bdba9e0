//! SQL of a user's data export: their own rows as JSON, a page at a time.

use uuid::Uuid;

use super::{DbError, GenericClient};

/// Rows of a user that are listed by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Quizzes and the targets computed from them.
    Quizzes,
    /// Meal plans.
    MealPlans,
    /// Workout plans.
    WorkoutPlans,
    /// Paid calls to providers.
    Usage,
}

/// Selects the ids first, by user alone, and then each row by its id alone, so that no
/// statistics lead the planner through others' rows, or through all of the user's for each.
macro_rules! page {
    ($name:literal, $table:literal, $id:literal, $row:literal) => {
        concat!(
            "-- export ",
            $name,
            "
             with own as materialized (
                 select ",
            $id,
            " as id from ",
            $table,
            " where user_id = $1
             ), page as materialized (
                 select id from own where $2::uuid is null or id > $2 order by id limit $3
             )
             select page.id, ",
            $row,
            "::text as row
             from page cross join lateral (
                 select * from ",
            $table,
            " where ",
            $id,
            " = page.id offset 0
             ) t
             order by page.id"
        )
    };
}

impl Rows {
    fn sql(self) -> &'static str {
        match self {
            Self::Quizzes => page!("quizzes", "public.quiz_results", "id", "row_to_json(t)"),
            Self::MealPlans => page!("meal plans", "public.ai_meal_plans", "id", "row_to_json(t)"),
            Self::WorkoutPlans => {
                page!("workout plans", "public.ai_workout_plans", "id", "row_to_json(t)")
            }
            Self::Usage => page!(
                "usage",
                "regimen.ai_usage",
                "attempt_id",
                "json_build_object('job_id', t.job_id, 'at', t.at, 'provider', t.provider,
                     'model', t.model, 'input_tokens', t.input_tokens,
                     'cached_tokens', t.cached_tokens, 'output_tokens', t.output_tokens,
                     'cost_usd', round(t.cost_micros / 1e6, 6), 'estimated', t.estimated)"
            ),
        }
    }
}

/// The user's profile as JSON text; none without one.
///
/// # Errors
/// Postgres failed.
pub async fn profile(client: &impl GenericClient, user: Uuid) -> Result<Option<String>, DbError> {
    let statement = client
        .prepare_cached(
            "-- export profile
             select row_to_json(t)::text as row from public.profiles t where id = $1",
        )
        .await?;
    let row = client.query_opt(&statement, &[&user]).await?;
    row.map(|row| Ok(row.try_get("row")?)).transpose()
}

/// Up to `limit` rows after `after`: the id of each, and the row as JSON text.
///
/// # Errors
/// Postgres failed.
pub async fn page(
    client: &impl GenericClient,
    rows: Rows,
    user: Uuid,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<(Uuid, String)>, DbError> {
    let statement = client.prepare_cached(rows.sql()).await?;
    let found = client.query(&statement, &[&user, &after, &limit]).await?;
    found.iter().map(|row| Ok((row.try_get("id")?, row.try_get("row")?))).collect()
}
