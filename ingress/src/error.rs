//! Every error of the API, as RFC 9457 problem documents.
//!
//! One enum, one exhaustive match to status and code. Clients get a code and a
//! message that says what to do next, never a cause chain; the cause is logged
//! once, here.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use regimen_common::db::DbError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::idempotency::{Repeated, UnreadableKey};
use crate::request_id;

/// A cause, for the log only.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The media type of every error body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request body.
    pub pointer: String,
    /// What is wrong and what would be valid.
    pub message: String,
}

/// The body of every error (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A URI that names the problem type.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The problem type in words; the same for every occurrence.
    pub title: &'static str,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What happened and what to do next.
    pub detail: String,
    /// The request id, to quote when asking for help.
    pub instance: String,
    /// The problem type as a stable word for programs.
    pub code: &'static str,
    /// The invalid fields, for validation errors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The names of the limits that were reached, as in `RateLimit-Policy`.
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    pub violated_policies: Vec<String>,
}

/// A part of a request that has a limit on its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Path and query.
    Url,
    /// All header lines together.
    Headers,
    /// The access token or key.
    Credentials,
    /// The body.
    Body,
}

impl Part {
    fn problem_type(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Url => (StatusCode::URI_TOO_LONG, "url-too-long", "URL too long"),
            Self::Headers | Self::Credentials => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers-too-large",
                "Headers too large",
            ),
            Self::Body => (StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "Body too large"),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Url => "URL",
            Self::Headers => "sum of all headers",
            Self::Credentials => "access token (what user_metadata holds is part of it)",
            Self::Body => "body",
        })
    }
}

/// The limit that was reached, and what a client can do about it.
#[derive(Debug, Clone)]
pub struct QuotaExceeded {
    /// The limit, and when it frees up.
    pub detail: String,
    /// When a retry makes sense.
    pub retry_after: Duration,
    /// The limits' names.
    pub policies: Vec<String>,
    /// RateLimit headers of the limited route.
    pub headers: HeaderMap,
}

