//! The audit log of operators' actions.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use regimen_common::db::admin_actions::{self, Filter, Found, Recorded};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{cut_before_next, page_size};
use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::{Query, is_plain};
use crate::state::AppState;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The actions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ActionsQuery {
    /// Only actions of this operator: a user's id, or `service`.
    actor: Option<String>,
    /// Only this action: `refund`, `retry_job`, `pause` …
    action: Option<String>,
    /// Only actions on this target: the id of a job, subscription, event …
    target: Option<String>,
    /// The highest number, up to 200.
    limit: Option<i64>,
    /// Where the previous page ended.
    cursor: Option<i64>,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminActionPage {
    /// Newest first.
    pub actions: Vec<AdminAction>,
    /// The cursor of the next page; absent on the last one. A request looks at 10,000
    /// actions at most: a page with a cursor may have fewer than `limit`, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<i64>,
}

/// An action of an operator.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminAction {
    /// The record's number.
    pub id: i64,
    /// When it began.
    pub at: DateTime<Utc>,
    /// The operator: a user's id, or `service`.
    pub actor: String,
    /// The action.
    pub action: String,
    /// Its target.
    pub target: String,
    /// Its parameters.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// `done`, or an error code. Absent while it is running, and permanently if it was
    /// interrupted: it may have taken effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

impl From<Recorded> for AdminAction {
    fn from(row: Recorded) -> Self {
        let Recorded { id, at, actor, name, target, detail, outcome } = row;
        Self { id, at, actor, action: name, target, detail, outcome }
    }
}

/// Operators' actions
#[utoipa::path(get, path = "/admin/actions", tag = "admin", security(("token" = [])),
    params(ActionsQuery), responses((status = OK, body = AdminActionPage)))]
async fn list(
    State(state): State<AppState>,
    _: Admin,
    Query(query): Query<ActionsQuery>,
) -> Result<Json<AdminActionPage>, ApiError> {
    let ActionsQuery { actor, action, target, limit, cursor } = query;
    let limit = page_size(limit)?;
    for (pointer, word) in [("?actor", &actor), ("?action", &action), ("?target", &target)] {
        if word.as_deref().is_some_and(|word| !is_plain(word)) {
            return Err(ApiError::field(pointer, "must be as the record shows it"));
        }
    }
    let filter = Filter { actor, name: action, target, before: cursor, limit: limit + 1 };
    let client = state.db.get().await?;
    let Found { actions: mut rows, stopped_at } = admin_actions::list(&client, &filter).await?;
    let next_cursor = cut_before_next(&mut rows, limit).map(|last| last.id).or(stopped_at);
    let actions = rows.into_iter().map(AdminAction::from).collect();
    Ok(Json(AdminActionPage { actions, next_cursor }))
}
