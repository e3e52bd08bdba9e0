//! All users' jobs, for operators: list, show, retry, cancel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use regimen_common::db::jobs::{self, Found, Listed, OperatorFilter};
use regimen_common::job::{JobClass, JobState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{cut_before_next, operator, page_size};
use crate::auth::Admin;
use crate::error::{ApiError, Problem};
use crate::extract::{Id, Query, is_plain};
use crate::operators::{self, Retry, no_job};
use crate::state::AppState;
use crate::views::JobView;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(retry))
        .routes(routes!(cancel))
}

/// The jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Only in this state: queued, running, succeeded, failed, cancelled, expired.
    state: Option<String>,
    /// Only those with this failure code: the `code` of their error.
    reason: Option<String>,
    /// Only of this user.
    user: Option<Uuid>,
    /// The highest number, up to 200.
    limit: Option<i64>,
    /// Where the previous page ended.
    cursor: Option<Uuid>,
}

/// A page of all users' jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminJobPage {
    /// Newest first.
    pub jobs: Vec<AdminJob>,
    /// The cursor of the next page; absent on the last one. A request looks at 10,000 jobs
    /// at most: a page with a cursor may have fewer jobs than `limit`, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Uuid>,
}

/// A job as operators see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminJob {
    /// Its user.
    pub user_id: Uuid,
    /// Its class: `pro` or `free`.
    pub class: &'static str,
    /// Its request.
    pub generation_id: Uuid,
    /// The job that retried it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retried_as: Option<Uuid>,
    /// Its owner's view.
    pub job: JobView,
}

/// All details of a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminJobDetails {
    /// The job, with its attempts and errors.
    #[serde(flatten)]
    pub job: AdminJob,
    /// The job it is a retry of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<Uuid>,
    /// The worker that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The number of lost workers.
    pub lost_workers: i32,
    /// Its events, oldest first: `{seq, at, kind, data}`.
    #[schema(value_type = Vec<Object>)]
    pub events: Box<RawValue>,
}

/// All users' jobs
#[utoipa::path(get, path = "/admin/jobs", tag = "admin", security(("token" = [])),
    params(JobsQuery), responses((status = OK, body = AdminJobPage)))]
async fn list(
    State(state): State<AppState>,
    _: Admin,
    Query(query): Query<JobsQuery>,
) -> Result<Json<AdminJobPage>, ApiError> {
    let in_state = query.state.as_deref().map(str::parse::<JobState>).transpose();
    let in_state = in_state.map_err(|error| ApiError::field("?state", error.to_string()))?;
    let limit = page_size(query.limit)?;
    if query.reason.as_deref().is_some_and(|reason| !is_plain(reason)) {
        return Err(ApiError::field("?reason", "must be the code of an error, as jobs show it"));
    }
    let filter = OperatorFilter {
        state: in_state,
        reason: query.reason,
        user_id: query.user,
        before: query.cursor,
        limit: limit + 1,
        ..OperatorFilter::default()
    };
    let client = state.db.get().await?;
    let Found { jobs: mut rows, stopped_at } = jobs::search(&client, &filter).await?;
    let next_cursor = cut_before_next(&mut rows, limit).map(|last| last.row.id).or(stopped_at);
    let now = state.clock.now();
    let view = |Listed { row, class, retried_as }: &Listed| AdminJob {
        user_id: row.user_id,
        class: class.as_str(),
        generation_id: row.generation_id,
        retried_as: *retried_as,
        job: JobView::in_list(row, now),
    };
    Ok(Json(AdminJobPage { jobs: rows.iter().map(view).collect(), next_cursor }))
}

/// A job of any user, with its attempts, errors and events
#[utoipa::path(get, path = "/admin/jobs/{id}", tag = "admin", security(("token" = [])),
    params(("id" = Uuid, Path)), responses((status = OK, body = AdminJobDetails)))]
async fn show(
    State(state): State<AppState>,
    _: Admin,
    Id(id): Id,
) -> Result<Json<AdminJobDetails>, ApiError> {
    let client = state.db.get().await?;
    let mut found = jobs::details(&client, &[id]).await?;
    let details = found.remove(&id).ok_or_else(|| no_job(id))?;
    let traces = jobs::traces(&client, id).await?;
    let events = jobs::histories(&client, &[(id, 0)]).await?.remove(&(id, 0)).unwrap_or_default();
    let events = serde_json::value::to_raw_value(&events).map_err(ApiError::internal)?;
    let class: JobClass = details.class;
    Ok(Json(AdminJobDetails {
        job: AdminJob {
            user_id: details.row.user_id,
            class: class.as_str(),
            generation_id: details.row.generation_id,
            retried_as: traces.retried_as,
            job: JobView::for_operators(&details, state.clock.now()),
        },
        retry_of: traces.retry_of,
        worker: traces.worker_id,
        lost_workers: traces.lost,
        events,
    }))
}

/// The job that repeats the work.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobRetried {
    /// The new job.
    pub id: Uuid,
    /// The failed or expired job, which stays unchanged.
    pub retry_of: Uuid,
    /// False if it had been retried before: nothing was changed now.
    pub created: bool,
}

/// Retry a failed or expired job
///
/// A job that has ended never changes, so a new job of the same user and generation
/// repeats the work; it is not counted again. A job is retried once; another request
/// returns the same new job. If that one failed, retry that. It starts from the reply
/// that was paid for, if that can still become the plan.
#[utoipa::path(post, path = "/admin/jobs/{id}/retry", tag = "admin", security(("token" = [])),
    params(("id" = Uuid, Path)),
    responses((status = ACCEPTED, body = JobRetried), (status = OK, body = JobRetried,
            description = "It was already retried"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
            description = "It has not failed")))]
async fn retry(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id,
) -> Result<(StatusCode, Json<JobRetried>), ApiError> {
    let Retry { id: as_id, created } = operators::retry_job(&state, &operator(&admin), id).await?;
    let status = if created { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(JobRetried { id: as_id, retry_of: id, created })))
}

/// A job that was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobCancelled {
    /// The job.
    pub id: Uuid,
    /// `cancelled`.
    pub status: JobState,
}

/// Cancel a job of any user
///
/// The provider call of a running job is dropped within a second. Repeating the request
/// changes nothing.
#[utoipa::path(post, path = "/admin/jobs/{id}/cancel", tag = "admin", security(("token" = [])),
    params(("id" = Uuid, Path)),
    responses((status = ACCEPTED, body = JobCancelled), (status = OK, body = JobCancelled,
            description = "It was already cancelled"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
            description = "It has ended otherwise")))]
async fn cancel(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id,
) -> Result<(StatusCode, Json<JobCancelled>), ApiError> {
    let changed = operators::cancel_job(&state, &operator(&admin), id).await?;
    let status = if changed { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(JobCancelled { id, status: JobState::Cancelled })))
}
