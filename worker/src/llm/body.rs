//! The body of a reply as it arrives: read piece by piece within time and size
//! limits, whole or as a stream of events. Its first character distinguishes
//! the two, because the media type is unreliable.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::Phase;
use super::http::{Assemble, causes};
use super::reading::parts;
use super::sse::{Decoder, Event};
use super::{ProviderError, Timeouts};
use crate::json;

/// A plan is some tens of kilobytes; a reply a hundred times larger is a fault.
const REPLY_LIMIT: usize = 8 * 1024 * 1024;
/// Enough of an error body for every known error shape.
const ERROR_LIMIT: usize = 64 * 1024;
/// How long to wait for the end of a stream after its last event, so that the connection
/// can be reused.
const DRAIN: Duration = Duration::from_millis(250);
/// How long to wait for more of a stream after the model has stopped: for the usage and
/// the end mark, which not every host sends.
const LINGER: Duration = Duration::from_secs(2);

/// This many bytes distinguish a field of a stream from other text.
const LONGEST_FIELD: usize = b"event:".len();

/// The reply as it arrived.
pub(super) enum Arrived {
    /// The events of a stream, assembled.
    Assembled(Value),
    /// Any other body.
    Whole(String),
}

/// A response body that is being read.
pub(super) struct Body {
    response: Response,
    first_byte: Instant,
    timeouts: Timeouts,
    started: bool,
}

impl Body {
    pub(super) fn new(response: Response, first_byte: Instant, timeouts: Timeouts) -> Self {
        Self { response, first_byte, timeouts, started: false }
    }

    /// Reads the whole body. `is_stream` comes from the media type.
    pub(super) async fn read(
        mut self,
        is_stream: bool,
        assembler: Box<dyn Assemble>,
    ) -> Result<Arrived, ProviderError> {
        let mut opening = Vec::new();
        while significant(&opening).len() < LONGEST_FIELD {
            let Some(chunk) = self.next().await? else { break };
            opening.extend_from_slice(&chunk);
            if opening.len() > REPLY_LIMIT {
                return Err(ProviderError::TooLarge { limit: REPLY_LIMIT });
            }
        }
        let first = significant(&opening);
        if first.is_empty() {
            return Err(ProviderError::Cut { detail: "the body is empty".to_owned() });
        }
        let fields: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
        let streamed = match first {
            [b'{' | b'[' | b'<', ..] => false,
            first => is_stream || fields.iter().any(|field| first.starts_with(field)),
        };
        if streamed {
            return self.assemble(&opening, assembler).await.map(Arrived::Assembled);
        }
        self.whole_text(opening).await.map(Arrived::Whole)
    }

    /// As much of an error body as arrives; the status counts even without it.
    pub(super) async fn start_of_text(&mut self) -> String {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = self.next().await {
            body.extend_from_slice(&chunk);
            if body.len() >= ERROR_LIMIT {
                body.truncate(ERROR_LIMIT);
                break;
            }
        }
        String::from_utf8_lossy(&body).into_owned()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ProviderError> {
        let (deadline, phase, after) = if self.started {
            (Instant::now() + self.timeouts.stall, Phase::Stall, self.timeouts.stall)
        } else {
            (self.first_byte, Phase::FirstByte, self.timeouts.first_byte)
        };
        let chunk = timeout_at(deadline, self.response.chunk())
            .await
            .map_err(|_| ProviderError::Timeout { phase, after })?;
        self.started = true;
        chunk.map_err(|error| ProviderError::Cut { detail: causes(error) })
    }

    async fn assemble(
        mut self,
        opening: &[u8],
        mut assembler: Box<dyn Assemble>,
    ) -> Result<Value, ProviderError> {
        let (mut decoder, mut events) = (Decoder::new(REPLY_LIMIT), Vec::new());
        let (mut read, mut chunk) = (0, Some(Bytes::copy_from_slice(opening)));
        while let Some(bytes) = chunk {
            read += bytes.len();
            if read > REPLY_LIMIT {
                return Err(ProviderError::TooLarge { limit: REPLY_LIMIT });
            }
            decoder
                .push(&bytes, &mut events)
                .map_err(|error| ProviderError::Cut { detail: error.to_string() })?;
            match push_all(assembler.as_mut(), &mut events) {
                Ok(false) => {}
                Err(_) if assembler.is_said() => return Ok(assembler.finish()),
                ended => {
                    ended?;
                    self.drain().await;
                    return Ok(assembler.finish());
                }
            }
            chunk = match self.more(assembler.as_ref()).await {
                // A complete text is accepted, however its stream ends.
                Err(_) if assembler.is_whole() => return Ok(assembler.finish()),
                more => more?,
            };
        }
        decoder.finish(&mut events);
        let ended = push_all(assembler.as_mut(), &mut events);
        let ended = match ended {
            // The last event may be incomplete.
            Err(ProviderError::Cut { .. }) => false,
            Err(_) if assembler.is_said() => true,
            ended => ended?,
        };
        if ended || assembler.has_stopped() || assembler.is_whole() {
            return Ok(assembler.finish());
        }
        Err(ProviderError::Cut { detail: "the stream ended without its last event".to_owned() })
    }

    /// The next piece of a stream; none when it is over, or seems to be.
    async fn more(&mut self, assembler: &dyn Assemble) -> Result<Option<Bytes>, ProviderError> {
        if assembler.has_stopped() {
            match timeout(LINGER, self.next()).await {
                Ok(next) => return next,
                Err(_) if assembler.is_whole() => return Ok(None),
                Err(_) => {}
            }
        }
        self.next().await
    }

    async fn drain(mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        // If the end is not reached, only the connection cannot be reused.
        let _ = timeout(DRAIN, rest).await;
    }

    async fn whole_text(mut self, mut body: Vec<u8>) -> Result<String, ProviderError> {
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        loop {
            let chunk = match self.next().await {
                // A complete document is accepted, however its connection ends.
                Err(_) if json::document(&text(&body)).is_ok() => break,
                chunk => chunk?,
            };
            let Some(chunk) = chunk else { break };
            if body.len() + chunk.len() > REPLY_LIMIT {
                return Err(ProviderError::TooLarge { limit: REPLY_LIMIT });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(text(&body))
    }
}

/// Adds the events; true once one of them was the last.
fn push_all(assembler: &mut dyn Assemble, events: &mut Vec<Event>) -> Result<bool, ProviderError> {
    for event in events.drain(..).flat_map(parts) {
        if assembler.push(&event)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The bytes after white space and a byte order mark.
fn significant(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.trim_ascii_start();
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}
