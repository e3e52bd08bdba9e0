//! Names Anthropic's failures, in a status or inside a stream: by the error
//! code in the details, then by the error type, never by the message.

use std::time::Duration;

use serde_json::Value;

use crate::providers::error::{ErrorReply, cut_short};
use crate::providers::http::Failure;
use crate::providers::{ProviderError, hint};

/// Error codes of a 429 that mean money: they come without a `retry-after`
/// and waiting does not help.
const MONEY: [&str; 2] = ["enforced_spend_limit_reached", "contract_spend_limit_reached"];

/// The failure behind a status that is no success.
pub fn classify(failure: &Failure) -> ProviderError {
    let body: Value = serde_json::from_str(&failure.body).unwrap_or_default();
    let wait = hint::retry_after(&failure.headers, failure.now)
        .or_else(|| hint::anthropic_reset(&failure.headers, failure.now));
    let should_retry = hint::should_retry(&failure.headers);
    named(failure.status, &body, failure.request_id.clone(), wait, should_retry)
}

/// The failure an `error` event reports after a 200.
pub fn in_stream(event: &Value) -> ProviderError {
    let status = match text(&event["error"]["type"]) {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
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
    let (code, kind) = (text(&error["details"]["error_code"]), text(&error["type"]));
    let in_body = body["request_id"].as_str().map(|id| cut_short(id, 200));
    let reply = ErrorReply {
        status,
        code: cut_short(if code.is_empty() { kind } else { code }, 80),
        message: cut_short(text(&error["message"]), 300),
        request_id: request_id.or(in_body),
        wait,
        should_retry,
    };
    if MONEY.contains(&code) || kind == "billing_error" {
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
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn failed(status: u16, kind: &str, details: Value) -> ProviderError {
        let body = json!({
            "type": "error",
            "error": { "type": kind, "message": "m", "details": details },
            "request_id": "req_body",
        });
        classify(&Failure {
            status,
            headers: HeaderMap::new(),
            body: body.to_string(),
            request_id: None,
            now: DateTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn every_status_has_its_class() {
        let classes = [
            (400, "invalid_request_error", "bad_request"),
            (401, "authentication_error", "unauthorized"),
            (402, "billing_error", "out_of_money"),
            (403, "permission_error", "unauthorized"),
            (404, "not_found_error", "model_not_found"),
            (409, "conflict_error", "unavailable"),
            (413, "request_too_large", "bad_request"),
            (429, "rate_limit_error", "rate_limited"),
            (500, "api_error", "unavailable"),
            (504, "timeout_error", "unavailable"),
            (529, "overloaded_error", "unavailable"),
        ];
        for (status, kind, class) in classes {
            assert_eq!(failed(status, kind, Value::Null).class(), class, "{status}");
            let event = json!({ "type": "error", "error": { "type": kind, "message": "m" } });
            if status != 409 {
                assert_eq!(in_stream(&event).class(), class, "{kind} in a stream");
            }
        }
    }

    #[test]
    fn a_spend_limit_is_money_and_a_growth_limit_is_rate() {
        let class =
            |code: &str| failed(429, "rate_limit_error", json!({ "error_code": code })).class();
        assert_eq!(class("enforced_spend_limit_reached"), "out_of_money");
        assert_eq!(class("contract_spend_limit_reached"), "out_of_money");
        assert_eq!(class("ramp_limit_exceeded"), "rate_limited");
    }

    #[test]
    fn the_id_in_the_body_serves_when_the_header_is_missing() {
        let error = failed(500, "api_error", Value::Null);
        assert_eq!(error.reply().unwrap().request_id.as_deref(), Some("req_body"));
    }
}
