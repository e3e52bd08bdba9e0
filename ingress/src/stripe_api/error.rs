//! What callers are told of a call to Stripe that brought no result.

use regimen_common::stripe::StripeError;

use crate::error::ApiError;

/// As an operator is told, who chose what the call is about.
pub fn for_operator(error: StripeError) -> ApiError {
    match error {
        StripeError::Missing(refusal) => ApiError::NotFound(format!(
            "Stripe knows no such object, for this account and mode ({refusal})"
        )),
        StripeError::Refused(refusal) => ApiError::StripeRejected(format!(
            "Stripe refused this ({refusal}); correct the request or look at the object in \
             Stripe's dashboard"
        )),
        other => other.into(),
    }
}

impl From<StripeError> for ApiError {
    fn from(error: StripeError) -> Self {
        match error {
            StripeError::NoKey => Self::NotConfigured(
                "STRIPE_SECRET_KEY is not set here, so nothing can be sold or managed; set it"
                    .to_owned(),
            ),
            StripeError::Away(_) | StripeError::Busy { .. } => Self::StripeAway(error.into()),
            StripeError::InFlight => Self::IdempotencyInFlight,
            StripeError::KeyReused => Self::IdempotencyMismatch,
            StripeError::Declined(refusal) => Self::Conflict(format!(
                "the payment was declined ({}); use another way to pay",
                refusal.code
            )),
            // Whoever called chose none of what Stripe finds wrong: that was our settings.
            StripeError::Forbidden(_)
            | StripeError::Missing(_)
            | StripeError::Refused(_)
            | StripeError::Unreadable => Self::StripeRefused(error.into()),
        }
    }
}
