//! The one place where this program asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, for what other programs are told.
pub(crate) fn seconds_since_1970() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a token must hold at the real time")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
