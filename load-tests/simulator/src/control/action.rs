//! What a call is answered with instead of a good plan, or how it is delayed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::wire::complaint::Complaint;
use crate::wire::odd::Shape;

/// One way to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// A good plan.
    Answer,
    /// A good plan, once the rule is released (`POST /control/release`).
    Hold,
    /// An HTTP error in the provider's own shape.
    Status(StatusError),
    /// The provider's way to say that it is overloaded: 529 at Anthropic, else 503.
    Overloaded,
    /// Takes the request and never answers.
    Hang,
    /// Sends status, headers and the first bytes, then nothing more.
    HangAfterHeaders,
    /// Sends a good reply a few bytes at a time.
    SlowDrip {
        /// Bytes a piece.
        #[serde(default = "default_drip_bytes")]
        bytes: usize,
        /// Milliseconds between pieces.
        every_ms: u64,
    },
    /// Closes the connection.
    Cut {
        /// When.
        at: CutAt,
    },
    /// Ends in the middle, as at the cap on output tokens.
    Truncated,
    /// The model declines.
    Refusal,
    /// A content filter holds the reply back.
    Blocked,
    /// Status 200 and not one byte.
    EmptyBody,
    /// A well-formed reply whose text is empty.
    EmptyText,
    /// A well-formed reply whose text is no JSON.
    InvalidJson,
    /// Status 200 and a page of HTML, as a broken edge sends it.
    GarbageBody,
    /// JSON that does not fit the schema.
    SchemaInvalid,
    /// Totals that do not follow from the foods, or counts from the days.
    WrongTotals,
    /// A plan with this food in it, sums right.
    Allergen {
        /// The food's name.
        food: String,
    },
    /// A plan with a food that the targets forbid, in the place of one of its kind.
    ForbiddenFood,
    /// A plan some of whose foods have invented figures, sums right.
    WrongFigures,
    /// A plan that does what somebody wrote into the quiz.
    Obey {
        /// Words to put into the plan; without: what follows the rule's marker.
        #[serde(default)]
        says: Option<String>,
        /// A food to add.
        #[serde(default)]
        food: Option<String>,
        /// kcal the day comes to instead of those asked for.
        #[serde(default)]
        calories: Option<f64>,
    },
    /// Exactly this text as the model's reply.
    Exact {
        /// The text.
        text: String,
    },
    /// Exactly this HTTP reply.
    ExactBody {
        /// The status.
        #[serde(default = "default_ok")]
        status: u16,
        /// Headers beside the request id.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body, as text.
        body: String,
    },
    /// A good plan in an odd shape, as some real host sends it.
    Odd {
        /// The shape.
        shape: Shape,
    },
    /// An error in the place of a reply, under status 200.
    Complain {
        /// In which shape.
        how: Complaint,
    },
    /// An error event in the middle of the stream; on a call that does not
    /// stream the same error as a status.
    StreamError {
        /// The share of the text that is sent before, 0 to 1.
        #[serde(default = "default_half")]
        after: f64,
    },
    /// OpenAI Responses: status 200 with `status: failed` and this code;
    /// elsewhere an HTTP 500.
    Failed {
        /// For instance server_error or rate_limit_exceeded.
        code: String,
    },
}

/// When a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutAt {
    /// Before any answer.
    Request,
    /// After status and headers.
    Headers,
    /// After half of the body.
    Half,
}

/// An HTTP error, and what kind of it where the provider knows several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatusError {
    /// The status code.
    pub status: u16,
    /// Which of the errors with this status.
    pub reason: Option<Reason>,
    /// Other words than the provider's usual ones.
    pub message: Option<String>,
    /// Seconds, or an HTTP date, to wait. A header; at Gemini a RetryInfo.
    #[serde(deserialize_with = "text_or_number")]
    pub retry_after: Option<String>,
    /// Milliseconds to wait, in `retry-after-ms` (OpenAI, Anthropic, llama).
    pub retry_after_ms: Option<f64>,
    /// Duration text or instant in the provider's rate-limit reset headers.
    pub reset: Option<String>,
    /// More headers, `x-should-retry` for one.
    pub headers: BTreeMap<String, String>,
    /// Another body than the provider's own.
    pub body: Option<Value>,
}

