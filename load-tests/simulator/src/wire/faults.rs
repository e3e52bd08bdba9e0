//! The providers' errors that the caller did not cause, in their own shapes.

use serde_json::{Value, json};

use crate::control::action::{Reason, StatusError};
use crate::provider::Provider;

use super::problem::Problem;

/// The error of `provider` that `asked` describes.
pub(crate) fn status(provider: Provider, asked: &StatusError) -> Problem {
    let mut problem = match provider {
        Provider::OpenAi | Provider::Llama => openai(asked),
        Provider::Anthropic => anthropic(asked),
        Provider::Gemini => gemini(asked),
    };
    if let Some(message) = &asked.message {
        problem.message = message.as_str().into();
    }
    if provider != Provider::Gemini {
        if let Some(wait) = &asked.retry_after {
            problem = problem.header("retry-after", wait);
        }
        if let Some(millis) = asked.retry_after_ms {
            problem = problem.header("retry-after-ms", millis.to_string());
        }
    }
    if let Some(reset) = &asked.reset {
        problem = resets(provider, problem, reset);
    }
    problem.headers.extend(asked.headers.iter().map(|(k, v)| (k.clone(), v.clone())));
    problem
}

/// The provider says that it is overloaded.
pub(crate) fn overloaded(provider: Provider) -> Problem {
    let status = if provider == Provider::Anthropic { 529 } else { 503 };
    self::status(provider, &StatusError { status, ..StatusError::default() })
}

/// The provider failed, with a code if it has one.
pub(crate) fn server_error(provider: Provider, code: &str) -> Problem {
    let problem = status(provider, &StatusError { status: 500, ..StatusError::default() });
    if provider == Provider::OpenAi { problem.code(code) } else { problem }
}

/// The service gave up after the caller's time limit.
pub(crate) fn deadline(provider: Provider) -> Problem {
    status(provider, &StatusError { status: 504, ..StatusError::default() })
}

fn resets(provider: Provider, problem: Problem, reset: &str) -> Problem {
    match provider {
        Provider::OpenAi | Provider::Llama => problem
            .header("x-ratelimit-remaining-requests", "0")
            .header("x-ratelimit-reset-requests", reset)
            .header("x-ratelimit-reset-tokens", reset),
        Provider::Anthropic => problem
            .header("anthropic-ratelimit-requests-remaining", "0")
            .header("anthropic-ratelimit-requests-reset", reset)
            .header("anthropic-ratelimit-tokens-reset", reset),
        Provider::Gemini => problem,
    }
}

fn openai(asked: &StatusError) -> Problem {
    let status = asked.status;
    match (status, asked.reason) {
        (_, Some(Reason::Money | Reason::SpendLimit | Reason::ContractLimit)) => openai_money(asked),
        (_, Some(Reason::TooLarge)) => Problem::new(
            status,
            "tokens",
            "Request too large for this model on tokens per minute (TPM): Limit 30000, Requested 90000.",
        )
        .code("rate_limit_exceeded"),
        (429, _) => Problem::new(429, "requests", "Rate limit reached for requests per minute (RPM).")
            .code("rate_limit_exceeded"),
        (400, _) => Problem::new(400, "invalid_request_error", "The request was not understood."),
        (401, _) => Problem::new(401, "invalid_request_error", "Incorrect API key provided.").code("invalid_api_key"),
        (403, _) => Problem::new(403, "invalid_request_error", "Country, region, or territory not supported")
            .code("unsupported_country_region_territory"),
        (404, _) => Problem::new(404, "invalid_request_error", "The model does not exist or you do not have access to it.")
            .code("model_not_found"),
        (503, _) => Problem::new(503, "server_error", "The engine is currently overloaded, please try again later"),
        (500..=599, _) => Problem::new(status, "server_error", "The server had an error while processing your request."),
        _ => Problem::new(status, "invalid_request_error", format!("Status {status}.")),
    }
}

