//! Reads a provider's retry-after in its various forms: seconds, a duration, or
//! an instant, in headers and in the body.
//!
//! Values are bounded: a number that can only be an instant is read as one;
//! values in the past, zero and negative values are ignored; and one reply
//! never causes a cool-down longer than [`LONGEST`].

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use http::HeaderMap;
use serde_json::Value;

use super::content::word;

/// The longest accepted retry-after. A provider that needs more will repeat it, and an
/// operator can pause it.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Shorter values are not intended as waits.
const SHORTEST: Duration = Duration::from_millis(20);
/// From here on a number is an instant: seconds since 1970, or finer units if it is
/// larger. As a wait it would be thirty years.
const FIRST_EPOCH: f64 = 1e9;

/// The retry-after in headers: `retry-after-ms`, else `retry-after`, else the same names
/// with a prefix (`x-ms-retry-after-ms`), else the latest reset of a rate limit that is
/// used up.
pub fn in_headers(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let (millis, seconds) = ("retry-after-ms", "retry-after");
    let of = |name: &str, unit: f64| wait(text(headers, name)?, unit, Some(now));
    let any = |end: &str, unit: f64| {
        let names = headers.keys().map(http::HeaderName::as_str);
        names.filter(|name| name.ends_with(end)).find_map(|name| of(name, unit))
    };
    of(millis, 1e-3)
        .or_else(|| of(seconds, 1.0))
        .or_else(|| any(millis, 1e-3))
        .or_else(|| any(seconds, 1.0))
        .or_else(|| reset(headers, now))
}

/// The latest `…ratelimit…reset…` of those limits that have nothing remaining:
/// `x-ratelimit-reset-tokens`, `anthropic-ratelimit-requests-reset`, `ratelimit-reset` …
pub fn reset(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let is_reset = |name: &str| name.contains("ratelimit") && name.contains("reset");
    let resets = headers.keys().map(http::HeaderName::as_str).filter(|name| is_reset(name));
    resets
        .filter(|name| used_up(headers, &name.replace("reset", "remaining")))
        .filter_map(|name| wait(text(headers, name)?, 1.0, Some(now)))
        .max()
}

/// The retry-after in the parts of a body: google.rpc.RetryInfo, or a field such as
/// `retry_after`, `retryAfterMs` or `X-RateLimit-Reset`. Without `now`, instants are
/// ignored.
pub fn in_body(parts: &[&Value], now: Option<DateTime<Utc>>) -> Option<Duration> {
    let info = |part: &Value| {
        let details = part["details"].as_array()?;
        details.iter().find_map(|detail| delay(&detail["retryDelay"], 1.0, now))
    };
    let infos = parts.iter().find_map(|part| info(part));
    infos.or_else(|| {
        let fields = parts.iter().filter_map(|part| part.as_object()).flatten();
        let waits = fields.filter_map(|(name, value)| {
            let name: String = name
                .chars()
                .filter(char::is_ascii_alphabetic)
                .map(|c| c.to_ascii_lowercase())
                .collect();
            let unit = match name.as_str() {
                "retryafterms" | "retryaftermillis" | "retryinms" => 1e-3,
                "retryafter" | "retryafterseconds" | "retryaftersec" | "retryin" | "retrydelay" => {
                    1.0
                }
                reset if reset.contains("ratelimit") && reset.contains("reset") => 1.0,
                _ => return None,
            };
            delay(value, unit, now)
        });
        waits.max()
    })
}

/// A wait as a number, a text, or protobuf seconds.
fn delay(value: &Value, unit: f64, now: Option<DateTime<Utc>>) -> Option<Duration> {
    match value {
        Value::Object(parts) => wait(&word(parts.get("seconds")?), 1.0, now),
        value => wait(&word(value), unit, now),
    }
}

/// "Please try again in 6m0s.", "Please retry in about 27.5s", "Retry after 20 seconds".
pub fn in_words(message: &str) -> Option<Duration> {
    const BEFORE: [&str; 8] = [
        "try again in ",
        "try again after ",
        "retry in ",
        "retry after ",
        "retrying in ",
        "please wait ",
        "resets in ",
        "reset in ",
    ];
    let message = message.to_ascii_lowercase();
    let (_, behind) = BEFORE.iter().find_map(|words| message.split_once(words))?;
    let from = behind.find(|letter: char| letter.is_ascii_digit()).filter(|from| *from <= 16)?;
    let mut words = behind.get(from..)?.split_whitespace();
    let plain = |word: &str| word.trim_end_matches(['.', ',', '!', ';', ')']).to_owned();
    let first = plain(words.next()?);
    let wait = match first.parse::<f64>() {
        Ok(_) => duration(&format!("{first}{}", plain(words.next()?))),
        Err(_) => duration(&first),
    };
    wait.filter(|wait| *wait >= SHORTEST)
}

