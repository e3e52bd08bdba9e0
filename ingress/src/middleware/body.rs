//! A request body with limits on size and time.
//!
//! Both errors are errors of the body itself, so that its reader (JSON
//! extractor, webhook) can tell them apart.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{ApiError, Part};

/// Why reading a body was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    /// More bytes than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Too slow.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection broke.
    #[error("the connection ended inside the body")]
    Broken,
}

impl From<BodyRefused> for ApiError {
    fn from(refused: BodyRefused) -> Self {
        match refused {
            BodyRefused::TooLarge { limit } => Self::TooLarge { part: Part::Body, limit },
            BodyRefused::TooSlow => Self::Timeout,
            BodyRefused::Broken => Self::BadRequest(refused.to_string()),
        }
    }
}

/// Passes on `limit` bytes within `timeout`.
pub(super) fn guard(body: Body, limit: usize, timeout: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let deadline = Box::pin(sleep_until(Instant::now() + timeout));
    Body::new(Guarded { body, limit, read: 0, deadline })
}

/// The most that is read of a refused body.
const DISCARD_BYTES: usize = 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads a refused body for a while: if the connection were closed while the client is
/// still sending, the client would not see the response. Returns whether that was all.
pub(super) async fn discard(body: Body) -> bool {
    let mut body = guard(body, DISCARD_BYTES, DISCARD_TIMEOUT);
    loop {
        match body.frame().await {
            Some(Ok(_)) => {}
            end => return end.is_none(),
        }
    }
}

struct Guarded {
    body: Body,
    limit: usize,
    read: usize,
    deadline: Pin<Box<Sleep>>,
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = BodyRefused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.read += frame.data_ref().map_or(0, Bytes::len);
                if self.read > self.limit {
                    return Poll::Ready(Some(Err(BodyRefused::TooLarge { limit: self.limit })));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BodyRefused::Broken))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let late = self.deadline.as_mut().poll(cx).is_ready();
                if late { Poll::Ready(Some(Err(BodyRefused::TooSlow))) } else { Poll::Pending }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