/// Errors that share a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// 429: too many requests, the usual one.
    Rate,
    /// 429 (Anthropic 402): the account has no money left.
    Money,
    /// 429: the account's monthly cap (Anthropic, without a hint to wait).
    SpendLimit,
    /// 429: the contract's cap (Anthropic).
    ContractLimit,
    /// 429: usage grew too fast (Anthropic).
    Ramp,
    /// 429: no more today (Gemini quota per day).
    DailyQuota,
    /// 429: the request alone exceeds the tokens a minute (OpenAI).
    TooLarge,
    /// 400: the caller's own spend limit (Anthropic).
    OwnSpendLimit,
}

fn default_drip_bytes() -> usize {
    16
}

fn default_ok() -> u16 {
    200
}

fn default_half() -> f64 {
    0.5
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}

impl Action {
    /// The name under which its calls are counted.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Answer => "answered",
            Self::Hold => "held",
            Self::Status(_) => "status",
            Self::Overloaded => "overloaded",
            Self::Hang => "hang",
            Self::HangAfterHeaders => "hang_after_headers",
            Self::SlowDrip { .. } => "slow_drip",
            Self::Cut { .. } => "cut",
            Self::Truncated => "truncated",
            Self::Refusal => "refusal",
            Self::Blocked => "blocked",
            Self::EmptyBody => "empty_body",
            Self::EmptyText => "empty_text",
            Self::InvalidJson => "invalid_json",
            Self::GarbageBody => "garbage_body",
            Self::SchemaInvalid => "schema_invalid",
            Self::WrongTotals => "wrong_totals",
            Self::Allergen { .. } => "allergen",
            Self::ForbiddenFood => "forbidden_food",
            Self::WrongFigures => "wrong_figures",
            Self::Obey { .. } => "obey",
            Self::Exact { .. } => "exact",
            Self::ExactBody { .. } => "exact_body",
            Self::Odd { .. } => "odd",
            Self::Complain { .. } => "complain",
            Self::StreamError { .. } => "stream_error",
            Self::Failed { .. } => "failed",
        }
    }

    /// The action a fault mix names in one word: a status code or an action
    /// that needs no settings.
    pub(crate) fn named(word: &str) -> Option<Self> {
        if let Ok(status) = word.parse::<u16>() {
            let retry_after = (status == 429).then(|| "1".to_owned());
            return (400..600).contains(&status).then(|| {
                Self::Status(StatusError { status, retry_after, ..StatusError::default() })
            });
        }
        match word {
            "cut" => Some(Self::Cut { at: CutAt::Half }),
            "slow_drip" => Some(Self::SlowDrip { bytes: 64, every_ms: 20 }),
            _ => serde_json::from_value(serde_json::json!({ "do": word }))
                .or_else(|_| {
                    serde_json::from_value(serde_json::json!({ "do": "odd", "shape": word }))
                })
                .ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Action, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn actions_read_as_documented_and_typos_are_refused() {
        let status = read(json!({"do": "status", "status": 429, "retry_after": 20})).unwrap();
        assert!(
            matches!(status, Action::Status(error) if error.retry_after.as_deref() == Some("20"))
        );
        assert_eq!(
            read(json!({"do": "cut", "at": "half"})).unwrap(),
            Action::Cut { at: CutAt::Half }
        );
        assert!(read(json!({"do": "hnag"})).is_err());
        assert!(read(json!({"do": "status", "status": 500, "retry_afetr": 1})).is_err());
    }

    #[test]
    fn mixes_name_actions_in_one_word() {
        assert!(matches!(Action::named("529"), Some(Action::Status(error)) if error.status == 529));
        assert_eq!(Action::named("invalid_json"), Some(Action::InvalidJson));
        assert_eq!(Action::named("fence"), Some(Action::Odd { shape: Shape::Fence }));
        assert_eq!(Action::named("allergen"), None);
        assert_eq!(Action::named("200"), None);
    }
}