/// A duration in the text form of Go and protobuf (`27s`, `3.700s`, `6m30s`,
/// `120ms`), of ISO 8601 (`PT1M30S`), or in words (`20 seconds`).
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let iso = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("pt"));
    let mut rest = if iso { text.get(2..)? } else { text };
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit.to_ascii_lowercase().as_str() {
            "d" | "day" | "days" => 86_400.0,
            "h" | "hour" | "hours" => 3_600.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "ms" | "millisecond" | "milliseconds" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total = total.saturating_add(seconds_of(value.parse::<f64>().ok()? * seconds)?);
        rest = tail.trim_start();
    }
    Some(total.min(LONGEST))
}

/// The provider's advice on retrying, which overrides the status.
pub fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match text(headers, "x-should-retry")?.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// A limit without a remaining count is used up, because the response was a refusal.
fn used_up(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).and_then(|left| left.parse::<f64>().ok()).is_none_or(|left| left <= 0.0)
}

/// The wait in `text`: a number of units of `unit` seconds, an instant as a number or a
/// date, or a duration; of several, the first. None if it is zero or in the past.
fn wait(text: &str, unit: f64, now: Option<DateTime<Utc>>) -> Option<Duration> {
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || "\"'".contains(letter));
    let wait = match text.parse::<f64>() {
        Ok(number) if number >= FIRST_EPOCH => until(instant(number)?, now?),
        Ok(number) => seconds_of(number * unit),
        Err(_) => duration(text).or_else(|| match date(text) {
            Some(date) => until(date, now?),
            // "30, 30", "30; comment"
            None => wait(text.split_once([',', ';'])?.0, unit, now),
        }),
    };
    wait.filter(|wait| *wait >= SHORTEST).map(|wait| wait.min(LONGEST))
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, by the size
/// of the number.
fn instant(number: f64) -> Option<DateTime<Utc>> {
    let mut seconds = number;
    for _ in 0..3 {
        // The year 5138: milliseconds are larger.
        if seconds >= 1e11 {
            seconds /= 1e3;
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "beyond the years of chrono it is none")]
    let millis = (seconds * 1e3) as i64;
    DateTime::from_timestamp_millis(millis)
}

/// An instant in one of HTTP's three forms, or as in RFC 3339 or RFC 2822; UTC if the
/// zone is missing.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let zoned = || {
        let others =
            || DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text));
        let http = httpdate::parse_http_date(text).ok().map(DateTime::<Utc>::from);
        http.or_else(|| others().ok().map(|date| date.to_utc()))
    };
    let plain = ["GMT", "UTC", "Z"].iter().find_map(|zone| text.strip_suffix(zone)).unwrap_or(text);
    let plain = plain.trim_end();
    let forms = ["%a, %d %b %Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let of = |form: &&str| NaiveDateTime::parse_from_str(plain, form).ok();
    zoned().or_else(|| forms.iter().find_map(of).map(|date| date.and_utc()))
}

fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
    (at - now).to_std().ok().map(|wait| wait.min(LONGEST))
}

