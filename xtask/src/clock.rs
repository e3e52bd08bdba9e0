//! The one place where this program asks what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, for what other programs are told.
pub(crate) fn seconds_since_1970() -> u64 {
    since_1970().as_secs()
}

/// Microseconds since 1970, to compare with what other programs tell.
pub(crate) fn micros_since_1970() -> u64 {
    u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "other programs go by the real time")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
