//! Names Gemini's failures. Its hints stand in the error's details
//! (google.rpc.RetryInfo, google.rpc.QuotaFailure), not in headers.

use std::time::Duration;

use serde_json::Value;

use crate::providers::error::{ErrorReply, cut_short};
use crate::providers::http::Failure;
use crate::providers::{ProviderError, hint};

/// The failure behind a status that is no success.
pub fn classify(failure: &Failure) -> ProviderError {
    let body: Value = serde_json::from_str(&failure.body).unwrap_or_default();
    let wait =
        retry_delay(error_of(&body)).or_else(|| hint::retry_after(&failure.headers, failure.now));
    let should_retry = hint::should_retry(&failure.headers);
    named(failure.status, &body, failure.request_id.clone(), wait, should_retry)
}

/// The failure an `error` object inside a stream reports.
pub fn in_stream(event: &Value) -> ProviderError {
    let error = error_of(event);
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    named(status, event, None, retry_delay(error), None)
}

/// Outside a stream of events the error comes wrapped in a one-element array.
fn error_of(body: &Value) -> &Value {
    if body.is_array() { &body[0]["error"] } else { &body["error"] }
}

fn details<'a>(error: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(move |detail| text(&detail["@type"]).ends_with(kind))
}

fn retry_delay(error: &Value) -> Option<Duration> {
    details(error, "google.rpc.RetryInfo")
        .find_map(|info| hint::duration(text(&info["retryDelay"])))
}

/// A daily quota's id counts above any delay that comes with it.
fn daily(error: &Value) -> bool {
    details(error, "google.rpc.QuotaFailure")
        .filter_map(|failure| failure["violations"].as_array())
        .flatten()
        .any(|violation| text(&violation["quotaId"]).contains("PerDay"))
}

fn bad_key(error: &Value) -> bool {
    details(error, "google.rpc.ErrorInfo")
        .any(|info| matches!(text(&info["reason"]), "API_KEY_INVALID" | "API_KEY_EXPIRED"))
}

fn named(
    status: u16,
    body: &Value,
    request_id: Option<String>,
    wait: Option<Duration>,
    should_retry: Option<bool>,
) -> ProviderError {
    let error = error_of(body);
    let reply = ErrorReply {
        status,
        code: cut_short(text(&error["status"]), 80),
        message: cut_short(text(&error["message"]), 300),
        request_id,
        wait,
        should_retry,
    };
    match status {
        400 if bad_key(error) => ProviderError::Unauthorized(reply),
        429 if daily(error) => ProviderError::QuotaSpent(reply),
        _ => ProviderError::by_status(reply),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn failed(code: u16, status: &str, details: Value, wrapped: bool) -> ProviderError {
        let error = json!({
            "error": { "code": code, "message": "m", "status": status, "details": details }
        });
        let body = if wrapped { json!([error]) } else { error };
        classify(&Failure {
            status: code,
            headers: HeaderMap::new(),
            body: body.to_string(),
            request_id: None,
            now: DateTime::UNIX_EPOCH,
        })
    }

    fn quota(id: &str, delay: &str) -> Value {
        json!([
            { "@type": "type.googleapis.com/google.rpc.QuotaFailure",
              "violations": [{ "quotaMetric": "m", "quotaId": id, "quotaValue": "20" }] },
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
        ])
    }

    #[test]
    fn the_hint_is_read_from_the_body_wrapped_or_not() {
        for wrapped in [false, true] {
            let details = quota("GenerateRequestsPerMinutePerProjectPerModel", "3.700s");
            let error = failed(429, "RESOURCE_EXHAUSTED", details, wrapped);
            assert_eq!(error.class(), "rate_limited");
            assert_eq!(error.reply().unwrap().wait, Some(Duration::from_millis(3_700)));
        }
    }

    #[test]
    fn a_daily_quota_is_daily_however_short_its_delay() {
        let details = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "19s");
        assert_eq!(failed(429, "RESOURCE_EXHAUSTED", details, false).class(), "quota_spent");
    }

    #[test]
    fn every_status_has_its_class() {
        let classes = [
            (400, "INVALID_ARGUMENT", "bad_request"),
            (401, "UNAUTHENTICATED", "unauthorized"),
            (403, "PERMISSION_DENIED", "unauthorized"),
            (404, "NOT_FOUND", "model_not_found"),
            (429, "RESOURCE_EXHAUSTED", "rate_limited"),
            (500, "INTERNAL", "unavailable"),
            (503, "UNAVAILABLE", "unavailable"),
            (504, "DEADLINE_EXCEEDED", "unavailable"),
        ];
        for (code, status, class) in classes {
            assert_eq!(failed(code, status, json!([]), false).class(), class, "{code}");
        }
        let reason = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID" }]);
        assert_eq!(failed(400, "INVALID_ARGUMENT", reason, false).class(), "unauthorized");
        let event = json!({ "error": { "code": 503, "status": "UNAVAILABLE", "message": "m" } });
        assert_eq!(in_stream(&event).class(), "unavailable");
    }
}
