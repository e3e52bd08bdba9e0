//! SQL of profiles and quiz results.

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::DbError;
use crate::account::PlanTier;

/// Read first, because an insert that conflicts still writes to the table.
pub(super) const ENSURE_PROFILE: &str = "-- ensure profile
    insert into public.profiles (id, email, plan_id)
    select $1, coalesce($2, ''), 'free'
    where not exists (select 1 from public.profiles where id = $1)
    on conflict (id) do nothing";

/// `is not distinct from` keeps the index of a user's quizzes out: it is looked up by its id.
const FILL_IN_CALCULATIONS: &str = "-- fill in calculations
    update public.quiz_results set calculations = $3
    where id = $1 and user_id is not distinct from $2 and calculations is null";

/// Creates the user's profile if it is missing: the free plan, and `email` from the
/// token. `public.profiles.email` accepts no null, so a token without the claim leaves it
/// empty. An existing profile stays unchanged. Returns whether one was created.
///
/// # Errors
/// Postgres refused; on a database whose profiles refer to `auth.users`, also for a user
/// unknown there.
pub async fn ensure_profile(
    client: &impl GenericClient,
    user_id: Uuid,
    email: Option<&str>,
) -> Result<bool, DbError> {
    let statement = client.prepare_cached(ENSURE_PROFILE).await?;
    Ok(client.execute(&statement, &[&user_id, &email]).await? == 1)
}

/// A user found by their e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundUser {
    /// Their id.
    pub id: Uuid,
    /// The address.
    pub email: String,
    /// Their plan in the app.
    pub plan_id: Option<String>,
    /// When the profile was made.
    pub created_at: Option<DateTime<Utc>>,
}

/// The users whose e-mail address is `start` or begins with it, ignoring case: an exact
/// match comes first. Reads along the index of addresses, `limit` rows at most.
///
/// # Errors
/// Postgres refused.
pub async fn users_by_email(
    client: &impl GenericClient,
    start: &str,
    limit: i64,
) -> Result<Vec<FoundUser>, DbError> {
    let statement = client
        .prepare_cached(
            "-- users by e-mail
             select id, email::text as email, plan_id, created_at from public.profiles
             where lower(email::text) ~>=~ lower($1::text)
               and lower(email::text) ~<~ (lower($1::text) || chr(1114111))
             order by lower(email::text) using ~<~ limit $2",
        )
        .await?;
    let rows = client.query(&statement, &[&start, &limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(FoundUser {
                id: row.try_get("id")?,
                email: row.try_get("email")?,
                plan_id: row.try_get("plan_id")?,
                created_at: row.try_get("created_at")?,
            })
        })
        .collect()
}

/// The user's tier, `None` without a profile.
///
/// # Errors
/// Postgres refused.
pub async fn plan_tier(
    client: &impl GenericClient,
    user_id: Uuid,
) -> Result<Option<PlanTier>, DbError> {
    let statement = client
        .prepare_cached(
            "-- plan tier
             select profile.plan_id, coalesce(plan.is_active, plan.id is not null) as active
             from public.profiles profile
             left join public.plans plan on plan.id = profile.plan_id
             where profile.id = $1",
        )
        .await?;
    let row = client.query_opt(&statement, &[&user_id]).await?;
    row.map(|row| Ok(PlanTier::of(row.try_get("plan_id")?, row.try_get("active")?))).transpose()
}

/// Writes the targets of one of the user's quizzes that has none yet, if there is such a
/// quiz.
///
/// # Errors
/// Postgres refused.
pub async fn fill_in_calculations(
    client: &impl GenericClient,
    quiz_result_id: Uuid,
    user_id: Uuid,
    calculations: &Value,
) -> Result<(), DbError> {
    let statement = client.prepare_cached(FILL_IN_CALCULATIONS).await?;
    client.execute(&statement, &[&quiz_result_id, &user_id, &Json(calculations)]).await?;
    Ok(())
}

/// The number of users, and of those who came since `since`.
///
/// # Errors
/// Postgres refused.
pub async fn count(
    client: &impl GenericClient,
    since: DateTime<Utc>,
) -> Result<(i64, i64), DbError> {
    let statement = client
        .prepare_cached(
            "-- count users
             select count(*), count(*) filter (where created_at >= $1) from public.profiles",
        )
        .await?;
    let row = client.query_one(&statement, &[&since]).await?;
    Ok((row.get(0), row.get(1)))
}