/// NaN and infinity are not waits.
fn seconds_of(seconds: f64) -> Option<Duration> {
    if !seconds.is_finite() {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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

    fn asked(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        in_headers(&headers(pairs), now())
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        for (value, seconds) in [
            ("20", 20.0),
            ("1.5", 1.5),
            (" 20 ", 20.0),
            ("20s", 20.0),
            ("1m30s", 90.0),
            ("250ms", 0.25),
            ("20 seconds", 20.0),
            ("Sun, 22 Nov 2026 10:00:07 GMT", 7.0),
            ("Sunday, 22-Nov-26 10:00:07 GMT", 7.0),
            ("Sun Nov 22 10:00:07 2026", 7.0),
            ("2026-11-22T10:00:07Z", 7.0),
            ("2026-11-22T11:00:07+01:00", 7.0),
            ("1795341607", 7.0),
            ("1795341607.5", 7.5),
            ("1795341607000", 7.0),
            ("1795341607000000", 7.0),
            ("\"20\"", 20.0),
            ("20, 60", 20.0),
            ("20; w=1", 20.0),
            ("+20", 20.0),
            ("2e1", 20.0),
            ("020", 20.0),
            ("PT20S", 20.0),
            ("PT1M30S", 90.0),
            ("1 minute", 60.0),
            ("1 min 30 sec", 90.0),
            ("20000ms", 20.0),
            ("2026-11-22T10:00:07", 7.0),
            ("2026-11-22 10:00:07", 7.0),
            ("2026-11-22 10:00:07 UTC", 7.0),
            ("2026-11-22T10:00:07.500Z", 7.5),
            ("2026-11-22T10:00:07.500", 7.5),
            ("Sun, 22 Nov 2026 10:00:07 UTC", 7.0),
            ("Sun, 22 Nov 2026 10:00:07", 7.0),
            ("Sun, 22 Nov 2026 10:00:07 +0000", 7.0),
            ("22 Nov 2026 10:00:07 GMT", 7.0),
            ("1795341607000000000", 7.0),
        ] {
            let right = Some(Duration::from_secs_f64(seconds));
            assert_eq!(asked(&[("retry-after", value)]), right, "{value}");
        }
        let both = |ms| asked(&[("retry-after-ms", ms), ("retry-after", "9")]);
        assert_eq!(both("250.5"), Some(Duration::from_micros(250_500)));
        assert_eq!(both("soon"), Some(9 * SECOND));
        assert_eq!(both("1795341607000"), Some(7 * SECOND));
        assert_eq!(asked(&[("x-ms-retry-after-ms", "250")]), Some(Duration::from_millis(250)));
        assert_eq!(asked(&[("x-retry-after", "9")]), Some(9 * SECOND));
        assert_eq!(asked(&[("x-ratelimit-retry-after", "9")]), Some(9 * SECOND));
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn what_is_over_nothing_or_nonsense_is_no_hint_and_eternity_is_bounded() {
        for value in [
            "0",
            "-1",
            "-0",
            "0.0",
            "NaN",
            "inf",
            "-inf",
            "infinity",
            "tomorrow",
            "",
            "1e-9",
            // An instant that is over.
            "1795300000",
            "1795300000000",
            "Sun, 22 Nov 2026 09:00:00 GMT",
            "2020-01-01T00:00:00Z",
            "0s",
            "0ms",
            "-30s",
            "PT",
            "PT0S",
            "null",
            "None",
            "1/0",
            "later, 20",
            "2026-11-22T09:00:00",
            "Sun, 22 Nov 2026 10:00:00 GMT",
            "1795341600",
        ] {
            assert_eq!(asked(&[("retry-after", value)]), None, "{value}");
        }
        for value in [
            "20000",
            "604800",
            "999999999",
            "1e300",
            "1826877600",
            "99999999999999999999",
            "Mon, 22 Nov 2027 10:00:07 GMT",
            "9999-12-31T00:00:00Z",
            "24h",
            "7d",
            "PT24H",
            "3.2e9",
            "18446744073709551615",
            "253402300800000",
            "2027-11-22 10:00:00",
            "1e1000",
            "99999999999999999999s",
        ] {
            let bounded = asked(&[("retry-after", value)]);
            assert!(bounded.is_none_or(|wait| wait == LONGEST), "{value}: {bounded:?}");
        }
        assert_eq!(asked(&[("retry-after", "20000")]), Some(LONGEST));
        assert_eq!(asked(&[("retry-after-ms", "604800000")]), Some(LONGEST));
    }

    #[test]
    fn durations_are_read_as_the_providers_write_them() {
        assert_eq!(duration("27s"), Some(27 * SECOND));
        assert_eq!(duration("3.700s"), Some(Duration::from_millis(3_700)));
        assert_eq!(duration("6m30s"), Some(390 * SECOND));
        assert_eq!(duration("120ms"), Some(Duration::from_millis(120)));
        assert_eq!(duration("1h0m0.5s"), Some(LONGEST));
        for nonsense in ["", "7", "s", "1.2.3s", "5y", "-3s", "1 s 2"] {
            assert_eq!(duration(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn only_a_limit_that_is_used_up_says_when_to_come_back() {
        let openai = [
            ("x-ratelimit-remaining-requests", "12"),
            ("x-ratelimit-reset-requests", "6m0s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "1.5s"),
        ];
        assert_eq!(asked(&openai), Some(Duration::from_millis(1_500)));
        let anthropic = [
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-11-22T10:00:04Z"),
            ("anthropic-ratelimit-output-tokens-remaining", "0"),
            ("anthropic-ratelimit-output-tokens-reset", "2026-11-22T10:00:09Z"),
            ("anthropic-ratelimit-tokens-remaining", "5"),
            ("anthropic-ratelimit-tokens-reset", "2026-11-22T11:00:00Z"),
        ];
        assert_eq!(asked(&anthropic), Some(9 * SECOND));
        let year = [("anthropic-ratelimit-requests-reset", "2027-11-22T10:00:00Z")];
        assert_eq!(asked(&year), Some(LONGEST));
        let router = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795341607000")];
        assert_eq!(asked(&router), Some(7 * SECOND));
        assert_eq!(asked(&[("ratelimit-reset", "30")]), Some(30 * SECOND));
        assert_eq!(asked(&[("x-ratelimit-limit-requests", "30")]), None);
    }

    #[test]
    fn a_body_may_say_it_too() {
        let of = |part: Value| in_body(&[&json!({}), &part], Some(now()));
        let info = |delay: Value| json!({ "details": [{ "@type": "x" }, { "retryDelay": delay }] });
        for (part, seconds) in [
            (info(json!("3.700s")), 3.7),
            (info(json!("3.5s")), 3.5),
            (info(json!({ "seconds": "27" })), 27.0),
            (info(json!({ "seconds": 27, "nanos": 0 })), 27.0),
            (info(json!(27)), 27.0),
            (info(json!("52758s")), 900.0),
            (json!({ "retry_after": 2.5 }), 2.5),
            (json!({ "retry_after": "2.5s" }), 2.5),
            (json!({ "retryAfter": "20" }), 20.0),
            (json!({ "Retry-After": 20 }), 20.0),
            (json!({ "retry_after_ms": 250 }), 0.25),
            (json!({ "retryAfterMs": "250" }), 0.25),
            (json!({ "retry_after_seconds": 20 }), 20.0),
            (json!({ "retryDelay": "20s" }), 20.0),
            (json!({ "retry_after": "2026-11-22T10:00:07Z" }), 7.0),
            (json!({ "X-RateLimit-Limit": "20", "X-RateLimit-Reset": "1795341607000" }), 7.0),
            (json!({ "retry_after": 604_800 }), 900.0),
        ] {
            assert_eq!(of(part.clone()), Some(Duration::from_secs_f64(seconds)), "{part}");
        }
        for part in [
            info(json!("-1s")),
            info(json!(null)),
            info(json!({})),
            info(json!({ "seconds": 0 })),
            json!({ "retry_after": null }),
            json!({ "retry_after": -1 }),
            json!({ "retry_after": 0 }),
            json!({ "retry_after": true }),
            json!({ "retry_after": "soon" }),
            json!({ "retry_after": 1_795_300_000 }),
            json!({ "retries": 20 }),
            json!([20]),
        ] {
            assert_eq!(of(part.clone()), None, "{part}");
        }
        let instant = json!({ "retry_after": 1_795_341_607 });
        assert_eq!(in_body(&[&instant], None), None, "from when on, nobody knows");
    }

    #[test]
    fn words_may_say_it_too() {
        for (words, seconds) in [
            ("Limit 3. Please try again in 6m0s. Visit", 360.0),
            ("Please retry in 27.5s.", 27.5),
            ("Please retry in 3.512938s", 3.512_938),
            ("try again in 20 seconds.", 20.0),
            ("Try again in about 20 seconds", 20.0),
            ("Please try again after 30 seconds", 30.0),
            ("Please retry after 23 seconds. To increase", 23.0),
            ("Please wait 1 minute", 60.0),
            ("the limit resets in 17ms... no: 20ms", 0.017),
            ("try again in 120 hours", 900.0),
        ] {
            let right = Some(Duration::from_secs_f64(seconds)).filter(|wait| *wait >= SHORTEST);
            assert_eq!(in_words(words), right, "{words}");
        }
        for words in
            ["try again in a while", "try again later", "slow down", "retry after", "retry in 5"]
        {
            assert_eq!(in_words(words), None, "{words}");
        }
    }

    #[test]
    fn the_word_on_retrying_is_true_false_or_absent() {
        assert_eq!(should_retry(&headers(&[("x-should-retry", "true")])), Some(true));
        assert_eq!(should_retry(&headers(&[("x-should-retry", "false")])), Some(false));
        assert_eq!(should_retry(&headers(&[("x-should-retry", "maybe")])), None);
    }
}
