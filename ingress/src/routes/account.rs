//! A user's own account: exporting its data, and deleting it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use regimen_common::db::erasure::{self, Deletion};
use regimen_common::telemetry::UserHash;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::{ApiError, Problem};
use crate::export;
use crate::limits::{Action, limited};
use crate::state::AppState;
use crate::views::JobView;

/// The account routes.
pub fn router(state: &AppState) -> OpenApiRouter<AppState> {
    let routes = OpenApiRouter::new().routes(routes!(delete)).routes(routes!(export));
    limited(state, Action::Account, routes)
}

/// A deleted account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountDeleted {
    /// From this time on no job of the account is sent to a provider.
    pub deleted_at: DateTime<Utc>,
    /// By this time only spending is left, without the user.
    pub gone_by: DateTime<Utc>,
}

/// Delete your account
///
/// The response means that profile, quizzes and plans are deleted. Queued jobs are
/// cancelled before a provider is called, and running ones are stopped. Jobs, replies,
/// stored responses, notices and links to customers are erased within a day. The cost of
/// calls is kept without your id. The login belongs to the app, which deletes it itself.
/// Idempotent.
#[utoipa::path(delete, path = "/v1/account", tag = "account", security(("token" = [])),
    responses((status = ACCEPTED, body = AccountDeleted),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
            description = "A subscription would renew; end it first. Or the app keeps rows that \
                need the profile")))]
async fn delete(
    State(state): State<AppState>,
    caller: Caller,
) -> Result<(StatusCode, Json<AccountDeleted>), ApiError> {
    let user = caller.acting_for(None)?;
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let deleted = erasure::delete_account(&tx, user, false).await;
    let at = match deleted {
        Ok(Deletion::Deleted { at }) => at,
        Ok(Deletion::Subscribed) => {
            return Err(ApiError::Conflict(
                "your subscription would go on being paid for; end it first (POST \
                 /v1/billing/portal leads there), then delete the account"
                    .to_owned(),
            ));
        }
        Err(error) if error.blames_a_row() => {
            tracing::error!(
                user = %UserHash::of(user), %error,
                "an account cannot be deleted: a table of the app's refers to its profile; let \
                 it go with the profile (on delete cascade)"
            );
            return Err(ApiError::Conflict(
                "the app keeps rows that need your profile; nothing was deleted. Ask the app's \
                 support"
                    .to_owned(),
            ));
        }
        Err(error) => return Err(error.into()),
    };
    tx.commit().await?;
    tracing::info!("an account is deleted at its owner's wish");
    let body = AccountDeleted { deleted_at: at, gone_by: at + TimeDelta::days(1) };
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// All data kept about a user. Used only for the schema, because the response is written
/// row by row.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountExport {
    /// The time of the export.
    exported_at: DateTime<Utc>,
    /// The user.
    user_id: Uuid,
    /// The profile as the app stores it; null if there is none.
    #[schema(value_type = Option<Object>)]
    profile: Value,
    /// Quizzes with their answers, and the targets computed from them.
    #[schema(value_type = Vec<Object>)]
    quizzes: Value,
    /// Meal plans as the app stores them.
    #[schema(value_type = Vec<Object>)]
    meal_plans: Value,
    /// Workout plans as the app stores them.
    #[schema(value_type = Vec<Object>)]
    workout_plans: Value,
    /// Jobs, newest first, as in lists.
    jobs: Vec<JobView>,
    /// The tokens and cost of each paid call.
    #[schema(value_type = Vec<Object>)]
    usage: Value,
}

/// Export your data
///
/// One JSON document with all data kept about you: profile, quizzes, plans, jobs and
/// spending. It is sent while it is read; if it ends early, it is not valid JSON, and the
/// request must be repeated.
#[utoipa::path(get, path = "/v1/account/export", tag = "account", security(("token" = [])),
    responses((status = OK, body = AccountExport)))]
async fn export(State(state): State<AppState>, caller: Caller) -> Result<Response, ApiError> {
    let user = caller.acting_for(None)?;
    export::document(&state, user).await
}
