//! Errors that several operations describe, beyond those derived from what an
//! operation reads.

use utoipa::IntoResponses;

use crate::error::Problem;

/// Errors of a request for plans, beyond the general ones.
#[derive(IntoResponses)]
pub enum SubmissionRefusals {
    /// quiz_result_id is none of yours
    #[response(status = NOT_FOUND, content_type = "application/problem+json")]
    NoSuchQuiz(#[to_schema] Problem),
    /// A request with this Idempotency-Key is being processed
    #[response(status = CONFLICT, content_type = "application/problem+json")]
    InFlight(#[to_schema] Problem),
}

/// Errors of routes that call Stripe.
#[derive(IntoResponses)]
pub enum StripeRefusals {
    /// Stripe's state does not allow it, or a request with this Idempotency-Key is being
    /// processed
    #[response(status = CONFLICT, content_type = "application/problem+json")]
    Conflict(#[to_schema] Problem),
    /// Stripe refused a request of this deployment
    #[response(status = BAD_GATEWAY, content_type = "application/problem+json")]
    Refused(#[to_schema] Problem),
    /// Stripe, or the database, does not answer
    #[response(status = SERVICE_UNAVAILABLE, content_type = "application/problem+json",
        headers(("Retry-After" = u32)))]
    Away(#[to_schema] Problem),
}

/// Further errors when a request names a Stripe object.
#[derive(IntoResponses)]
pub enum UnknownAtStripe {
    /// There is no such object, or none of the caller's
    #[response(status = NOT_FOUND, content_type = "application/problem+json")]
    Missing(#[to_schema] Problem),
}
