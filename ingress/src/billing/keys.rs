//! Idempotency keys of calls to Stripe.
//!
//! A caller's own key makes repeating safe for a day. It is bound to the caller
//! and the purpose, so that two callers' keys never collide. Without one, a
//! call has its own key that only its retries share.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use stripe_client_core::IdempotencyKey;
use uuid::Uuid;

use crate::error::ApiError;
use crate::extract::is_plain;
use crate::idempotency::{IDEMPOTENCY_KEY, idempotency_key};

/// The key for `action` of `actor`, from the request's headers or newly generated.
///
/// # Errors
/// 400 for an invalid key.
pub fn of_request(
    headers: &HeaderMap,
    action: &str,
    actor: &str,
) -> Result<IdempotencyKey, ApiError> {
    match idempotency_key(headers)? {
        Some(own) if !is_plain(&own) => Err(ApiError::BadRequest(
            "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces".to_owned(),
        )),
        Some(own) => derived(&[action, actor, &own]),
        None => derived(&[action, actor, &Uuid::new_v4().to_string()]),
    }
}

/// The key of a refund. A payment is refunded once: without a key of the caller's,
/// payment and amount are the key.
///
/// # Errors
/// 400 for an invalid key.
pub fn of_refund(
    headers: &HeaderMap,
    actor: &str,
    payment: &str,
    amount: Option<i64>,
) -> Result<IdempotencyKey, ApiError> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return of_request(headers, "refund", actor);
    }
    let amount = amount.map_or_else(|| "all".to_owned(), |amount| amount.to_string());
    derived(&["refund", payment, &amount])
}

/// A key derived from these words.
///
/// # Errors
/// Never in practice: the key is a digest.
pub fn derived(words: &[&str]) -> Result<IdempotencyKey, ApiError> {
    let mut digest = Sha256::new();
    for word in words {
        // Lengths separate the words: "ab", "c" is not "a", "bc".
        digest.update((word.len() as u64).to_be_bytes());
        digest.update(word.as_bytes());
    }
    IdempotencyKey::new(format!("regimen-{}", hex::encode(digest.finalize())))
        .map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(own: Option<&'static str>, action: &str, actor: &str) -> String {
        let mut headers = HeaderMap::new();
        if let Some(own) = own {
            headers.insert("idempotency-key", own.parse().unwrap());
        }
        of_request(&headers, action, actor).unwrap().into_inner()
    }

    #[test]
    fn a_key_is_bound_to_its_sender_and_purpose() {
        let first = key(Some("k"), "checkout", "ada");
        assert_eq!(first, key(Some("k"), "checkout", "ada"));
        assert_ne!(first, key(Some("k"), "checkout", "bob"));
        assert_ne!(first, key(Some("k"), "portal", "ada"));
        assert_ne!(key(None, "checkout", "ada"), key(None, "checkout", "ada"));
        assert_ne!(derived(&["ab", "c"]).unwrap(), derived(&["a", "bc"]).unwrap());
    }
}
