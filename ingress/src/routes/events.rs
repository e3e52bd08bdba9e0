//! A job's history as server-sent events, resumable by `Last-Event-ID`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use regimen_common::db::DbError;
use regimen_common::db::jobs;
use regimen_common::job::JobEvent;
use serde_json::json;
use uuid::Uuid;

use super::jobs::own_job;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Id;
use crate::state::AppState;
use crate::watch::Watcher;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client waits before it connects again, milliseconds.
const RECONNECT: Duration = Duration::from_secs(1);
/// After a failed look at the history.
const BACKOFF: Duration = Duration::from_secs(1);

/// Streams the events of a job after `Last-Event-ID` and ends after the last one.
pub(super) async fn stream(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let user_id = caller.acting_for(None)?;
    own_job(&state, id, user_id).await?;
    let after = last_event_id(&headers)?;
    let history = History {
        watcher: state.watch.job(id),
        state,
        id,
        seen: after,
        pending: VecDeque::new(),
        ended: false,
    };
    let events = stream::unfold(history, |mut history| async move {
        // A draining ingress ends the stream; the client resumes at another one.
        let drain = history.state.shutdown.drain.clone();
        let event = drain.run_until_cancelled(history.next()).await??;
        Some((Ok::<_, Infallible>(event), history))
    });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let mut response = sse.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer would hold the events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<i32, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        ApiError::BadRequest("Last-Event-ID must be the number of an event of this job".to_owned())
    })
}

struct History {
    state: AppState,
    id: Uuid,
    watcher: Watcher,
    seen: i32,
    pending: VecDeque<JobEvent>,
    ended: bool,
}

impl History {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                self.seen = event.seq;
                self.ended = event.kind.is_terminal();
                return Some(frame(&event));
            }
            if self.ended {
                return None;
            }
            match self.look().await {
                Ok(events) if events.is_empty() => {
                    // A resumed stream may already have seen the end.
                    if self.seen > 0 && self.is_over().await {
                        return None;
                    }
                    self.watcher.newer_than(self.seen).await;
                }
                Ok(events) => self.pending = events.into(),
                Err(error) => {
                    tracing::debug!(%error, job = %self.id, "could not read events; trying again");
                    tokio::time::sleep(BACKOFF).await;
                }
            }
        }
    }

    async fn look(&self) -> Result<Vec<JobEvent>, DbError> {
        let client = self.state.db.get().await?;
        jobs::events_after(&client, self.id, self.seen).await
    }

    /// Whether the job has ended with nothing newer than what was seen.
    async fn is_over(&self) -> bool {
        let Ok(client) = self.state.db.get().await else { return false };
        match jobs::revisions(&client, &[self.id]).await {
            Ok(revisions) => revisions
                .first()
                .is_none_or(|(_, state, seq)| state.is_terminal() && *seq <= self.seen),
            Err(_) => false,
        }
    }
}

fn frame(event: &JobEvent) -> Event {
    let data = json!({ "at": event.at, "data": event.data });
    Event::default()
        .id(event.seq.to_string())
        .event(event.kind.as_str())
        .retry(RECONNECT)
        .data(data.to_string())
}
