//! The time of day, for time stamps in replies and counts.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the simulator's one reading of the clock")]
pub(crate) fn epoch_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch.
pub(crate) fn epoch_seconds() -> u64 {
    epoch_micros() / 1_000_000
}

/// `micros` as the milliseconds, with fraction, that the control API shows.
#[expect(clippy::cast_precision_loss, reason = "exact until the year 2255")]
pub(crate) fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
