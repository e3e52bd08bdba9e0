//! A job's events as server-sent events, resumable by `Last-Event-ID`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use regimen_common::db::jobs::HistoryLine;
use regimen_common::job::JobEventKind;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::{ApiError, QuotaExceeded};
use crate::extract::{Id, Query};
use crate::state::AppState;
use crate::waiting::own_mark;
use crate::watching::{LookupError, WaitSlot, WaitSlots, Waiter, Watcher, Watching};

/// Clients reconnect this long after the end of a stream, and up to a second later: an
/// ingress that stops sends all its clients to the others.
const RECONNECT: Duration = Duration::from_millis(1_000);
/// After a failed read of the events.
const BACKOFF: Duration = Duration::from_secs(1);
/// Proxies that compress or buffer would delay the events: the first header is for those
/// that follow the standard, such as Node's `compression`, the second for nginx.
const UNBUFFERED: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
];

/// How clients that cannot set headers resume.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Resume {
    /// The same as the header `Last-Event-ID`, which takes precedence. An invalid id
    /// counts as absent, in both.
    #[param(example = "3")]
    last_event_id: Option<String>,
}

/// One event of the stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobEventFrame {
    /// Its number within the job: 1, 2, 3 … without gaps.
    id: String,
    /// Its kind, such as `attempt_started`.
    event: String,
    /// As JSON: `seq`, `at`, `kind` and the details of that kind as `data`.
    data: String,
}

/// A job's events as they happen
///
/// Server-sent events: those after the client's last one, then each new one; the stream
/// ends after the job's last. A client that has them all gets 204, after which an
/// `EventSource` does not reconnect.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs", security(("token" = [])),
    params(
        ("id" = Uuid, Path, description = "The job"),
        ("Last-Event-ID" = Option<String>, Header, example = "3",
            description = "The id of the last event received; none is missed or repeated. What is \
                no event's id counts as absent"),
        Resume),
    responses(
        (status = OK, body = JobEventFrame, content_type = "text/event-stream",
            description = "Each event's id is its number in the job's history"),
        (status = NO_CONTENT, description = "The job has ended, and the client has every event")))]
pub(super) async fn stream(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Query(resume): Query<Resume>,
) -> Result<Response, ApiError> {
    let user_id = caller.acting_for(None)?;
    let after = last_event_id(&headers, &resume);
    let watcher = state.watching.changes.job(id);
    let mark = own_mark(&state, id, user_id).await?;
    if mark.state.is_terminal() && after == mark.seq {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let slot = state.watching.slots.take(user_id, Waiter::Stream);
    let slot = slot.ok_or_else(|| too_many_streams(&state.watching.slots))?;
    let history = History {
        job: id,
        // A number that the job has not reached is not from this stream.
        seen: if after <= mark.seq { after } else { 0 },
        pending: Pending::default(),
        over: false,
        greeted: false,
        looked: false,
        watcher,
        watching: state.watching.clone(),
        drain: state.shutdown.drain.clone(),
        _slot: slot,
    };
    let events = stream::unfold(history, |mut history| async move {
        // A draining ingress ends the stream; the client resumes at another one.
        let drain = history.drain.clone();
        let event = drain.run_until_cancelled(history.next()).await??;
        Some((Ok::<_, Infallible>(event), history))
    });
    let heartbeat = KeepAlive::new().interval(state.watching.config.heartbeat);
    Ok((UNBUFFERED, Sse::new(events).keep_alive(heartbeat)).into_response())
}

/// The header takes precedence over the query. An invalid id counts as absent, because
/// some clients send "undefined" before they have one; without an id the stream starts at
/// the first event.
fn last_event_id(headers: &HeaderMap, resume: &Resume) -> i32 {
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let query = resume.last_event_id.as_deref();
    header.and_then(event_id).or_else(|| query.and_then(event_id)).unwrap_or_default()
}

fn event_id(text: &str) -> Option<i32> {
    text.trim().parse().ok().filter(|seq| *seq >= 0)
}

fn too_many_streams(slots: &WaitSlots) -> ApiError {
    ApiError::QuotaExceeded(Box::new(QuotaExceeded {
        detail: format!(
            "you have {} event streams and held requests open here; close some, or watch \
             several jobs through GET /v1/jobs",
            slots.per_user()
        ),
        retry_after: Duration::from_secs(5),
        policies: vec!["open-streams".to_owned()],
        headers: HeaderMap::new(),
    }))
}

/// One client's position in a job's events.
struct History {
    job: Uuid,
    seen: i32,
    pending: Pending,
    over: bool,
    greeted: bool,
    looked: bool,
    watcher: Watcher,
    watching: Watching,
    drain: CancellationToken,
    _slot: WaitSlot,
}

/// Events read and not yet sent; shared with other streams of the job.
#[derive(Default)]
struct Pending {
    lines: Option<Arc<[HistoryLine]>>,
    sent: usize,
}

impl Pending {
    fn pop(&mut self) -> Option<&HistoryLine> {
        let line = self.lines.as_ref()?.get(self.sent);
        self.sent += 1;
        line
    }
}

impl History {
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(greeting(self.job));
        }
        loop {
            if let Some(line) = self.pending.pop() {
                self.seen = line.seq;
                self.over = is_last(line);
                return Some(frame(line));
            }
            self.pending = Pending::default();
            if self.over {
                return None;
            }
            if self.looked {
                self.watcher.changed().await;
            }
            self.looked = true;
            match self.look().await {
                Ok(Look::News(lines)) => self.pending = Pending { lines: Some(lines), sent: 0 },
                Ok(Look::Nothing) => {}
                Ok(Look::Over) => return None,
                Err(error) => {
                    tracing::debug!(%error, job = %self.job, "could not read events; trying again");
                    tokio::time::sleep(BACKOFF).await;
                    self.looked = false;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Look, LookupError> {
        if let Some(lines) = self.news().await? {
            return Ok(Look::News(lines));
        }
        let Some(mark) = self.watching.marks.find(self.job).await? else { return Ok(Look::Over) };
        // There may be events between the two reads.
        if mark.seq > self.seen
            && let Some(lines) = self.news().await?
        {
            return Ok(Look::News(lines));
        }
        Ok(if mark.state.is_terminal() { Look::Over } else { Look::Nothing })
    }

    async fn news(&mut self) -> Result<Option<Arc<[HistoryLine]>>, LookupError> {
        let lines = self.watching.histories.find((self.job, self.seen)).await?;
        if let Some(last) = lines.as_ref().and_then(|lines| lines.last()) {
            self.watcher.saw(last.seq);
        }
        Ok(lines)
    }
}

/// The result of a read.
enum Look {
    News(Arc<[HistoryLine]>),
    Nothing,
    Over,
}

fn is_last(line: &HistoryLine) -> bool {
    line.kind.parse::<JobEventKind>().is_ok_and(JobEventKind::is_terminal)
}

/// Sent first: the reconnection time. It also opens the stream at once, even without
/// events.
fn greeting(job: Uuid) -> Event {
    // Spread by the job's id, without a random number.
    let spread = Duration::from_millis(job.as_u128() as u64 % 1_000);
    Event::default().retry(RECONNECT + spread)
}

fn frame(line: &HistoryLine) -> Event {
    let event = Event::default().id(line.seq.to_string()).event(&line.kind);
    event.json_data(line).unwrap_or_else(|_| Event::default().comment("unreadable"))
}