fn openai_money(asked: &StatusError) -> Problem {
    let (code, message) = match asked.reason {
        Some(Reason::SpendLimit) => {
            ("project_spend_limit_exceeded", "The project has reached its spend limit.")
        }
        Some(Reason::ContractLimit) => {
            ("organization_usage_limit_exceeded", "The organization has reached its usage limit.")
        }
        _ => (
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
    };
    Problem::new(asked.status, "insufficient_quota", message).code(code)
}

fn anthropic(asked: &StatusError) -> Problem {
    let status = asked.status;
    let limit =
        |code: &str, message: &str| Problem::new(status, "rate_limit_error", message).code(code);
    match (status, asked.reason) {
        (429, Some(Reason::SpendLimit)) => limit(
            "enforced_spend_limit_reached",
            "The monthly spend limit of this organization's tier has been reached.",
        ),
        (429, Some(Reason::ContractLimit)) => limit(
            "contract_spend_limit_reached",
            "The spend limit of this organization's contract has been reached.",
        ),
        (429, Some(Reason::Ramp)) => limit(
            "ramp_limit_exceeded",
            "The usage of this organization grew faster than its acceleration limit.",
        ),
        (400, Some(Reason::OwnSpendLimit)) => Problem::new(
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits.",
        ),
        (402, _) | (_, Some(Reason::Money)) => {
            Problem::new(402, "billing_error", "Your credit balance is too low to access the API.")
        }
        (400, _) => Problem::new(400, "invalid_request_error", "The request was not understood."),
        (401, _) => Problem::new(401, "authentication_error", "invalid x-api-key"),
        (403, _) => Problem::new(
            403,
            "permission_error",
            "This key does not have permission to use the resource.",
        ),
        (404, _) => Problem::new(404, "not_found_error", "model: not found"),
        (409, _) => {
            Problem::new(409, "conflict_error", "The resource is being changed by another request.")
        }
        (413, _) => Problem::new(413, "request_too_large", "Request exceeds the maximum size"),
        (429, _) => Problem::new(
            429,
            "rate_limit_error",
            "This request would exceed the rate limit of your organization.",
        ),
        (504, _) => {
            Problem::new(504, "timeout_error", "The request timed out while it was processed.")
        }
        (529, _) => Problem::new(529, "overloaded_error", "Overloaded"),
        (500..=599, _) => Problem::new(status, "api_error", "Internal server error"),
        _ => Problem::new(status, "invalid_request_error", format!("Status {status}.")),
    }
}

fn gemini(asked: &StatusError) -> Problem {
    let status = asked.status;
    let (kind, message) = match status {
        400 => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        401 => ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
        403 => ("PERMISSION_DENIED", "The caller does not have permission"),
        404 => (
            "NOT_FOUND",
            "The model is not found for API version v1beta, or is not supported for generateContent.",
        ),
        409 => ("ABORTED", "The operation was aborted."),
        429 => (
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        500 => ("INTERNAL", "An internal error has occurred. Please retry."),
        503 => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
        504 => ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
        _ => ("UNKNOWN", "Unknown error."),
    };
    let mut problem = Problem::new(status, kind, message);
    if status == 429 {
        problem.details.push(quota(asked.reason));
    }
    if let Some(delay) = retry_delay(asked) {
        problem.details.push(
            json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}),
        );
    }
    problem
}

/// The exceeded quota; a daily one is recognised only by its id.
fn quota(reason: Option<Reason>) -> Value {
    let daily = matches!(reason, Some(Reason::DailyQuota | Reason::Money | Reason::SpendLimit));
    let id = if daily {
        "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
    } else {
        "GenerateRequestsPerMinutePerProjectPerModel"
    };
    json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
            "quotaId": id,
            "quotaDimensions": {"location": "global"},
            "quotaValue": "250",
        }],
    })
}

/// The hint as a duration text, from any of its forms.
fn retry_delay(asked: &StatusError) -> Option<String> {
    if let Some(millis) = asked.retry_after_ms {
        return Some(format!("{:.3}s", millis / 1000.0));
    }
    let wait = asked.retry_after.as_ref()?;
    Some(if wait.ends_with('s') { wait.clone() } else { format!("{wait}s") })
}
