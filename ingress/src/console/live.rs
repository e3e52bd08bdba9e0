//! Live parts of pages as server-sent events: each event is the part anew, rendered
//! here. A stream ends with its session, and each operator has a number of them.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::future::select_all;
use futures_util::stream;
use regimen_common::db::StatementLimits;
use regimen_common::db::limits::within;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::fault::{Answer, Fault};
use crate::error::{ApiError, QuotaExceeded};
use crate::state::AppState;
use crate::watching::{Waiter, Watcher};

/// The shortest time between two events.
const PACE: Duration = Duration::from_millis(400);
/// Between two looks at what has no events.
const CLOCK: Duration = Duration::from_secs(2);
const PLACES: Duration = Duration::from_secs(5);
/// A stream ends after this time and the page opens it again, which looks at the session.
const LONGEST: Duration = Duration::from_secs(300);
/// Proxies must not hold events back.
const UNBUFFERED: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
];

/// When to look again.
pub(super) enum Rhythm {
    /// When something may have happened to one of these jobs.
    Jobs(Vec<Watcher>),
    /// Every few seconds.
    Clock,
}

impl Rhythm {
    async fn next(&mut self) {
        match self {
            Self::Jobs(watchers) => {
                let changes = watchers.iter_mut().map(|watcher| Box::pin(watcher.changed()));
                // The place in the queue changes without an event.
                let _ = timeout(PLACES, select_all(changes)).await;
            }
            Self::Clock => sleep(CLOCK).await,
        }
    }
}

/// A live part as it is now.
pub(super) struct Frame {
    /// The part.
    pub(super) html: String,
    /// Whether it changes no more.
    pub(super) is_last: bool,
}

struct Stream<F> {
    render: F,
    rhythm: Rhythm,
    sent: Option<String>,
    is_over: bool,
    until: Instant,
    drain: tokio_util::sync::CancellationToken,
    _slot: crate::watching::WaitSlot,
}

/// The stream of a part that `render` makes.
///
/// # Errors
/// 429 when its `holder`, a session or a user, has too many open.
pub(super) fn stream<F, T>(state: &AppState, holder: Uuid, rhythm: Rhythm, render: F) -> Answer
where
    F: Fn() -> T + Send + 'static,
    T: Future<Output = Result<Frame, ApiError>> + Send,
{
    let slots = &state.watching.slots;
    let slot = slots.take(holder, Waiter::Stream).ok_or_else(|| {
        Fault::from(ApiError::QuotaExceeded(Box::new(QuotaExceeded {
            detail: format!("you have {} live pages open; close some", slots.per_user()),
            retry_after: Duration::from_secs(5),
            policies: vec!["open-streams".to_owned()],
            headers: axum::http::HeaderMap::new(),
        })))
    })?;
    let (until, drain) = (Instant::now() + LONGEST, state.shutdown.drain.clone());
    let first = Stream { render, rhythm, sent: None, is_over: false, until, drain, _slot: slot };
    let events = stream::unfold(first, |mut stream| async move {
        let drain = stream.drain.clone();
        let event = drain.run_until_cancelled(stream.next()).await??;
        Some((Ok::<_, Infallible>(event), stream))
    });
    let heartbeat = KeepAlive::new().interval(state.watching.config.heartbeat);
    Ok((UNBUFFERED, Sse::new(events).keep_alive(heartbeat)).into_response())
}

impl<F, T> Stream<F>
where
    F: Fn() -> T,
    T: Future<Output = Result<Frame, ApiError>>,
{
    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            if self.sent.is_some() {
                sleep(PACE).await;
                let left = self.until.saturating_duration_since(Instant::now());
                timeout(left, self.rhythm.next()).await.ok()?;
            }
            // On the heap: what a page reads makes a large future, and streams nest.
            let render = Box::pin((self.render)());
            let frame = within(StatementLimits::REQUEST.usual, render).await.ok()?;
            self.is_over = frame.is_last;
            if self.sent.as_ref() != Some(&frame.html) {
                let event = Event::default().event("part").data(frame.html.clone());
                self.sent = Some(frame.html);
                return Some(event);
            }
        }
        // Told, so that the page does not open the stream again.
        let told = self.sent.take().is_some();
        told.then(|| Event::default().event("over").data("over"))
    }
}
