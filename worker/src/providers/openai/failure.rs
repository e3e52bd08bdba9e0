//! Names OpenAI's failures, in a status or inside a stream.

use std::time::Duration;

use serde_json::Value;

use crate::providers::error::{ErrorReply, cut_short};
use crate::providers::http::Failure;
use crate::providers::{ProviderError, hint};

/// Codes and types that mean money, not rate: waiting does not help.
const MONEY: [&str; 6] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
];

/// The failure behind a status that is no success.
pub fn classify(failure: &Failure) -> ProviderError {
    let body: Value = serde_json::from_str(&failure.body).unwrap_or_default();
    let wait = hint::retry_after(&failure.headers, failure.now)
        .or_else(|| hint::openai_reset(&failure.headers));
    let should_retry = hint::should_retry(&failure.headers);
    let request_id = failure.request_id.clone();
    named(failure.status, &body, request_id, wait, should_retry)
}

/// The failure an `error` object inside a stream reports.
pub fn in_stream(event: &Value) -> ProviderError {
    let code = text(&event["error"]["code"]);
    let kind = text(&event["error"]["type"]);
    let status = match (code, kind) {
        ("rate_limit_exceeded", _) | (_, "requests" | "tokens" | "insufficient_quota") => 429,
        (_, "invalid_request_error") => 400,
        _ => 500,
    };
    named(status, event, None, None, None)
}

fn named(
    status: u16,
    body: &Value,
    request_id: Option<String>,
    wait: Option<Duration>,
    should_retry: Option<bool>,
) -> ProviderError {
    let error = &body["error"];
    let (code, kind) = (text(&error["code"]), text(&error["type"]));
    // Some compatible hosts put their text elsewhere.
    let message = [&error["message"], error, &body["message"], &body["detail"]]
        .into_iter()
        .map(text)
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    let reply = ErrorReply {
        status,
        code: cut_short(if code.is_empty() { kind } else { code }, 80),
        message: cut_short(message, 300),
        request_id,
        wait,
        should_retry,
    };
    if MONEY.contains(&code) || MONEY.contains(&kind) {
        return ProviderError::OutOfMoney(reply);
    }
    ProviderError::by_status(reply)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use http::{HeaderMap, HeaderValue};
    use serde_json::json;

    use super::*;

    fn class(status: u16, body: Value) -> &'static str {
        failed(status, &body.to_string(), HeaderMap::new()).class()
    }

    fn failed(status: u16, body: &str, headers: HeaderMap) -> ProviderError {
        let (body, now) = (body.to_owned(), DateTime::UNIX_EPOCH);
        classify(&Failure { status, headers, body, request_id: Some("req_1".to_owned()), now })
    }

    fn error(kind: &str, code: Value) -> Value {
        json!({ "error": { "message": "m", "type": kind, "param": null, "code": code } })
    }

    #[test]
    fn money_and_rate_are_told_apart_by_type_and_by_code() {
        assert_eq!(class(429, error("requests", json!("rate_limit_exceeded"))), "rate_limited");
        assert_eq!(class(429, error("tokens", json!(null))), "rate_limited");
        assert_eq!(class(429, error("insufficient_quota", json!(null))), "out_of_money");
        assert_eq!(class(429, error("", json!("credit_balance_exhausted"))), "out_of_money");
        assert_eq!(class(403, error("", json!("project_spend_limit_exceeded"))), "out_of_money");
        assert_eq!(class(402, json!({})), "out_of_money");
    }

    #[test]
    fn every_status_has_its_class() {
        let classes = [
            (400, "bad_request"),
            (401, "unauthorized"),
            (403, "unauthorized"),
            (404, "model_not_found"),
            (408, "unavailable"),
            (409, "unavailable"),
            (413, "bad_request"),
            (415, "bad_request"),
            (422, "bad_request"),
            (429, "rate_limited"),
            (500, "unavailable"),
            (502, "unavailable"),
            (503, "unavailable"),
            (504, "unavailable"),
            (520, "unavailable"),
            (524, "unavailable"),
            (529, "unavailable"),
            (301, "bad_request"),
        ];
        for (status, expected) in classes {
            assert_eq!(class(status, json!({})), expected, "{status}");
        }
    }

    #[test]
    fn the_hint_the_id_and_the_text_are_kept_whatever_the_shape() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after-ms", HeaderValue::from_static("1500"));
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
        let error = failed(503, "<html>busy</html>", headers);
        let reply = error.reply().unwrap();
        assert_eq!(reply.wait, Some(Duration::from_millis(1_500)));
        assert_eq!(reply.should_retry, Some(false));
        assert_eq!(reply.request_id.as_deref(), Some("req_1"));
        let detail = failed(400, r#"{"detail":"no such field"}"#, HeaderMap::new());
        assert_eq!(detail.to_string(), "request rejected: 400 no such field");
    }

    #[test]
    fn an_error_inside_a_stream_is_named_like_its_status() {
        let class = |code: &str, kind: &str| {
            in_stream(&json!({ "error": { "code": code, "type": kind, "message": "m" } })).class()
        };
        assert_eq!(class("", "server_error"), "unavailable");
        assert_eq!(class("rate_limit_exceeded", ""), "rate_limited");
        assert_eq!(class("", "insufficient_quota"), "out_of_money");
        assert_eq!(class("", "invalid_request_error"), "bad_request");
    }
}
