//! The problem responses for failed calls to Stripe.

use regimen_common::stripe::StripeError;

use crate::error::ApiError;

/// The error for an operator, who chose the objects of the call.
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
            // The caller did not choose what Stripe refuses; our settings did.
            StripeError::Forbidden(_)
            | StripeError::Missing(_)
            | StripeError::Refused(_)
            | StripeError::Unreadable => Self::StripeRefused(error.into()),
        }
    }
}
