//! Operator actions, for the admin role and trusted backends only: every
//! handler extracts [`Admin`] first. Each change is recorded in
//! `regimen.admin_actions`, in the same transaction, and logged.

pub mod actions;
pub mod jobs;
pub mod pauses;
pub mod spend;
pub mod stripe_events;

use regimen_common::db::DbError;
use regimen_common::db::Transaction;
use regimen_common::db::admin_actions::{self, Action};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::Admin;
use crate::billing::operate::actor;
use crate::error::ApiError;
use crate::state::AppState;

const DEFAULT_PAGE: i64 = 50;
const MAX_PAGE: i64 = 200;

/// The operators' routes.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(actions::router())
        .merge(jobs::router())
        .merge(pauses::router())
        .merge(spend::router())
        .merge(stripe_events::router())
}

/// Records an action in `tx`, and logs it.
async fn record(
    tx: &Transaction<'_>,
    admin: &Admin,
    name: &str,
    target: &str,
    detail: &Value,
) -> Result<(), DbError> {
    let actor = actor(&admin.0);
    let action = Action { actor: &actor, name, target, detail };
    admin_actions::begin(tx, &action, Some("done")).await?;
    tracing::info!(actor, action = name, target, "an operator acted");
    Ok(())
}

fn page_size(limit: Option<i64>) -> Result<i64, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::field("?limit", format!("must be between 1 and {MAX_PAGE}")))
    }
}

/// Splits off the row beyond a page of `limit`; it shows that there is a next page.
fn cut<T>(rows: &mut Vec<T>, limit: i64) -> bool {
    let page = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > page;
    rows.truncate(page);
    more
}

/// The same, for pages with a cursor: returns the last row of this page, if there is a
/// next one.
fn cut_before_next<T>(rows: &mut Vec<T>, limit: i64) -> Option<&T> {
    if cut(rows, limit) { rows.last() } else { None }
}
