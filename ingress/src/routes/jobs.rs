//! Watching, listing and cancelling jobs.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use regimen_common::db::DbError;
use regimen_common::db::jobs::{self, CancelOutcome, JobRow, ListFilter};
use regimen_common::job::{EventKind, JobState, PlanKind};
use regimen_common::notices::{self, Notice};
use regimen_common::queue::{List, Message};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::events;
use crate::auth::Caller;
use crate::cursor::Cursor;
use crate::error::{ApiError, FieldError};
use crate::extract::{Id, Query};
use crate::prefer::Prefer;
use crate::state::AppState;
use crate::submission::Links;
use crate::watch::Watcher;

const DEFAULT_PAGE: i64 = 20;
const MAX_PAGE: i64 = 100;
/// The pace of polling that suits a running job.
const POLL_SECONDS: u32 = 2;

/// The job routes.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/v1/jobs", get(list))
        .route("/v1/jobs/{id}", get(show).delete(cancel))
        .route("/v1/jobs/{id}/events", get(events::stream))
}

/// A job as its owner sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: Uuid,
    /// What it makes.
    pub kind: PlanKind,
    /// Where it stands.
    pub status: JobState,
    /// What is being done right now.
    pub stage: String,
    /// How many jobs of its class stand before it, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// Seconds until it probably starts, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<i64>,
    /// How often a worker has taken it up.
    pub attempts: i32,
    /// Who wrote the plan.
    pub provider: Option<String>,
    /// With which model.
    pub model: Option<String>,
    /// What it cost so far, in US dollars.
    pub cost_usd: f64,
    /// The stored quiz it answers.
    pub quiz_result_id: Option<Uuid>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When a worker first took it up.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Not before this time, while it waits for another round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Why there is no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobErrorView>,
    /// Where to go on.
    pub links: Links,
    /// The plan, once it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Value>,
}

/// Why a job ended without a plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobErrorView {
    /// For programs.
    pub code: String,
    /// For people.
    pub detail: String,
}

impl JobView {
    fn of(row: JobRow, ahead: Option<i64>, now: DateTime<Utc>) -> Self {
        let error = row
            .error_code
            .map(|code| JobErrorView { code, detail: row.error_detail.unwrap_or_default() });
        let waiting = row.state == JobState::Queued;
        Self {
            id: row.id,
            kind: row.kind,
            status: row.state,
            stage: row.stage,
            position: ahead,
            eta_seconds: waiting.then(|| (row.run_at - now).num_seconds().max(0)),
            attempts: row.attempts,
            provider: row.provider,
            model: row.model,
            cost_usd: row.cost_micros as f64 / 1e6,
            quiz_result_id: row.quiz_result_id,
            created_at: row.created_at,
            started_at: row.first_claimed_at,
            finished_at: row.finished_at,
            next_attempt_at: (waiting && row.run_at > now).then_some(row.run_at),
            error,
            links: Links::of(row.id),
            plan: row.plan,
        }
    }
}

/// One job, with `ETag`, `If-None-Match` and `Prefer: wait`.
async fn show(
    State(state): State<AppState>,
    caller: Caller,
    prefer: Prefer,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let user_id = caller.acting_for(None)?;
    let mut watcher = state.watch.job(id);
    let mut row = own_job(&state, id, user_id).await?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(known_revision);
    let wait = prefer.wait.filter(|_| !row.state.is_terminal());
    // With a tag the caller waits for news; without one, for the end.
    if let Some(wait) = wait.filter(|_| known.is_none_or(|known| known == row.last_seq)) {
        let deadline = Instant::now() + wait;
        loop {
            if !heard_before(&state, &mut watcher, row.last_seq, deadline).await {
                break;
            }
            row = own_job(&state, id, user_id).await?;
            if known.is_some() || row.state.is_terminal() {
                break;
            }
        }
    }
    if known == Some(row.last_seq) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(&row))]).into_response());
    }
    let terminal = row.state.is_terminal();
    let tag = etag(&row);
    let view = view(&state, row).await?;
    let mut response = Json(view).into_response();
    response.headers_mut().insert(header::ETAG, tag);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if !terminal {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(POLL_SECONDS));
    }
    Ok(response)
}

fn etag(row: &JobRow) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}\"", row.last_seq))
        .unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

fn known_revision(tag: &HeaderValue) -> Option<i32> {
    let tag = tag.to_str().ok()?.trim();
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').parse().ok()
}

