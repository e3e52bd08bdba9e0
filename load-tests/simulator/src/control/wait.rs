//! `GET /control/wait`: answers when a count has been reached, so that tests
//! wait for events instead of time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State as App};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::calls::tally::Tally;
use crate::provider::Provider;
use crate::state::State;

use super::{Which, refused};

/// The longest wait in seconds.
const LONGEST: f64 = 60.0;

/// The counts to wait for; all given ones must be reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    provider: Option<Provider>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    marker: Option<String>,
    /// At least this many calls have arrived.
    calls: Option<u64>,
    /// At least this many were answered with a complete plan.
    answered: Option<u64>,
    /// At least this many have ended, in any way.
    finished: Option<u64>,
    /// At least this many were aborted by their caller.
    aborted: Option<u64>,
    /// At least this many are open.
    open: Option<u64>,
    /// At most this many are open.
    open_at_most: Option<u64>,
    /// Seconds to wait, up to 60.
    timeout: Option<f64>,
}

impl Wanted {
    fn is_met(&self, tally: &Tally) -> bool {
        let least = |wanted: Option<u64>, count: u64| wanted.is_none_or(|wanted| count >= wanted);
        least(self.calls, tally.calls)
            && least(self.answered, tally.answered)
            && least(self.finished, tally.calls - tally.open)
            && least(self.aborted, tally.aborted)
            && least(self.open, tally.open)
            && self.open_at_most.is_none_or(|most| tally.open <= most)
    }

    fn is_empty(&self) -> bool {
        let counts =
            [self.calls, self.answered, self.finished, self.aborted, self.open, self.open_at_most];
        counts.iter().all(Option::is_none)
    }
}

/// Answers 200 with the counts when they are reached, 504 with the counts when the time
/// is up.
pub(super) async fn wait(App(state): App<Arc<State>>, Query(wanted): Query<Wanted>) -> Response {
    if wanted.is_empty() {
        return refused(
            "name at least one count to wait for: calls, answered, finished, aborted, open or open_at_most",
        );
    }
    let which = Which {
        provider: wanted.provider,
        model: wanted.model.clone(),
        marker: wanted.marker.clone(),
        limit: None,
    };
    let filter = match which.filter(&state) {
        Ok(filter) => filter,
        Err(error) => return refused(error),
    };
    let seconds = wanted.timeout.unwrap_or(LONGEST).clamp(0.0, LONGEST);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    loop {
        let mut change = pin!(state.ledger.change());
        // Registered before the counts are read, so that no change is missed.
        change.as_mut().enable();
        let tally = state.ledger.tally(&filter);
        if wanted.is_met(&tally) {
            return Json(json!({"met": true, "counts": tally})).into_response();
        }
        if tokio::time::timeout_at(until, change).await.is_err() {
            let body = json!({"met": false, "counts": tally});
            return (StatusCode::GATEWAY_TIMEOUT, Json(body)).into_response();
        }
    }
}
