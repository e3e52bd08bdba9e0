//! Errors of calls to Stripe, and whether a retry can help.

use reqwest::StatusCode;
use serde_json::Value;

use crate::causes::causes;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// There is no key.
    #[error(
        "STRIPE_SECRET_KEY is not set, so Stripe cannot be asked; set it and try again (an event: replay it)"
    )]
    NoKey,
    /// No reply, or none in time; the change may have been made.
    #[error("Stripe did not answer: {}", causes(.0))]
    Away(reqwest::Error),
    /// Stripe is overloaded or fails, or there are too many requests.
    #[error("Stripe answered {status}; ask again later")]
    Busy {
        /// The HTTP status.
        status: u16,
    },
    /// A call with the same idempotency key is in progress.
    #[error("Stripe is still working on a call with the same idempotency key")]
    InFlight,
    /// The idempotency key was used with other parameters.
    #[error("the idempotency key was used for another call")]
    KeyReused,
    /// The key is wrong or expired, or lacks a permission.
    #[error(
        "Stripe refused STRIPE_SECRET_KEY with {0}; use a key of this account and mode with the rights that .env.example lists"
    )]
    Forbidden(Refusal),
    /// There is no such object in this account and mode.
    #[error("Stripe knows no such object: {0}")]
    Missing(Refusal),
    /// A payment was declined.
    #[error("the payment was declined: {0}")]
    Declined(Refusal),
    /// Stripe refused the request as invalid.
    #[error("Stripe refused the call: {0}")]
    Refused(Refusal),
    /// The reply does not have the expected form.
    #[error("Stripe's reply cannot be read")]
    Unreadable,
}

/// Stripe's description of a refusal, without its message, which may contain parts of our
/// key or others' ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Stripe's `code`, else its `type`.
    pub code: String,
    /// The parameter it concerns.
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

impl StripeError {
    /// The error of an unsuccessful reply.
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

    /// Whether the same call may succeed later. A wrong key counts, because operators
    /// correct it.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Away(_)
            | Self::Busy { .. }
            | Self::InFlight
            | Self::Forbidden(_)
            | Self::Unreadable => true,
            Self::NoKey
            | Self::KeyReused
            | Self::Missing(_)
            | Self::Declined(_)
            | Self::Refused(_) => false,
        }
    }

    /// The code under which dead letters are listed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "no_stripe_key",
            Self::Away(_) => "stripe_away",
            Self::Busy { .. } => "stripe_busy",
            Self::InFlight => "stripe_in_flight",
            Self::KeyReused => "stripe_key_reused",
            Self::Forbidden(_) => "stripe_forbidden",
            Self::Missing(_) => "stripe_missing",
            Self::Declined(_) => "stripe_declined",
            Self::Refused(_) => "stripe_refused",
            Self::Unreadable => "stripe_unreadable",
        }
    }

    /// The label for the metrics of calls and the audit log.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            _ => self.code().trim_start_matches("stripe_"),
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
            let status = StatusCode::from_u16(status).unwrap();
            let error = StripeError::of_reply(status, &body);
            (error.label(), error.is_temporary())
        };
        let error = |kind: &str, code: &str| json!({"error": {"type": kind, "code": code}});
        let invalid = |code: &str| error("invalid_request_error", code);
        let reused = json!({"error": {"type": "idempotency_error"}});
        assert_eq!(meaning(500, json!(null)), ("busy", true));
        assert_eq!(meaning(503, json!("<html>")), ("busy", true));
        assert_eq!(meaning(429, json!({})), ("busy", true));
        assert_eq!(meaning(400, json!({"error": {"code": "rate_limit"}})), ("busy", true));
        assert_eq!(meaning(400, invalid("rate_limit")), ("busy", true));
        assert_eq!(meaning(409, json!({})), ("in_flight", true));
        assert_eq!(meaning(400, reused), ("key_reused", false));
        assert_eq!(meaning(401, json!({})), ("forbidden", true));
        assert_eq!(meaning(403, json!({})), ("forbidden", true));
        assert_eq!(meaning(402, error("card_error", "card_declined")), ("declined", false));
        assert_eq!(meaning(404, json!({})), ("missing", false));
        assert_eq!(meaning(400, invalid("resource_missing")), ("missing", false));
        assert_eq!(meaning(400, invalid("parameter_unknown")), ("refused", false));
        assert_eq!(meaning(302, json!({})), ("refused", false));
    }

    #[test]
    fn what_is_told_holds_no_message_of_stripes() {
        let body = json!({"error": {"type": "invalid_request_error", "code": "x\u{7}<b>",
            "param": "line_items[0][price]", "message": "Invalid API Key provided: sk_live_abc"}});
        let told = StripeError::of_reply(StatusCode::BAD_REQUEST, &body).to_string();
        assert_eq!(told, "Stripe refused the call: 400 xb at line_items[0][price]");
    }
}
