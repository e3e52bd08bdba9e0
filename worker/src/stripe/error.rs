//! Errors of calls to Stripe, and whether a retry helps.

use reqwest::StatusCode;
use serde_json::Value;

/// A question to Stripe that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// There is no key to ask with.
    #[error("STRIPE_SECRET_KEY is not set, so Stripe cannot be asked; set it and replay the event")]
    NoKey,
    /// No reply, or none in time.
    #[error("Stripe did not answer: {}", describe(.0))]
    Away(reqwest::Error),
    /// Stripe is overloaded, or we ask too often.
    #[error("Stripe answered {status}; asking again later")]
    Busy {
        /// The HTTP status.
        status: u16,
    },
    /// The key is wrong, expired, or may not read this.
    #[error(
        "Stripe refused STRIPE_SECRET_KEY with {status} ({code}); it must be of this account and mode and may read subscriptions, charges and events"
    )]
    Forbidden {
        /// The HTTP status.
        status: u16,
        /// Stripe's error code.
        code: String,
    },
    /// The object does not exist, for this account and mode.
    #[error("Stripe knows no such object")]
    Missing,
    /// Stripe refused the request as invalid.
    #[error("Stripe refused the question with {status} ({code})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Stripe's error code.
        code: String,
    },
    /// The reply does not have the expected format.
    #[error("Stripe's reply cannot be read")]
    Unreadable,
}

impl From<reqwest::Error> for StripeError {
    fn from(error: reqwest::Error) -> Self {
        // The URL may contain ids, and is not needed to understand the failure.
        Self::Away(error.without_url())
    }
}

impl StripeError {
    /// The meaning of a status other than 200.
    pub(super) fn of_reply(status: StatusCode, body: &Value) -> Self {
        let error = body.get("error");
        let word = |name| error.and_then(|error| error.get(name)).and_then(Value::as_str);
        let code = word("code").or_else(|| word("type")).unwrap_or("no code");
        let code: String = code.chars().filter(|c| !c.is_control()).take(60).collect();
        let busy = status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::CONFLICT
            || status.is_server_error()
            || code == "rate_limit";
        let status_number = status.as_u16();
        match status {
            _ if busy => Self::Busy { status: status_number },
            StatusCode::NOT_FOUND => Self::Missing,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Self::Forbidden { status: status_number, code }
            }
            _ => Self::Refused { status: status_number, code },
        }
    }

    /// Whether a later try may succeed. A wrong key counts, because operators correct it.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Away(_) | Self::Busy { .. } | Self::Forbidden { .. } | Self::Unreadable => true,
            Self::NoKey | Self::Missing | Self::Refused { .. } => false,
        }
    }

    /// Its name in metrics and dead events.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "no_stripe_key",
            Self::Away(_) => "stripe_away",
            Self::Busy { .. } => "stripe_busy",
            Self::Forbidden { .. } => "stripe_forbidden",
            Self::Missing => "stripe_missing",
            Self::Refused { .. } => "stripe_refused",
            Self::Unreadable => "stripe_unreadable",
        }
    }
}

fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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
            (error.code(), error.may_pass())
        };
        assert_eq!(meaning(429, json!({})), ("stripe_busy", true));
        assert_eq!(meaning(400, json!({"error": {"code": "rate_limit"}})), ("stripe_busy", true));
        assert_eq!(meaning(409, json!({})), ("stripe_busy", true));
        assert_eq!(meaning(500, json!(null)), ("stripe_busy", true));
        assert_eq!(meaning(503, json!("<html>")), ("stripe_busy", true));
        assert_eq!(meaning(404, json!({})), ("stripe_missing", false));
        assert_eq!(meaning(401, json!({})), ("stripe_forbidden", true));
        assert_eq!(meaning(403, json!({})), ("stripe_forbidden", true));
        assert_eq!(meaning(400, json!({"error": {"type": "x"}})), ("stripe_refused", false));
        assert_eq!(meaning(302, json!({})), ("stripe_refused", false));
    }
}
