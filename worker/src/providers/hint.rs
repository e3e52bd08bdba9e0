//! How long a provider asks us to wait, in the several ways they say it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;

/// No hint is believed beyond this; it only has to be longer than any deadline.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// `retry-after-ms` (milliseconds, maybe fractional), else `retry-after`
/// (seconds, maybe fractional, or an HTTP date).
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    if let Some(wait) = text(headers, "retry-after-ms").and_then(|ms| number(ms, 1_000.0)) {
        return Some(wait);
    }
    let value = text(headers, "retry-after")?;
    number(value, 1.0).or_else(|| {
        let date = DateTime::parse_from_rfc2822(value).ok()?;
        Some(until(date.with_timezone(&Utc), now))
    })
}

/// OpenAI's `x-ratelimit-reset-{requests,tokens}`: durations such as `6m30s`.
/// The longest of those limits that have nothing remaining.
pub fn openai_reset(headers: &HeaderMap) -> Option<Duration> {
    ["requests", "tokens"]
        .into_iter()
        .filter(|limit| used_up(headers, &format!("x-ratelimit-remaining-{limit}")))
        .filter_map(|limit| duration(text(headers, &format!("x-ratelimit-reset-{limit}"))?))
        .max()
}

/// Anthropic's `anthropic-ratelimit-*-reset`: RFC 3339 instants. The latest of
/// those limits that have nothing remaining.
pub fn anthropic_reset(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    ["requests", "tokens", "input-tokens", "output-tokens"]
        .into_iter()
        .filter(|limit| used_up(headers, &format!("anthropic-ratelimit-{limit}-remaining")))
        .filter_map(|limit| {
            let at = text(headers, &format!("anthropic-ratelimit-{limit}-reset"))?;
            Some(until(DateTime::parse_from_rfc3339(at).ok()?.with_timezone(&Utc), now))
        })
        .max()
}

/// A duration in the text form of Go and protobuf: `27s`, `3.700s`, `6m30s`, `120ms`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total = total.saturating_add(seconds_of(value.parse::<f64>().ok()? * seconds)?);
        rest = tail;
    }
    Some(total.min(LONGEST))
}

/// The provider's word on retrying, which counts above the status.
pub fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match text(headers, "x-should-retry")? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

fn used_up(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).and_then(|left| left.parse::<i64>().ok()).is_some_and(|left| left <= 0)
}

fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (at - now).to_std().unwrap_or(Duration::ZERO).min(LONGEST)
}

fn number(text: &str, divisor: f64) -> Option<Duration> {
    seconds_of(text.parse::<f64>().ok()? / divisor)
}

fn seconds_of(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 22, 10, 0, 0).unwrap()
    }

    #[test]
    fn retry_after_is_read_in_all_three_forms() {
        let wait = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs), now());
        assert_eq!(wait(&[("retry-after", "20")]), Some(Duration::from_secs(20)));
        assert_eq!(wait(&[("retry-after", "1.5")]), Some(Duration::from_millis(1_500)));
        assert_eq!(
            wait(&[("retry-after", "Sun, 22 Nov 2026 10:00:07 GMT")]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(wait(&[("retry-after", "Sun, 22 Nov 2026 09:00:00 GMT")]), Some(Duration::ZERO));
        assert_eq!(
            wait(&[("retry-after-ms", "250.5"), ("retry-after", "9")]),
            Some(Duration::from_micros(250_500))
        );
        assert_eq!(
            wait(&[("retry-after-ms", "soon"), ("retry-after", "9")]),
            Some(Duration::from_secs(9))
        );
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn nonsense_is_no_hint_and_eternity_is_bounded() {
        let wait = |value: &str| retry_after(&headers(&[("retry-after", value)]), now());
        assert_eq!(wait("tomorrow"), None);
        assert_eq!(wait("NaN"), None);
        assert_eq!(wait("-3"), Some(Duration::ZERO));
        assert_eq!(wait("inf"), Some(LONGEST));
        assert_eq!(wait("1e300"), Some(LONGEST));
    }

    #[test]
    fn durations_are_read_as_the_providers_write_them() {
        assert_eq!(duration("27s"), Some(Duration::from_secs(27)));
        assert_eq!(duration("3.700s"), Some(Duration::from_millis(3_700)));
        assert_eq!(duration("6m30s"), Some(Duration::from_secs(390)));
        assert_eq!(duration("120ms"), Some(Duration::from_millis(120)));
        assert_eq!(duration("1h0m0.5s"), Some(Duration::from_millis(3_600_500)));
        for nonsense in ["", "7", "s", "1 s", "1.2.3s", "5y"] {
            assert_eq!(duration(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn only_a_limit_that_is_used_up_says_when_to_come_back() {
        let openai = headers(&[
            ("x-ratelimit-remaining-requests", "12"),
            ("x-ratelimit-reset-requests", "6m0s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "1.5s"),
        ]);
        assert_eq!(openai_reset(&openai), Some(Duration::from_millis(1_500)));
        let anthropic = headers(&[
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-11-22T10:00:04Z"),
            ("anthropic-ratelimit-output-tokens-remaining", "0"),
            ("anthropic-ratelimit-output-tokens-reset", "2026-11-22T10:00:09Z"),
            ("anthropic-ratelimit-tokens-remaining", "5"),
            ("anthropic-ratelimit-tokens-reset", "2026-11-22T11:00:00Z"),
        ]);
        assert_eq!(anthropic_reset(&anthropic, now()), Some(Duration::from_secs(9)));
        assert_eq!(anthropic_reset(&headers(&[]), now()), None);
    }

    #[test]
    fn the_word_on_retrying_is_true_false_or_absent() {
        assert_eq!(should_retry(&headers(&[("x-should-retry", "true")])), Some(true));
        assert_eq!(should_retry(&headers(&[("x-should-retry", "false")])), Some(false));
        assert_eq!(should_retry(&headers(&[("x-should-retry", "maybe")])), None);
    }
}
