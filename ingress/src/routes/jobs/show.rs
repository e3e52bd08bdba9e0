//! One job, with `ETag`, `If-None-Match` and `Prefer: wait`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use regimen_common::db::jobs::{Details, Mark};
use regimen_common::job::JobState;
use tokio::time::Instant;
use uuid::Uuid;

use super::view::{JobView, tag};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::etag::IfNoneMatch;
use crate::extract::Id;
use crate::prefer::{self, Prefer};
use crate::state::AppState;
use crate::watching::{Place, Watcher};

/// The pace of polling that suits a running job, in seconds.
const POLL_SECONDS: i64 = 2;
/// The slowest pace hinted at, for jobs far back in the line.
const SLOWEST_POLL_SECONDS: i64 = 30;

/// One job
///
/// With `Prefer: wait=N` it is answered at the next change: of the version that
/// `If-None-Match` names, or of the present one.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", security(("token" = [])),
    params(
        ("id" = Uuid, Path, description = "The job"),
        ("Prefer" = Option<String>, Header, example = "wait=30",
            description = "wait=N holds the line for up to 60 s until the job changes"),
        ("If-None-Match" = Option<String>, Header,
            description = "The ETag of the version you have")),
    responses(
        (status = OK, body = JobView, headers(("ETag" = String), ("Retry-After" = u32))),
        (status = NOT_MODIFIED, description = "It has not changed", headers(("ETag" = String)))))]
pub(super) async fn show(
    State(state): State<AppState>,
    caller: Caller,
    prefer: Prefer,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let user_id = caller.acting_for(None)?;
    let known = IfNoneMatch::of(&headers);
    let waited = match prefer.wait {
        Some(wait) => held(&state, user_id, id, &known, wait).await?,
        None => None,
    };
    let mut response = answer(&state, user_id, id, &known).await?;
    if let Some(wait) = waited {
        prefer::applied(&mut response, wait);
    }
    Ok(response)
}

async fn answer(
    state: &AppState,
    user_id: Uuid,
    id: Uuid,
    known: &IfNoneMatch,
) -> Result<Response, ApiError> {
    if *known != IfNoneMatch::Absent {
        let mark = own_mark(state, id, user_id).await?;
        let tag = tag(&mark);
        if known.has(&tag) {
            let headers = [(header::ETAG, tag.header()), CACHING];
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
    }
    let details = own_details(state, id, user_id).await?;
    let place = place(state, &details).await?;
    let view = JobView::of(&details, place, state.clock.now());
    let headers = [(header::ETAG, tag(&details.mark).header()), CACHING];
    let mut response = (headers, Json(view)).into_response();
    if let Some(seconds) = pace(details.row.state, place) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

/// The client may keep it, but asks each time whether it is still right.
const CACHING: (header::HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));

/// Holds the request until the job changes, its time is up or the process
/// drains. Returns the wait if the wish for it was honoured: a user who holds
/// too many lines already is answered at once.
async fn held(
    state: &AppState,
    user_id: Uuid,
    id: Uuid,
    known: &IfNoneMatch,
    wait: Duration,
) -> Result<Option<Duration>, ApiError> {
    let Some(_seat) = state.watching.seats.take(user_id) else { return Ok(None) };
    let deadline = Instant::now() + wait;
    let mut watcher = state.watching.changes.job(id);
    let first = own_mark(state, id, user_id).await?;
    watcher.saw(first.seq);
    let is_news = *known != IfNoneMatch::Absent && !known.has(&tag(&first));
    if first.state.is_terminal() || is_news {
        return Ok(Some(wait));
    }
    while heard_before(state, &mut watcher, deadline).await {
        let mark = own_mark(state, id, user_id).await?;
        watcher.saw(mark.seq);
        if mark != first {
            break;
        }
    }
    Ok(Some(wait))
}

/// Whether something may have changed before the time was up or the process
/// drained.
async fn heard_before(state: &AppState, watcher: &mut Watcher, deadline: Instant) -> bool {
    tokio::select! {
        biased;
        () = state.shutdown.drain.cancelled() => false,
        () = tokio::time::sleep_until(deadline) => false,
        () = watcher.changed() => true,
    }
}

/// What came of waiting for the end of jobs.
#[derive(Debug)]
pub enum Waited {
    /// All have ended.
    Ended(Vec<JobView>),
    /// The time was up before.
    TimeUp,
    /// The user holds too many lines already, so this one was not held.
    NotHeld,
}

/// Waits until all of `ids` have ended, at most for `wait`.
///
/// # Errors
/// A job is not the user's, or Postgres failed.
pub async fn wait_until_ended(
    state: &AppState,
    user_id: Uuid,
    ids: &[Uuid],
    wait: Duration,
) -> Result<Waited, ApiError> {
    let Some(_seat) = state.watching.seats.take(user_id) else { return Ok(Waited::NotHeld) };
    let deadline = Instant::now() + wait;
    for &id in ids {
        let mut watcher = state.watching.changes.job(id);
        loop {
            let mark = own_mark(state, id, user_id).await?;
            watcher.saw(mark.seq);
            if mark.state.is_terminal() {
                break;
            }
            if !heard_before(state, &mut watcher, deadline).await {
                return Ok(Waited::TimeUp);
            }
        }
    }
    let mut ended = Vec::with_capacity(ids.len());
    for &id in ids {
        let details = own_details(state, id, user_id).await?;
        ended.push(JobView::of(&details, None, state.clock.now()));
    }
    Ok(Waited::Ended(ended))
}

/// The version of a job of this user.
///
/// # Errors
/// 404 when there is none; somebody else's job looks the same.
pub(super) async fn own_mark(state: &AppState, id: Uuid, user_id: Uuid) -> Result<Mark, ApiError> {
    let mark = state.watching.marks.find(id).await?;
    mark.filter(|mark| mark.user_id == user_id).ok_or_else(|| not_found(id))
}

/// A job of this user.
///
/// # Errors
/// As [`own_mark`].
pub(super) async fn own_details(
    state: &AppState,
    id: Uuid,
    user_id: Uuid,
) -> Result<Arc<Details>, ApiError> {
    let details = state.watching.details.find(id).await?;
    details.filter(|details| details.row.user_id == user_id).ok_or_else(|| not_found(id))
}

pub(super) fn not_found(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("there is no job {id} of yours"))
}

/// Where a waiting job stands in the line.
async fn place(state: &AppState, details: &Details) -> Result<Option<Place>, ApiError> {
    if details.row.state != JobState::Queued {
        return Ok(None);
    }
    Ok(state.watching.lines.view().await?.place(details, state.clock.now()))
}

/// How many seconds to leave until the next look: the further back, the more.
fn pace(job: JobState, place: Option<Place>) -> Option<i64> {
    match job {
        JobState::Queued => {
            let eta = place.and_then(|place| place.eta_seconds).unwrap_or(0);
            Some((eta / 4).clamp(POLL_SECONDS, SLOWEST_POLL_SECONDS))
        }
        JobState::Running => Some(POLL_SECONDS),
        JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Expired => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_the_line() {
        let queued =
            |eta_seconds| pace(JobState::Queued, Some(Place { position: Some(1), eta_seconds }));
        assert_eq!(queued(None), Some(2));
        assert_eq!(queued(Some(0)), Some(2));
        assert_eq!(queued(Some(40)), Some(10));
        assert_eq!(queued(Some(86_400)), Some(30));
        assert_eq!(pace(JobState::Running, None), Some(2));
        assert_eq!(pace(JobState::Cancelled, None), None);
    }
}
