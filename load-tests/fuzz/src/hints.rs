//! The parsers of `Retry-After` and similar headers: the bytes are header
//! lines.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use regimen_worker::llm::retry_after;

/// Longer waits are cut to this.
const LONGEST: Duration = Duration::from_secs(15 * 60);

pub(crate) fn run(bytes: &[u8]) {
    let headers: HeaderMap = bytes.split(|byte| *byte == b'\n').take(50).filter_map(line).collect();
    let Some(now) = DateTime::<Utc>::from_timestamp(1_795_000_000, 0) else { return };
    let waits = [retry_after::in_headers(&headers, now), retry_after::reset(&headers, now)];
    for wait in waits.into_iter().flatten() {
        assert!(wait <= LONGEST && !wait.is_zero(), "{wait:?} of {headers:?}");
    }
    let _ = retry_after::should_retry(&headers);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(retry_after::duration(text).is_none_or(|wait| wait <= LONGEST), "{text:?}");
        let body = serde_json::json!({ "retry_after": text });
        for asked in [retry_after::in_body(&[&body], Some(now)), retry_after::in_words(text)] {
            assert!(asked.is_none_or(|wait| wait <= LONGEST && !wait.is_zero()), "{text:?}");
        }
    }
}

fn line(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}
