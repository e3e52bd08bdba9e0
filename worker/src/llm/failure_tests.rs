//! Tests the parser of failures with errors of many hosts.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::json;

use super::*;

fn failed(status: u16, body: &str, headers: HeaderMap) -> ProviderError {
    let (body, now) = (body.to_owned(), DateTime::UNIX_EPOCH);
    let failure = Failure { status, headers, body, request_id: Some("req_1".to_owned()), now };
    classify(&failure, &[])
}

fn of(status: u16, body: &Value) -> ProviderError {
    failed(status, &body.to_string(), HeaderMap::new())
}

fn class(status: u16, body: Value) -> &'static str {
    of(status, &body).class()
}

fn openai(kind: &str, code: Value) -> Value {
    json!({ "error": { "message": "m", "type": kind, "param": null, "code": code } })
}

fn anthropic(kind: &str, message: &str, details: Value) -> Value {
    json!({
        "type": "error", "request_id": "req_body",
        "error": { "type": kind, "message": message, "details": details },
    })
}

fn gemini(code: u16, status: &str, details: Value) -> Value {
    json!({ "error": { "code": code, "message": "m", "status": status, "details": details } })
}

#[test]
fn every_status_has_its_class() {
    let classes = [
        (400, "bad_request"),
        (401, "unauthorized"),
        (402, "out_of_money"),
        (403, "unauthorized"),
        (404, "model_not_found"),
        (405, "bad_request"),
        (408, "unavailable"),
        (409, "unavailable"),
        (413, "bad_request"),
        (499, "unavailable"),
        (415, "bad_request"),
        (422, "bad_request"),
        (429, "rate_limited"),
        (500, "unavailable"),
        (501, "bad_request"),
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
        assert_eq!(failed(status, "", HeaderMap::new()).class(), expected, "{status}");
    }
}

