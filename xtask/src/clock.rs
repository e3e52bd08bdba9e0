//! The only place where this program reads the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;

/// Seconds since 1970, for data passed to other programs.
pub(crate) fn seconds_since_1970() -> u64 {
    since_1970().as_secs()
}

/// Microseconds since 1970, to compare with data of other programs.
pub(crate) fn micros_since_1970() -> u64 {
    u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "other programs go by the real time")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The date of a time, as `YYYY-MM-DD` in UTC.
pub(crate) fn day(seconds: i64) -> String {
    DateTime::from_timestamp_secs(seconds).unwrap_or_default().format("%Y-%m-%d").to_string()
}

/// The present time in the format of HTTP's `Date`.
pub(crate) fn http_date() -> String {
    date_of(seconds_since_1970())
}

/// A time in the same format.
pub(crate) fn date_of(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Seconds from `date --utc --date=… +%s`.
        assert_eq!(date_of(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date_of(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date_of(1_795_392_000 + 86_399), "Mon, 23 Nov 2026 23:59:59 GMT");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(1_800_574_790), "2027-01-21");
        assert_eq!(day(4_107_542_399), "2100-02-28");
    }
}
