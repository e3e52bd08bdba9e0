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

/// The day of a moment, as `YYYY-MM-DD` in UTC.
pub(crate) fn day(seconds: i64) -> String {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Now, as the `Date` of an HTTP reply (RFC 9110, section 5.6.7).
pub(crate) fn http_date() -> String {
    date_of(i64::try_from(seconds_since_1970()).unwrap_or_default())
}

/// A moment, in the same form.
pub(crate) fn date_of(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], at: i64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
    };
    let (weekday, month) = (name(&DAYS, days.rem_euclid(7)), name(&MONTHS, month - 1));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month and day of a day counted from 1970, in the Gregorian calendar.
/// Years begin in March here, so that a leap day is their last one.
fn civil(days: i64) -> (i64, i64, i64) {
    // From 1 March of the year 0; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
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
