//! The headers of idempotent requests: the client's key, and the mark on a
//! repeated response.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

/// The header with the client's idempotency key.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

/// Marks a repeated response: the limits neither count nor refuse it.
#[derive(Debug, Clone, Copy)]
pub struct Repeated;

/// Marks the response to a request that was accepted: the limits count it, also if its plan
/// failed.
#[derive(Debug, Clone, Copy)]
pub struct NewlyAccepted;

/// An idempotency key that is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Idempotency-Key must be printable ASCII")]
pub struct UnreadableKey;

/// The idempotency key of a request, if it has one.
///
/// # Errors
/// It is not printable ASCII.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, UnreadableKey> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    key.to_str().map(|key| Some(key.to_owned())).map_err(|_| UnreadableKey)
}

/// Marks `response` as repeated; the limits then do not count it.
pub fn mark_replayed(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response.extensions_mut().insert(Repeated);
}