#[test]
fn a_200_is_named_by_what_it_says_in_whatever_shape() {
    for (body, expected, text) in [
        (
            json!({"error": {"code": 402, "message": "Insufficient credits"}}),
            "out_of_money",
            "Insufficient credits",
        ),
        (json!({"error": {"code": "402", "message": "x"}}), "out_of_money", "x"),
        (json!({"error": "Insufficient credits"}), "out_of_money", "Insufficient credits"),
        (
            json!({"error": {"code": 401, "message": "No auth credentials found"}}),
            "unauthorized",
            "No auth",
        ),
        (json!({"error": {"message": "Invalid API key"}}), "unauthorized", "Invalid API key"),
        (json!({"error": {"code": "429", "message": "slow down"}}), "rate_limited", "slow down"),
        (json!({"error": {"code": 429, "message": "m"}, "choices": null}), "rate_limited", "m"),
        (json!({"error": {"message": "Rate limit reached"}}), "rate_limited", "Rate limit"),
        (json!({"error": {"code": 400, "message": "no"}}), "bad_request", "no"),
        (json!({"error": "queue full"}), "unavailable", "queue full"),
        (json!({"error": ["queue full", "retry"]}), "unavailable", "queue full"),
        (json!({"error": {"type": "server_error", "message": "m"}}), "unavailable", "m"),
        (json!({"error": {"type": "invalid_request_error", "message": "m"}}), "bad_request", "m"),
        (json!({"error": {"code": "model_not_found", "message": "m"}}), "model_not_found", "m"),
        (json!({"error": {"message": "The model `x` does not exist"}}), "model_not_found", "x"),
        (json!({"detail": "Not authenticated"}), "unauthorized", "Not authenticated"),
        (
            json!({"detail": [{"type": "missing", "loc": ["body", "max_tokens"], "msg": "Field required"}]}),
            "bad_request",
            "body.max_tokens: Field required",
        ),
        (json!({"detail": {"error": "queue full"}}), "unavailable", "queue full"),
        (
            json!({"object": "error", "message": "too busy", "type": "ServiceUnavailableError", "code": 503}),
            "unavailable",
            "too busy",
        ),
        (json!({"message": "too many", "code": 429}), "rate_limited", "too many"),
        (
            json!({"success": false, "errors": [{"code": 7000, "message": "no route"}]}),
            "unavailable",
            "no route",
        ),
        (
            json!([{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]),
            "rate_limited",
            "m",
        ),
        (
            json!({"choices": [{"error": {"code": 502, "message": "upstream"}, "finish_reason": "error"}]}),
            "unavailable",
            "upstream",
        ),
        (
            json!({"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "busy upstream"}}}),
            "rate_limited",
            "busy upstream",
        ),
        (anthropic("rate_limit_error", "m", Value::Null), "rate_limited", "m"),
        (anthropic("overloaded_error", "Overloaded", Value::Null), "unavailable", "Overloaded"),
        (anthropic("authentication_error", "m", Value::Null), "unauthorized", "m"),
        (anthropic("billing_error", "m", Value::Null), "out_of_money", "m"),
        (anthropic("not_found_error", "m", Value::Null), "model_not_found", "m"),
        (anthropic("timeout_error", "m", Value::Null), "unavailable", "m"),
    ] {
        assert!(is_complaint(&body), "{body}");
        let error = of(200, &body);
        assert_eq!(error.class(), expected, "{body}");
        assert!(error.to_string().contains(text), "{error} of {body}");
        assert_eq!(in_stream(&body).class(), expected, "in a stream: {body}");
    }
}

#[test]
fn a_reply_is_no_complaint() {
    for body in [
        json!({"choices": [], "error": null}),
        json!({"choices": [{"delta": {"content": "x"}}], "error": ""}),
        json!({"type": "message_start", "message": {"id": "m"}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "delta": {"text": "error"}}),
        json!({"candidates": [], "usageMetadata": {}}),
        json!({"type": "message_delta", "delta": {}, "usage": {}}),
        json!({"content": [], "type": "message", "message": "x"}),
        json!({"usage": {"detail": 1}, "detail": "x"}),
        json!({}),
        json!("text"),
        json!([]),
    ] {
        assert!(!is_complaint(&body), "{body}");
    }
}

#[test]
fn money_and_rate_are_told_apart_by_code_and_by_text() {
    for code in [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
    ] {
        assert_eq!(class(429, openai("", json!(code))), "out_of_money", "{code}");
        assert_eq!(class(403, openai(code, json!(null))), "out_of_money", "{code}");
    }
    assert_eq!(class(429, openai("requests", json!("rate_limit_exceeded"))), "rate_limited");
    assert_eq!(class(429, openai("tokens", json!(null))), "rate_limited");
    let limit =
        |code: &str| class(429, anthropic("rate_limit_error", "m", json!({ "error_code": code })));
    assert_eq!(limit("enforced_spend_limit_reached"), "out_of_money");
    assert_eq!(limit("contract_spend_limit_reached"), "out_of_money");
    assert_eq!(limit("ramp_limit_exceeded"), "rate_limited");
    let invalid =
        |message: &str| class(400, anthropic("invalid_request_error", message, Value::Null));
    let low = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.";
    assert_eq!(invalid(low), "out_of_money");
    assert_eq!(invalid("You have reached your specified API usage limits."), "out_of_money");
    assert_eq!(invalid("max_tokens: must be positive"), "bad_request");
    assert_eq!(class(429, json!({"error": {"message": "Not enough credits"}})), "out_of_money");
    let exhausted = |message: &str| {
        class(
            429,
            json!({"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}}),
        )
    };
    for spent in [
        "Your prepayment credits are depleted. Please go to AI Studio at \
         https://ai.studio/projects to manage your project and billing.",
        "Your billing account has exceeded its monthly spending cap.",
    ] {
        assert_eq!(exhausted(spent), "out_of_money", "{spent}");
    }
    let quota = "You exceeded your current quota, please check your plan and billing details.";
    assert_eq!(exhausted(quota), "rate_limited");
}

/// What one user wrote must not close a provider to all.
#[test]
fn what_moderation_declines_is_no_matter_of_the_key() {
    let xai = json!({
        "code": "The caller does not have permission to execute the specified operation",
        "error": "Content violates usage guidelines. Team: t, API key ID: k, Model: grok-4-0709, \
                  Failed check: SAFETY_CHECK_TYPE_BIO",
    });
    let router = json!({"error": {
        "code": 403,
        "message": "openai/gpt-4o requires moderation on OpenAI. Your input was flagged for \"violence\".",
        "metadata": {"reasons": ["violence"], "flagged_input": "x", "provider_name": "OpenAI"},
    }});
    let flagged = "Invalid prompt: your prompt was flagged as potentially violating our usage \
                   policy. Please try again with a different prompt: \
                   https://platform.openai.com/docs/guides/reasoning#advice-on-prompting";
    let openai = json!({"error": {"message": flagged, "type": "invalid_request_error",
        "param": null, "code": "invalid_prompt"}});
    let azure = json!({"error": {"message": "The response was filtered due to the prompt \
        triggering Azure OpenAI's content management policy.", "code": "content_filter",
        "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}});
    let alibaba = json!({"error": {"code": "data_inspection_failed",
        "message": "Input data may contain inappropriate content.", "type": "x"}});
    let deepseek = json!({"error": {"message": "Content Exists Risk",
        "type": "invalid_request_error", "param": null, "code": "invalid_request_error"}});
    for (status, body) in
        [(403, xai), (403, router), (400, openai), (400, azure), (400, alibaba), (400, deepseek)]
    {
        for status in [status, 200] {
            let error = of(status, &body);
            assert!(matches!(error, ProviderError::Declined(_)), "{status} {error} of {body}");
            assert_eq!(error.class(), "refused");
        }
    }
    let permission = json!({"error": {"code": 403, "status": "PERMISSION_DENIED",
        "message": "Method doesn't allow unregistered callers"}});
    assert_eq!(class(403, permission), "unauthorized");
}

#[test]
fn the_address_of_a_page_names_no_part_of_the_request() {
    use super::super::feature::Feature::Reasoning;
    let body = json!({"error": {"message": "Something else is wrong, see \
        https://platform.openai.com/docs/guides/reasoning#advice"}});
    let failure = Failure {
        status: 400,
        headers: HeaderMap::new(),
        body: body.to_string(),
        request_id: None,
        now: DateTime::UNIX_EPOCH,
    };
    let error = classify(&failure, &[(Reasoning, &["reasoning", "reasoning_effort"])]);
    assert!(error.reply().unwrap().refused.is_empty(), "{error}");
}

#[test]
fn google_cancels_calls_by_itself() {
    let cancelled = json!([{"error": {"code": 499, "message": "The operation was cancelled.",
        "errors": [{"reason": "backendError"}], "status": "CANCELLED"}}]);
    assert_eq!(class(499, cancelled.clone()), "unavailable");
    assert_eq!(class(200, cancelled), "unavailable");
    assert_eq!(in_stream(&json!({"error": {"status": "CANCELLED"}})).class(), "unavailable");
}

#[test]
fn a_400_may_be_about_the_key_or_the_model() {
    let reason = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID" }]);
    assert_eq!(class(400, gemini(400, "INVALID_ARGUMENT", reason)), "unauthorized");
    let says = |message: &str| class(400, json!({"error": {"message": message}}));
    assert_eq!(says("API key not valid. Please pass a valid API key."), "unauthorized");
    assert_eq!(says("The model `x` does not exist"), "model_not_found");
    assert_eq!(says("something else"), "bad_request");
}

#[test]
fn geminis_hint_is_in_the_body_wrapped_or_not_and_a_daily_quota_is_daily() {
    let quota = |id: &str, delay: &str| {
        json!([
            { "@type": "type.googleapis.com/google.rpc.QuotaFailure",
              "violations": [{ "quotaMetric": "m", "quotaId": id, "quotaValue": "20" }] },
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
        ])
    };
    let minute = quota("GenerateRequestsPerMinutePerProjectPerModel", "3.700s");
    let body = gemini(429, "RESOURCE_EXHAUSTED", minute);
    for body in [body.clone(), json!([body])] {
        let error = of(429, &body);
        assert_eq!(error.class(), "rate_limited");
        assert_eq!(error.reply().unwrap().wait, Some(Duration::from_millis(3_700)));
    }
    let day = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "19s");
    assert_eq!(class(429, gemini(429, "RESOURCE_EXHAUSTED", day)), "quota_spent");
}

#[test]
fn the_hint_the_id_and_the_text_are_kept_whatever_the_shape() {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after-ms", HeaderValue::from_static("1500"));
    headers.insert("x-should-retry", HeaderValue::from_static("false"));
    let page = "<html><head><title>503 Backend busy</title></head><body>x</body></html>";
    let error = failed(503, page, headers);
    let reply = error.reply().unwrap();
    assert_eq!(reply.wait, Some(Duration::from_millis(1_500)));
    assert_eq!(reply.should_retry, Some(false));
    assert_eq!(reply.request_id.as_deref(), Some("req_1"));
    assert_eq!(error.to_string(), "unavailable: 503 503 Backend busy");
    let detail = of(400, &json!({"detail": "no such field"}));
    assert_eq!(detail.to_string(), "request rejected: 400 no such field");
    let plain = failed(502, "upstream connect error", HeaderMap::new());
    assert_eq!(plain.to_string(), "unavailable: 502 upstream connect error");
    let body = anthropic("api_error", "m", Value::Null).to_string();
    let failure = Failure {
        status: 500,
        headers: HeaderMap::new(),
        body,
        request_id: None,
        now: DateTime::UNIX_EPOCH,
    };
    let named = classify(&failure, &[]);
    assert_eq!(named.reply().unwrap().request_id.as_deref(), Some("req_body"));
}

#[test]
fn a_refused_part_of_the_request_is_recognised_and_a_prompt_too_long_is_not_one() {
    use super::super::feature::Feature::{CapName, JsonMode, Schema, StreamOptions};
    const NAMES: Names = &[
        (CapName, &["max_completion_tokens", "max_tokens"]),
        (Schema, &["json_schema", "response_format"]),
        (JsonMode, &["response_format"]),
        (StreamOptions, &["stream_options"]),
    ];
    let refused = |status: u16, body: Value| {
        let failure = Failure {
            status,
            headers: HeaderMap::new(),
            body: body.to_string(),
            request_id: None,
            now: DateTime::UNIX_EPOCH,
        };
        let error = classify(&failure, NAMES);
        assert_eq!(error.class(), "bad_request", "{body}");
        format!("{:?}", error.reply().unwrap().refused)
    };
    let extra = json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"}]});
    assert_eq!(refused(422, extra), "{CapName}");
    let param = json!({"error": {"message": "Unknown parameter.", "param": "stream_options"}});
    assert_eq!(refused(400, param), "{StreamOptions}");
    assert_eq!(refused(501, json!({"error": "json_schema is not supported"})), "{Schema}");
    let format = json!({"error": {"message": "response_format is unavailable"}});
    assert_eq!(refused(400, format), "{Schema, JsonMode}");
    let long = json!({"error": {"message": "maximum context length is 8192; you asked for max_tokens 9000"}});
    assert_eq!(refused(400, long), "{}");
    assert_eq!(refused(400, json!({"error": {"message": "bad"}})), "{}");
}

#[test]
fn no_secret_gets_into_the_text_or_the_code() {
    let body = json!({"error": {
        "message": "Incorrect API key provided: sk-MARKER123 for org-MARKER at https://u:MARKER@gw/x?key=MARKER",
        "code": "sk-MARKER-1234567",
    }});
    for status in [200, 401, 500] {
        let text = of(status, &body).to_string();
        assert!(!text.contains("MARKER"), "{text}");
        assert!(text.contains("Incorrect API key provided"), "{text}");
    }
}
