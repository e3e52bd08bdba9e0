//! Errors that several operations describe, beyond those derived from what an
//! operation reads.

use utoipa::IntoResponses;

use crate::error::Problem;

/// What can be wrong with asking for plans, beyond what can be wrong anywhere.
#[derive(IntoResponses)]
pub enum SubmissionRefusals {
    /// quiz_result_id is none of yours
    #[response(status = NOT_FOUND, content_type = "application/problem+json")]
    NoSuchQuiz(#[to_schema] Problem),
    /// A request with this Idempotency-Key is being answered
    #[response(status = CONFLICT, content_type = "application/problem+json")]
    InFlight(#[to_schema] Problem),
}

/// What can go wrong where Stripe is called.
#[derive(IntoResponses)]
pub enum StripeRefusals {
    /// Stripe's state does not allow it, or a request with this Idempotency-Key is being answered
    #[response(status = CONFLICT, content_type = "application/problem+json")]
    Conflict(#[to_schema] Problem),
    /// Stripe refused what this deployment asked
    #[response(status = BAD_GATEWAY, content_type = "application/problem+json")]
    Refused(#[to_schema] Problem),
    /// Stripe, or the database, does not answer
    #[response(status = SERVICE_UNAVAILABLE, content_type = "application/problem+json",
        headers(("Retry-After" = u32)))]
    Away(#[to_schema] Problem),
}

/// What else can go wrong where a request names one of Stripe's objects.
#[derive(IntoResponses)]
pub enum UnknownAtStripe {
    /// There is no such object, or none of the caller's
    #[response(status = NOT_FOUND, content_type = "application/problem+json")]
    Missing(#[to_schema] Problem),
}
