//! A response body that is sent step by step.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::guard::Guard;
use super::tally::Outcome;

/// One step of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Bytes),
    /// Waits.
    Wait(Duration),
    /// Sends nothing more.
    Hang,
    /// Closes the connection in the middle of the body.
    Cut,
}

struct Play {
    steps: VecDeque<Step>,
    guard: Guard,
    outcome: Outcome,
}

/// A body of `steps`. The call ends with its last byte.
pub(crate) fn body(steps: impl IntoIterator<Item = Step>, guard: Guard, outcome: Outcome) -> Body {
    let play = Play { steps: steps.into_iter().collect(), guard, outcome };
    Body::from_stream(stream::unfold(play, |mut play| async move {
        let bytes = next(&mut play).await?;
        Some((bytes, play))
    }))
}

async fn next(play: &mut Play) -> Option<Result<Bytes, io::Error>> {
    loop {
        match play.steps.pop_front()? {
            Step::Send(bytes) => {
                // Ended here and not at the next poll, because a caller that has what it
                // needs may close the connection without reading the end.
                if play.steps.is_empty() {
                    play.guard.end(play.outcome);
                }
                return Some(Ok(bytes));
            }
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Hang => never::<()>().await,
            Step::Cut => {
                play.guard.end(play.outcome);
                return Some(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
    }
}

/// Waits until the caller gives up.
pub(crate) async fn never<T>() -> T {
    pending().await
}
