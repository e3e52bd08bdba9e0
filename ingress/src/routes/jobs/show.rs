//! One job, with `ETag`, `If-None-Match` and `Prefer: wait`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use regimen_common::db::jobs::Details;
use regimen_common::job::JobState;
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::etag::IfNoneMatch;
use crate::extract::Id;
use crate::prefer::{self, Prefer};
use crate::state::AppState;
use crate::views::JobView;
use crate::views::job::tag;
use crate::waiting::{own_details, own_mark, wait_until_changed};
use crate::watching::Place;

/// The suggested polling interval of a running job, in seconds.
const POLL_SECONDS: i64 = 2;
/// The longest suggested interval, for jobs far back in the queue.
const SLOWEST_POLL_SECONDS: i64 = 30;

/// One job
///
/// With `Prefer: wait=N` the response is sent at the next change: of the version in
/// `If-None-Match`, or of the current one.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", security(("token" = [])),
    params(
        ("id" = Uuid, Path, description = "The job"),
        ("Prefer" = Option<String>, Header, example = "wait=30",
            description = "wait=N waits up to 60 s for the job's next change"),
        ("If-None-Match" = Option<String>, Header,
            description = "The ETag of the client's version")),
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
        Some(wait) => wait_until_changed(&state, user_id, id, &known, wait).await?,
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

/// The client may cache it, but must revalidate it each time.
const CACHING: (header::HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));

/// The place of a waiting job in the queue.
async fn place(state: &AppState, details: &Details) -> Result<Option<Place>, ApiError> {
    if details.row.state != JobState::Queued {
        return Ok(None);
    }
    Ok(state.watching.lines.view().await?.place(details, state.clock.now()))
}

/// The suggested seconds until the next request: the further back, the more.
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
