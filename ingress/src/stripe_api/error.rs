//! Errors of calls to Stripe, and their messages for callers.

use reqwest::StatusCode;
use serde_json::Value;

use crate::error::ApiError;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no key.
    #[error("STRIPE_SECRET_KEY is not set here, so nothing can be sold or managed; set it")]
    NoKey,
    /// No reply, or none in time: the change may have been made.
    #[error("Stripe did not answer")]
    Away(#[source] reqwest::Error),
    /// Stripe is overloaded or has an internal error.
    #[error("Stripe answered {status}")]
    Busy {
        /// The HTTP status.
        status: u16,
    },
    /// A call with the same idempotency key is running.
    #[error("Stripe is still working on a call with the same idempotency key")]
    InFlight,
    /// The idempotency key was used with other parameters.
    #[error("the idempotency key was used for another call")]
    KeyReused,
    /// The key is wrong, expired, or lacks a permission.
    #[error("Stripe refused STRIPE_SECRET_KEY: {0}")]
    Forbidden(Refusal),
    /// The object does not exist, for this account and mode.
    #[error("Stripe knows no such object: {0}")]
    Missing(Refusal),
    /// A payment was declined.
    #[error("the payment was declined: {0}")]
    Declined(Refusal),
    /// Stripe refuses the call as invalid.
    #[error("Stripe refused the call: {0}")]
    Refused(Refusal),
    /// The reply does not have the expected format.
    #[error("Stripe's reply cannot be read")]
    Unreadable,
}

/// Stripe's error. Its message is left out, because it may repeat parts of our key or of
/// other users' ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Stripe's `code`, else its `type`.
    pub code: String,
    /// The parameter it is about.
    pub param: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.code)?;
        match &self.param {
            Some(param) => write!(f, " at {param}"),
            None => Ok(()),
        }
    }
}

impl CallError {
    /// The meaning of a reply that is not a success.
    pub(super) fn of_reply(status: StatusCode, body: &Value) -> Self {
        let error = body.get("error");
        let word = |name: &str| {
            let word = error.and_then(|error| error.get(name)).and_then(Value::as_str)?;
            let plain = |c: &char| c.is_ascii_alphanumeric() || "_[].".contains(*c);
            Some(word.chars().filter(plain).take(80).collect::<String>())
        };
        let kind = word("type").unwrap_or_default();
        let code = word("code").or_else(|| word("type")).unwrap_or_else(|| "no_code".to_owned());
        let refusal = Refusal { status: status.as_u16(), code, param: word("param") };
        let busy = status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || refusal.code == "rate_limit";
        match status {
            _ if busy => Self::Busy { status: status.as_u16() },
            StatusCode::CONFLICT => Self::InFlight,
            _ if kind == "idempotency_error" => Self::KeyReused,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Forbidden(refusal),
            StatusCode::PAYMENT_REQUIRED => Self::Declined(refusal),
            _ if status == StatusCode::NOT_FOUND || refusal.code == "resource_missing" => {
                Self::Missing(refusal)
            }
            _ => Self::Refused(refusal),
        }
    }

    /// Its name in metrics and the audit log.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::Away(_) => "away",
            Self::Busy { .. } => "busy",
            Self::InFlight => "in_flight",
            Self::KeyReused => "key_reused",
            Self::Forbidden(_) => "forbidden",
            Self::Missing(_) => "missing",
            Self::Declined(_) => "declined",
            Self::Refused(_) => "refused",
            Self::Unreadable => "unreadable",
        }
    }

    /// The error for an operator, who chose the parameters of the call.
    pub fn for_operator(self) -> ApiError {
        match self {
            Self::Missing(refusal) => ApiError::NotFound(format!(
                "Stripe knows no such object, for this account and mode ({refusal})"
            )),
            Self::Refused(refusal) => ApiError::StripeRejected(format!(
                "Stripe refused this ({refusal}); correct the request or look at the object in \
                 Stripe's dashboard"
            )),
            other => other.into(),
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoKey => Self::NotConfigured(error.to_string()),
            CallError::Away(_) | CallError::Busy { .. } => Self::StripeAway(error.into()),
            CallError::InFlight => Self::IdempotencyInFlight,
            CallError::KeyReused => Self::IdempotencyMismatch,
            CallError::Declined(refusal) => Self::Conflict(format!(
                "the payment was declined ({}); use another way to pay",
                refusal.code
            )),
            // The caller chose none of the refused parameters: our settings are wrong.
            CallError::Forbidden(_)
            | CallError::Missing(_)
            | CallError::Refused(_)
            | CallError::Unreadable => Self::StripeRefused(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_reply_has_its_meaning() {
        let meaning = |status: u16, body: Value| {
            CallError::of_reply(StatusCode::from_u16(status).unwrap(), &body).label()
        };
        let error = |kind: &str, code: &str| json!({"error": {"type": kind, "code": code}});
        assert_eq!(meaning(500, json!(null)), "busy");
        assert_eq!(meaning(429, json!({})), "busy");
        assert_eq!(meaning(400, error("invalid_request_error", "rate_limit")), "busy");
        assert_eq!(meaning(409, json!({})), "in_flight");
        assert_eq!(meaning(400, json!({"error": {"type": "idempotency_error"}})), "key_reused");
        assert_eq!(meaning(401, json!({})), "forbidden");
        assert_eq!(meaning(403, json!({})), "forbidden");
        assert_eq!(meaning(402, error("card_error", "card_declined")), "declined");
        assert_eq!(meaning(404, json!({})), "missing");
        assert_eq!(meaning(400, error("invalid_request_error", "resource_missing")), "missing");
        assert_eq!(meaning(400, error("invalid_request_error", "parameter_unknown")), "refused");
        assert_eq!(meaning(302, json!({})), "refused");
    }

    #[test]
    fn what_is_told_holds_no_message_of_stripes() {
        let body = json!({"error": {"type": "invalid_request_error", "code": "x\u{7}<b>",
            "param": "line_items[0][price]", "message": "Invalid API Key provided: sk_live_abc"}});
        let told = CallError::of_reply(StatusCode::BAD_REQUEST, &body).to_string();
        assert_eq!(told, "Stripe refused the call: 400 xb at line_items[0][price]");
    }
}
