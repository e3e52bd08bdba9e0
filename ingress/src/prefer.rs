//! `Prefer: wait=N` (RFC 7240): how long a client accepts to wait.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

/// The longest wait, in seconds.
pub const MAX_WAIT_SECONDS: u64 = 60;

/// The header with the applied preference.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The supported preferences of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefer {
    /// How long to wait; at most a minute.
    pub wait: Option<Duration>,
}

impl<S: Sync> FromRequestParts<S> for Prefer {
    type Rejection = Infallible;

    /// Malformed preferences are ignored, as the standard requires.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let values = parts.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        Ok(Self { wait: values.flat_map(|value| value.split(',')).find_map(wait_of) })
    }
}

/// Adds to `response` that the wait was applied.
pub fn applied(response: &mut Response, wait: Duration) {
    if let Ok(value) = HeaderValue::try_from(format!("wait={}", wait.as_secs())) {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
}

fn wait_of(preference: &str) -> Option<Duration> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("wait") {
        return None;
    }
    let seconds: u64 = value.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_WAIT_SECONDS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_found_among_others_and_bounded() {
        assert_eq!(wait_of("wait=5"), Some(Duration::from_secs(5)));
        assert_eq!(wait_of(" Wait = \"5\"; foo"), Some(Duration::from_secs(5)));
        assert_eq!(wait_of("wait=9999"), Some(Duration::from_secs(MAX_WAIT_SECONDS)));
        assert_eq!(wait_of("wait=-1"), None);
        assert_eq!(wait_of("respond-async"), None);
    }
}
