//! Calendar days and months in UTC.

use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, Utc};

/// A stretch of time: from `start`, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
}

/// The day of `at`.
pub(super) fn day(at: DateTime<Utc>) -> Period {
    let date = at.date_naive();
    Period { start: midnight(date), end: midnight(date + Days::new(1)) }
}

/// The calendar month of `at`.
pub(super) fn month(at: DateTime<Utc>) -> Period {
    use chrono::Datelike;
    let date = at.date_naive();
    let first = date.with_day(1).unwrap_or(date);
    Period { start: midnight(first), end: midnight(first + Months::new(1)) }
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_where_the_next_begin() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let late = at("2026-12-31T23:59:59Z");
        assert_eq!(day(late).start, at("2026-12-31T00:00:00Z"));
        assert_eq!(day(late).end, at("2027-01-01T00:00:00Z"));
        assert_eq!(month(late).start, at("2026-12-01T00:00:00Z"));
        assert_eq!(month(late).end, at("2027-01-01T00:00:00Z"));
        assert_eq!(month(at("2028-02-29T12:00:00Z")).end, at("2028-03-01T00:00:00Z"));
    }
}
