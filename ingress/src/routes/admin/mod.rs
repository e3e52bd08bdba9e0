//! Operator actions, for the admin role and trusted backends only: every
//! handler extracts [`Admin`] first. [`crate::operators`] makes the changes and
//! records them.

pub mod actions;
pub mod jobs;
pub mod pauses;
pub mod spend;
pub mod stripe_events;

use utoipa_axum::router::OpenApiRouter;

use crate::auth::Admin;
use crate::billing::operate::actor;
use crate::error::ApiError;
use crate::operators::Operator;
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

fn operator(admin: &Admin) -> Operator {
    Operator { actor: actor(&admin.0), reason: None }
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