/// All errors of the API.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request is malformed, before any field is read.
    #[error("{0}")]
    BadRequest(String),
    /// No valid credentials.
    #[error("{0}")]
    Unauthenticated(String),
    /// Valid credentials that do not allow this.
    #[error("{0}")]
    Forbidden(String),
    /// The object does not exist, or is not the caller's.
    #[error("{0}")]
    NotFound(String),
    /// The route exists, the method does not.
    #[error("this path does not support that method; the Allow header lists those it does")]
    MethodNotAllowed,
    /// The request conflicts with the current state.
    #[error("{0}")]
    Conflict(String),
    /// Same idempotency key, still being processed.
    #[error("a request with this Idempotency-Key is being answered; repeat it in a moment")]
    IdempotencyInFlight,
    /// Same idempotency key, other body.
    #[error("this Idempotency-Key was used with another body; use a new key for a new request")]
    IdempotencyMismatch,
    /// A part of the request is larger than its limit.
    #[error("the {part} is larger than the limit of {limit} bytes; send less")]
    TooLarge {
        /// Which part.
        part: Part,
        /// The limit in bytes.
        limit: usize,
    },
    /// The head of a request exceeds a limit.
    #[error(
        "the request line and headers are larger than {limit} bytes or more than {lines} lines; \
         send less: cookies and the user_metadata inside an access token are the usual cause"
    )]
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
        /// The limit in lines.
        lines: usize,
    },
    /// The body is not JSON.
    #[error("this route reads application/json; set Content-Type accordingly")]
    UnsupportedMediaType,
    /// The body arrived too slowly.
    #[error("the request took too long to arrive; send it again without pauses")]
    Timeout,
    /// Fields are invalid.
    #[error("{}", first_of(.0))]
    Invalid(Vec<FieldError>),
    /// A limit of the caller's is used up.
    #[error("{}", .0.detail)]
    QuotaExceeded(Box<QuotaExceeded>),
    /// The backlog is full.
    #[error("too many jobs are waiting; send the request again after the time in Retry-After")]
    ReducedCapacity {
        /// From the measured drain rate.
        retry_after: Duration,
    },
    /// A store is away.
    #[error("{what} cannot be reached right now; nothing was changed, send the request again")]
    Unavailable {
        /// What is away.
        what: &'static str,
        /// For the log only.
        #[source]
        source: Cause,
    },
    /// The database did not confirm whether it made the change.
    #[error(
        "the database did not confirm this in time; it may or may not have been done: send the \
         request again, with its Idempotency-Key if it had one"
    )]
    Unconfirmed(#[source] Arc<DbError>),
    /// The token names a key that cannot be fetched right now.
    #[error(
        "the sign-in service's keys cannot be fetched right now, so this access token can neither \
         be accepted nor refused; send the request again after the time in Retry-After"
    )]
    KeysUnavailable {
        /// When the keys may be fetched again.
        retry_after: Duration,
        /// For the log only.
        #[source]
        source: Cause,
    },
    /// A plan that the client waited for could not be generated.
    #[error("{0}")]
    PlanFailed(String),
    /// Stripe does not answer.
    #[error(
        "Stripe does not answer right now; what was asked may or may not be done: send the request \
         again, with its Idempotency-Key if it had one"
    )]
    StripeAway(#[source] Cause),
    /// Stripe refuses a request because of our settings.
    #[error("Stripe refused what this deployment asked; its operators find the reason in the log")]
    StripeRefused(#[source] Cause),
    /// Stripe refuses an operator's request.
    #[error("{0}")]
    StripeRejected(String),
    /// The feature is not configured here.
    #[error("{0}")]
    NotConfigured(String),
    /// A defect.
    #[error("something went wrong on our side; the request id helps us find it")]
    Internal(#[source] Cause),
}

/// The fixed part of a problem type.
pub(crate) struct ProblemType {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
}

impl ApiError {
    /// One invalid field.
    pub fn field(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.into(), message: message.into() }])
    }

    /// Wraps a defect.
    pub fn internal(source: impl Into<Cause>) -> Self {
        Self::Internal(source.into())
    }

    pub(crate) fn problem_type(&self) -> ProblemType {
        let (status, code, title) = match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request", "Malformed request"),
            Self::Unauthenticated(_) => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", "Authentication required")
            }
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::IdempotencyInFlight => {
                (StatusCode::CONFLICT, "idempotency-in-flight", "Request in progress")
            }
            Self::IdempotencyMismatch => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-mismatch",
                "Idempotency key used with another body",
            ),
            Self::TooLarge { part, .. } => part.problem_type(),
            Self::HeadTooLarge { .. } => Part::Headers.problem_type(),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
            ),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout", "Request timeout"),
            Self::Invalid(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "validation-failed", "Invalid fields")
            }
            Self::QuotaExceeded(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "quota-exceeded", "Quota exceeded")
            }
            Self::ReducedCapacity { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporary-reduced-capacity",
                "Temporarily reduced capacity",
            ),
            Self::Unavailable { .. } | Self::Unconfirmed(_) | Self::KeysUnavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable")
            }
            Self::PlanFailed(_) => (StatusCode::BAD_GATEWAY, "plan-failed", "Plan not generated"),
            Self::StripeAway(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "stripe-unavailable", "Stripe does not answer")
            }
            Self::StripeRefused(_) => {
                (StatusCode::BAD_GATEWAY, "stripe-refused", "Refused by Stripe")
            }
            Self::StripeRejected(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "stripe-rejected", "Rejected by Stripe")
            }
            Self::NotConfigured(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "not-configured", "Not configured")
            }
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        };
        ProblemType { status, code, title }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::QuotaExceeded(exceeded) => Some(exceeded.retry_after),
            Self::ReducedCapacity { retry_after } | Self::KeysUnavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::Unavailable { .. } | Self::Unconfirmed(_) => Some(Duration::from_secs(2)),
            Self::StripeAway(_) => Some(Duration::from_secs(5)),
            Self::IdempotencyInFlight => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    fn log(&self, request_id: &str) {
        match self {
            Self::Internal(source) => {
                tracing::error!(request_id, error = &**source, "request failed on our side");
            }
            Self::Unavailable { what, source } => {
                tracing::warn!(request_id, what, error = &**source, "request refused");
            }
            Self::Unconfirmed(error) => {
                tracing::warn!(request_id, %error, "a request may or may not have been carried out");
            }
            // Clients can invent key ids: no line for each in the log.
            Self::KeysUnavailable { source, .. } => {
                tracing::debug!(request_id, error = &**source, "keys unavailable");
            }
            Self::StripeAway(source) => {
                tracing::warn!(request_id, error = &**source, "Stripe is away");
            }
            Self::StripeRefused(source) => {
                tracing::error!(
                    request_id,
                    error = &**source,
                    "Stripe refused what our settings ask; look at STRIPE_SECRET_KEY and STRIPE_PRICES"
                );
            }
            Self::NotConfigured(detail) => tracing::error!(request_id, detail, "not configured"),
            _ => {}
        }
    }

    /// The response, with `request_id` as the problem's instance.
    pub fn into_response_for(self, request_id: &str) -> Response {
        self.log(request_id);
        let ProblemType { status, code, title } = self.problem_type();
        let detail = self.to_string();
        let retry_after = self.retry_after();
        let repeated = matches!(self, Self::IdempotencyInFlight | Self::IdempotencyMismatch);
        let (errors, exceeded) = match self {
            Self::Invalid(errors) => (errors, None),
            Self::QuotaExceeded(exceeded) => (Vec::new(), Some(*exceeded)),
            _ => (Vec::new(), None),
        };
        let (violated_policies, extra) =
            exceeded.map(|exceeded| (exceeded.policies, exceeded.headers)).unwrap_or_default();
        let problem = Problem {
            type_uri: type_uri(code),
            title,
            status: status.as_u16(),
            detail,
            instance: request_id.to_owned(),
            code,
            errors,
            violated_policies,
        };
        let mut response = (status, axum::Json(problem)).into_response();
        if repeated {
            response.extensions_mut().insert(Repeated);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.extend(extra);
        if let Some(wait) = retry_after {
            let whole_seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The first field in words, because some clients show nothing else.
fn first_of(errors: &[FieldError]) -> String {
    let Some(FieldError { pointer, message }) = errors.first() else {
        return "some fields need correcting".to_owned();
    };
    // The part about notation is for programs.
    let what = message.split("; ").next().unwrap_or_default();
    let field = in_words(pointer);
    match errors.len() - 1 {
        0 => format!("{field} {what}"),
        1 => format!("{field} {what}; one more field needs correcting, see errors"),
        more => format!("{field} {what}; {more} more fields need correcting, see errors"),
    }
}

/// The field of a pointer in words: `/answers/currentWeight/kg` is "current weight (kg)".
fn in_words(pointer: &str) -> String {
    let path = pointer.trim_start_matches(['/', '?']);
    let path = path.strip_prefix("answers/").unwrap_or(path);
    let (field, member) = path.split_once('/').map_or((path, None), |(f, m)| (f, Some(m)));
    let mut words = String::with_capacity(pointer.len());
    for c in field.chars() {
        match c {
            '_' => words.push(' '),
            c if c.is_ascii_uppercase() => words.extend([' ', c.to_ascii_lowercase()]),
            c => words.push(c),
        }
    }
    match (words.is_empty(), member) {
        (true, _) => "the body".to_owned(),
        (false, Some(member)) => format!("{words} ({member})"),
        (false, None) => words,
    }
}

/// Two problem types are registered by draft-ietf-httpapi-ratelimit-headers-11,
/// section 5; the others are ours.
pub(crate) fn type_uri(code: &str) -> String {
    match code {
        "quota-exceeded" | "temporary-reduced-capacity" => {
            format!("https://iana.org/assignments/http-problem-types#{code}")
        }
        _ => format!("urn:regimen:problem:{code}"),
    }
}

impl From<UnreadableKey> for ApiError {
    fn from(error: UnreadableKey) -> Self {
        Self::BadRequest(error.to_string())
    }
}

impl From<DbError> for ApiError {
    /// A database that is away is temporary; any other error is a defect.
    fn from(error: DbError) -> Self {
        Arc::new(error).into()
    }
}

impl From<Arc<DbError>> for ApiError {
    fn from(error: Arc<DbError>) -> Self {
        if error.is_uncertain() {
            Self::Unconfirmed(error)
        } else if error.is_unavailable() {
            Self::Unavailable { what: "the database", source: error.into() }
        } else {
            Self::internal(error)
        }
    }
}

impl IntoResponse for ApiError {
    /// The middleware that knows the request's id sets it through a task-local.
    fn into_response(self) -> Response {
        self.into_response_for(&request_id::current())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_of_a_refusal_names_the_first_field_in_words() {
        let errors = |pointers: &[&str]| {
            let error = |pointer: &&str| FieldError {
                pointer: (*pointer).to_owned(),
                message: r#"must be between 25 and 500 kg; write {"kg": "80"}"#.to_owned(),
            };
            ApiError::Invalid(pointers.iter().map(error).collect()).to_string()
        };
        for (pointers, detail) in [
            (
                &["/answers/currentWeight/kg"] as &[_],
                "current weight (kg) must be between 25 and 500 kg",
            ),
            (
                &["/answers/occupation_activity", "/x"],
                "occupation activity must be between 25 and 500 kg; one more field needs correcting, \
                 see errors",
            ),
            (&["?limit"], "limit must be between 25 and 500 kg"),
            (&[""], "the body must be between 25 and 500 kg"),
        ] {
            assert_eq!(errors(pointers), detail);
        }
        assert_eq!(errors(&[]), "some fields need correcting");
    }
}
