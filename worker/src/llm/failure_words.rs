//! The words of hosts' failures and their classes: codes and types first, and
//! the text where those say too little.

use std::sync::LazyLock;

use regex::Regex;

/// "Error code: 429 - …", "HTTP 503", "status code 402", "429 Too Many Requests".
static STATUS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:^|\b(?:http|status|code)[a-z ]*[:= (]\s*)([45][0-9]{2})\b").ok()
});

/// The status of a code or type.
pub(super) fn status_of(word: &str) -> Option<u16> {
    let has = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    Some(match word {
        _ if is_unwanted(word) => 400,
        _ if is_money(word) => 402,
        _ if is_bad_key(word) => 401,
        _ if is_no_model(word) => 404,
        "requests" | "tokens" | "resource_exhausted" => 429,
        _ if has(&["rate_limit", "ratelimit", "too_many", "throttl", "slow_down"]) => 429,
        _ if has(&["permission", "forbidden", "access_denied", "unsupported_country"]) => 403,
        "not_found" | "not_found_error" => 404,
        _ if has(&["too_large", "context_length", "too_long"]) => 413,
        "cancelled" | "canceled" => 499,
        _ if has(&["timeout", "timed_out", "deadline"]) => 504,
        _ if has(&["overload", "unavailable", "queue_full", "capacity", "busy"]) => 503,
        _ if has(&[
            "invalid",
            "bad_request",
            "failed_precondition",
            "validation",
            "missing",
            "unsupported",
            "unprocessable",
            "extra_forbidden",
        ]) =>
        {
            400
        }
        _ if has(&["server_error", "internal", "api_error"]) => 500,
        _ => return None,
    })
}

/// The status in a code such as `429`, `"402"` or `HTTP_503`.
pub(super) fn status_in(code: &str) -> Option<u16> {
    let numbers = code.split(|letter: char| !letter.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).find(|status| (400..=599).contains(status))
}

/// The status of a text (in lower case) without any code.
pub(super) fn guess(text: &str) -> Option<u16> {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let named = || STATUS.as_ref()?.captures(text)?.get(1)?.as_str().parse().ok();
    if speaks_of_unwanted(text) {
        Some(400)
    } else if speaks_of_money(text) {
        Some(402)
    } else if speaks_of_key(text) {
        Some(401)
    } else if speaks_of_model(text) {
        Some(404)
    } else if too_long(text) {
        Some(413)
    } else if let Some(status) = named() {
        Some(status)
    } else if says(&[
        "rate limit",
        "rate_limit",
        "ratelimit",
        "too many requests",
        "slow down",
        "quota",
        "throttl",
        "too fast",
    ]) {
        Some(429)
    } else if says(&["unauthorized", "unauthorised", "not authenticated", "authenticationerror"]) {
        Some(401)
    } else if says(&["forbidden", "permission", "access denied", "not allowed to"]) {
        Some(403)
    } else if refuses(text) || says(&["field required", "validation error", "invalid request"]) {
        Some(400)
    } else {
        None
    }
}

/// Whether `text` (in lower case) refuses what it mentions.
pub(super) fn refuses(text: &str) -> bool {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    says(&[
        "not supported",
        "unsupported",
        "not support",
        "unknown parameter",
        "unknown field",
        "unrecognized",
        "unrecognised",
        "not permitted",
        "not allowed",
        "not implemented",
        "extra inputs",
        "unexpected keyword",
        "failed to parse grammar",
        "invalid grammar",
    ])
}

/// Codes and types of a moderation that declines the request's content.
pub(super) fn is_unwanted(word: &str) -> bool {
    let has = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    word == "invalid_prompt"
        || has(&[
            "content_filter",
            "content_policy",
            "moderation_blocked",
            "responsible_aipolicy",
            "data_inspection_failed",
        ])
}

/// The same in words: xAI's 403, OpenRouter's 403, Azure's, DeepSeek's and Alibaba's 400.
pub(super) fn speaks_of_unwanted(text: &str) -> bool {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    says(&[
        "violates usage guidelines",
        "safety_check_type",
        "requires moderation",
        "input was flagged",
        "prompt was flagged",
        "content management policy",
        "content exists risk",
        "inappropriate content",
    ])
}

/// Codes and types that mean a lack of money, not a rate limit: waiting does not help.
pub(super) fn is_money(word: &str) -> bool {
    let has = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    word == "insufficient_quota"
        || has(&["billing", "payment", "credit_balance", "spend_limit", "out_of_credit"])
        || (has(&["credit", "balance", "fund"])
            && has(&["insufficient", "exhausted", "low", "not_enough", "depleted"]))
        || (has(&["organization_usage_limit", "project_usage_limit", "usage_limit_exceeded"]))
}

pub(super) fn is_bad_key(word: &str) -> bool {
    let has = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    has(&[
        "api_key",
        "apikey",
        "authentication",
        "unauthorized",
        "unauthenticated",
        "unauthorised",
        "invalid_token",
        "token_expired",
        "access_token",
    ])
}

pub(super) fn is_no_model(word: &str) -> bool {
    word.contains("model")
        && [
            "not_found",
            "not_exist",
            "not_available",
            "retired",
            "deprecated",
            "decommission",
            "unknown",
            "invalid_model",
        ]
        .iter()
        .any(|part| word.contains(part))
}

pub(super) fn speaks_of_money(text: &str) -> bool {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let what = [
        "credit",
        "balance",
        "billing",
        "spend limit",
        "spending limit",
        "spending cap",
        "usage limits",
        "payment",
        "quota and billing",
        "prepaid",
    ];
    let how = [
        "too low",
        "insufficient",
        "not enough",
        "exhaust",
        "exceed",
        "run out",
        "ran out",
        "out of",
        "depleted",
        "negative",
        "required",
        "used up",
        "top up",
        "overdue",
        "past due",
        "unpaid",
        "reached",
        "no remaining",
        "add more",
        "zero",
        "not active",
        "disabled",
    ];
    says(&what) && says(&how)
}

/// Money that is used up, by words that no rate limit has: Google says it with the status
/// and the code of one.
pub(super) fn says_it_is_spent(text: &str) -> bool {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    (says(&["prepay", "prepaid", "credit"]) && says(&["deplet"]))
        || (says(&["spending cap", "spend cap"]) && says(&["exceed", "reached"]))
}

pub(super) fn speaks_of_key(text: &str) -> bool {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    says(&["api key", "api-key", "apikey", "api_key", "access token", "authentication"])
        && says(&[
            "not valid",
            "invalid",
            "incorrect",
            "expired",
            "revoked",
            "missing",
            "no api",
            "leaked",
            "disabled",
            "unknown",
            "failed",
        ])
}

pub(super) fn speaks_of_model(text: &str) -> bool {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    text.contains("model")
        && says(&[
            "does not exist",
            "not exist",
            "not found",
            "no such model",
            "unknown model",
            "invalid model",
            "not a valid model",
            "model is not available",
            "decommissioned",
            "been retired",
            "model id is invalid",
            "not loaded",
        ])
}

/// The whole request is too long for the model; leaving out a part does not help.
pub(super) fn too_long(text: &str) -> bool {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    says(&[
        "context length",
        "context_length",
        "context window",
        "prompt is too long",
        "too many tokens",
        "input is too long",
        "request too large",
        "request_too_large",
        "maximum context",
    ])
}