async fn view(state: &AppState, row: JobRow) -> Result<JobView, ApiError> {
    let ahead = match row.state {
        JobState::Queued => {
            let client = state.db.get().await.map_err(DbError::from)?;
            Some(jobs::position(&client, row.id).await?)
        }
        _ => None,
    };
    Ok(JobView::of(row, ahead, state.clock.now()))
}

/// A job of this user.
///
/// # Errors
/// 404 when there is none; somebody else's job looks the same.
pub(super) async fn own_job(state: &AppState, id: Uuid, user_id: Uuid) -> Result<JobRow, ApiError> {
    let client = state.db.get().await.map_err(DbError::from)?;
    jobs::job(&client, id, Some(user_id)).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("there is no job {id} of yours"))
}

/// Whether there was news before the time was up or the process drained.
async fn heard_before(
    state: &AppState,
    watcher: &mut Watcher,
    known: i32,
    deadline: Instant,
) -> bool {
    tokio::select! {
        () = watcher.newer_than(known) => true,
        () = tokio::time::sleep_until(deadline) => false,
        () = state.shutdown.drain.cancelled() => false,
    }
}

/// Waits until all of `ids` have ended; `None` when the time is up before.
pub async fn wait_until_ended(
    state: &AppState,
    user_id: Uuid,
    ids: &[Uuid],
    wait: Duration,
) -> Result<Option<Vec<JobView>>, ApiError> {
    let deadline = Instant::now() + wait;
    let mut ended = Vec::with_capacity(ids.len());
    for &id in ids {
        let mut watcher = state.watch.job(id);
        let mut row = own_job(state, id, user_id).await?;
        while !row.state.is_terminal() {
            if !heard_before(state, &mut watcher, row.last_seq, deadline).await {
                return Ok(None);
            }
            row = own_job(state, id, user_id).await?;
        }
        ended.push(JobView::of(row, None, state.clock.now()));
    }
    Ok(Some(ended))
}

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ListQuery {
    /// Only in this state.
    status: Option<String>,
    /// Only of this kind.
    kind: Option<String>,
    /// At most so many, up to 100.
    limit: Option<i64>,
    /// Where the previous page ended.
    cursor: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobPage {
    /// Newest first, without their plans.
    pub jobs: Vec<JobView>,
    /// Asks for the next page; absent on the last one.
    pub next_cursor: Option<String>,
}

async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<JobPage>, ApiError> {
    let user_id = caller.acting_for(None)?;
    let filter = filter(&query)?;
    let client = state.db.get().await.map_err(DbError::from)?;
    let mut rows = jobs::jobs_of_user(&client, user_id, &filter).await?;
    let page = usize::try_from(filter.limit - 1).unwrap_or(0);
    let next_cursor = (rows.len() > page).then(|| {
        rows.truncate(page);
        rows.last().map(|row| Cursor { at: row.created_at, id: row.id }.encode())
    });
    let now = state.clock.now();
    let jobs = rows.into_iter().map(|row| JobView::of(row, None, now)).collect();
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
            // One more than a page tells whether there is a next one.
            limit: limit + 1,
        }),
        _ => Err(ApiError::Invalid(errors)),
    }
}

/// Cancels a queued or running job.
async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let user_id = caller.acting_for(None)?;
    let mut client = state.db.get().await.map_err(DbError::from)?;
    let tx = client.transaction().await.map_err(DbError::from)?;
    let outcome = jobs::cancel(&tx, id, Some(user_id), state.config.jobs.per_user).await?;
    tx.commit().await.map_err(DbError::from)?;
    drop(client);
    match outcome {
        CancelOutcome::Missing => Err(not_found(id)),
        CancelOutcome::Ended(ended) => Err(ApiError::Conflict(format!(
            "job {id} has ended as {ended} and stays so; there is nothing to cancel"
        ))),
        CancelOutcome::Cancelled { seq, next } => {
            let now = state.clock.now().timestamp_millis();
            for list in List::ALL {
                let messages: Vec<_> = next
                    .iter()
                    .filter(|job| job.list == list)
                    .map(|job| Message::new(job.id, now, None))
                    .collect();
                // What is not pushed, the reconciler finds.
                let _ = state.queue.push(list, &messages).await;
            }
            let notice = Notice { job: id, seq, kind: EventKind::Cancelled };
            notices::publish(&state.kv, &[notice]).await;
            let row = own_job(&state, id, user_id).await?;
            Ok((StatusCode::ACCEPTED, Json(view(&state, row).await?)).into_response())
        }
    }
}
