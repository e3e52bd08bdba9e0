//! Reading, listing and cancelling jobs.

mod events;
mod show;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use regimen_common::db::jobs::{self, CancelOutcome, Canceller, ListFilter};
use regimen_common::dispatch::notices::JobNotice;
use regimen_common::job::{JobEventKind, JobState, PlanKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use events::{JobEventFrame, Resume};

use crate::announce::announce;
use crate::auth::Caller;
use crate::cursor::Cursor;
use crate::error::{ApiError, FieldError, Problem};
use crate::extract::{Id, Query};
use crate::state::AppState;
use crate::views::JobView;
use crate::waiting::not_found;

const DEFAULT_PAGE: i64 = 20;
const MAX_PAGE: i64 = 100;

/// The job routes.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show::show, cancel))
        .routes(routes!(events::stream))
}

/// The jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only in this state.
    #[param(value_type = Option<JobState>)]
    status: Option<String>,
    /// Only of this kind.
    #[param(value_type = Option<PlanKind>)]
    kind: Option<String>,
    /// The highest number, up to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// `next_cursor` of the previous page.
    #[param(pattern = "^[A-Za-z0-9_-]{32}$")]
    cursor: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobPage {
    /// Newest first, without their plans.
    pub jobs: Vec<JobView>,
    /// The cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Your jobs
///
/// Newest first, by page; without their plans and attempts.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", security(("token" = [])),
    params(ListQuery),
    responses((status = OK, body = JobPage)))]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<JobPage>, ApiError> {
    let user_id = caller.acting_for(None)?;
    let filter = filter(&query)?;
    let mut client = state.db.get().await?;
    let mut rows = jobs::jobs_of_user(&mut client, user_id, &filter).await?;
    let page = usize::try_from(filter.limit - 1).unwrap_or(0);
    let next_cursor = (rows.len() > page).then(|| {
        rows.truncate(page);
        rows.last().map(|row| Cursor { at: row.created_at, id: row.id }.encode())
    });
    let now = state.clock.now();
    let jobs = rows.iter().map(|row| JobView::in_list(row, now)).collect();
    Ok(Json(JobPage { jobs, next_cursor: next_cursor.flatten() }))
}

fn filter(query: &ListQuery) -> Result<ListFilter, ApiError> {
    let mut errors = Vec::new();
    let mut wrong = |name: &str, message: String| {
        errors.push(FieldError { pointer: format!("?{name}"), message });
    };
    let state = query.status.as_deref().map(str::parse::<JobState>).transpose();
    let kind = query.kind.as_deref().map(str::parse::<PlanKind>).transpose();
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose();
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if let Err(error) = &state {
        wrong("status", error.to_string());
    }
    if let Err(error) = &kind {
        wrong("kind", error.to_string());
    }
    if let Err(error) = &cursor {
        wrong("cursor", error.to_string());
    }
    if !(1..=MAX_PAGE).contains(&limit) {
        wrong("limit", format!("must be between 1 and {MAX_PAGE}"));
    }
    match (state, kind, cursor) {
        (Ok(state), Ok(kind), Ok(cursor)) if errors.is_empty() => Ok(ListFilter {
            state,
            kind,
            before: cursor.map(|cursor| (cursor.at, cursor.id)),
            // One more than a page shows whether there is a next one.
            limit: limit + 1,
        }),
        _ => Err(ApiError::Invalid(errors)),
    }
}

/// Cancel a job
///
/// A waiting job ends at once; the provider call of a running one is dropped.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", security(("token" = [])),
    params(("id" = Uuid, Path, description = "The job")),
    responses(
        (status = ACCEPTED, body = JobView, description = "Cancelled"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
            description = "It had already ended")))]
async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let user_id = caller.acting_for(None)?;
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let outcome =
        jobs::cancel(&tx, id, Canceller::Owner(user_id), state.config.jobs.per_user).await?;
    // Read before the commit: after it, a failure would deny what has happened.
    let details = match &outcome {
        CancelOutcome::Cancelled { .. } => jobs::details(&tx, &[id]).await?.remove(&id),
        CancelOutcome::Missing | CancelOutcome::Ended(_) => None,
    };
    tx.commit().await?;
    drop(client);
    match outcome {
        CancelOutcome::Missing => Err(not_found(id)),
        CancelOutcome::Ended(ended) => Err(ApiError::Conflict(format!(
            "job {id} has ended as {ended} and stays so; there is nothing to cancel"
        ))),
        CancelOutcome::Cancelled { seq, next } => {
            let notice = JobNotice { job: id, seq, kind: JobEventKind::Cancelled };
            tokio::spawn(announce(state.clone(), notice, next));
            let details = details.ok_or_else(|| not_found(id))?;
            let view = JobView::of(&details, None, state.clock.now());
            Ok((StatusCode::ACCEPTED, Json(view)).into_response())
        }
    }
}
