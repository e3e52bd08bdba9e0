//! The headers of idempotent requests: the client's key, and the mark on a
//! repeated response.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

/// Carries the client's key for repeating a request safely.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

/// Marks the answer to a request that was sent before under the same key: the
/// limits neither count nor refuse it.
#[derive(Debug, Clone, Copy)]
pub struct Repeated;

/// An idempotency key that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Idempotency-Key must be printable ASCII")]
pub struct UnreadableKey;

/// The idempotency key of a request, if it has one.
///
/// # Errors
/// It is no printable ASCII.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, UnreadableKey> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    key.to_str().map(|key| Some(key.to_owned())).map_err(|_| UnreadableKey)
}

/// Says on `response` that it was given before; the limits then do not count it.
pub fn mark_replayed(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response.extensions_mut().insert(Repeated);
}
