//! Errors of provider calls, classified by what has to be done. They never
//! contain secrets or prompts: a provider's text is truncated and scrubbed
//! before it becomes a message.

use std::fmt;
use std::time::Duration;

use super::TokenUsage;
use super::failure_words::{refuses, too_long};
use super::feature::{Feature, Features, Names, spoken_of};

/// Why a call brought no usable reply.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProviderError {
    /// No connection: name, TCP or TLS. Nothing was sent.
    #[error("could not connect: {detail}")]
    Connect {
        /// The cause, as the network stack reports it.
        detail: String,
    },
    /// The certificate is expired, of another host, or of an authority that is not trusted.
    /// Nothing was sent.
    #[error("the certificate is refused: {detail}")]
    Certificate {
        /// What is wrong with it.
        detail: String,
    },
    /// A timeout.
    #[error("no {phase} within {} ms", after.as_millis())]
    Timeout {
        /// The phase of the call.
        phase: Phase,
        /// The time limit.
        after: Duration,
    },
    /// The reply broke off before its end, or a proxy replaced it.
    #[error("the reply broke off: {detail}")]
    Cut {
        /// Where or how.
        detail: String,
    },
    /// The reply exceeds the size limit.
    #[error("the reply is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A success without text.
    #[error("the reply holds no text (finish: {finish:?})")]
    Empty {
        /// The finish reason, if any.
        finish: String,
        /// The token counts, which cost money all the same.
        usage: TokenUsage,
    },
    /// The provider is down, overloaded or busy.
    #[error("unavailable: {0}")]
    Unavailable(ErrorReply),
    /// Too many requests or tokens for the moment.
    #[error("rate limited: {0}")]
    RateLimited(ErrorReply),
    /// A quota that is renewed tomorrow.
    #[error("daily quota used up: {0}")]
    QuotaSpent(ErrorReply),
    /// The account has no money or has reached its spend limit.
    #[error("out of money: {0}")]
    OutOfMoney(ErrorReply),
    /// The key is invalid or lacks a permission.
    #[error("not authorised: {0}")]
    Unauthorized(ErrorReply),
    /// The model does not exist, or no longer does.
    #[error("model not found: {0}")]
    ModelNotFound(ErrorReply),
    /// The provider does not accept the request as it is.
    #[error("request rejected: {0}")]
    BadRequest(ErrorReply),
    /// The provider's moderation declines the request before anything is generated.
    #[error("declined: {0}")]
    Declined(ErrorReply),
    /// The output cap was reached before the JSON was complete.
    #[error("truncated at the output cap after {} tokens", usage.output)]
    Truncated {
        /// The token counts, which cost money all the same.
        usage: TokenUsage,
    },
    /// The provider refuses to write this.
    #[error("refused: {reason}")]
    Refused {
        /// The category or reason it gave.
        reason: String,
        /// The token counts, which cost money all the same.
        usage: TokenUsage,
    },
    /// The reply is not a valid plan.
    #[error("invalid reply: {detail}")]
    Invalid {
        /// What is wrong with it.
        detail: String,
        /// The token counts, which cost money all the same.
        usage: TokenUsage,
    },
}

/// The phase of a call that a timeout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Until the first byte of the body.
    FirstByte,
    /// Between two reads.
    Stall,
    /// The whole call.
    Total,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstByte => "first byte",
            Self::Stall => "further byte",
            Self::Total => "complete reply",
        })
    }
}

/// A provider's error.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ErrorReply {
    /// The HTTP status; for an error inside a stream, the status it stands for.
    pub status: u16,
    /// The provider's own code or type, empty when it gave none.
    pub code: String,
    /// Its message, truncated and scrubbed.
    pub message: String,
    /// Its id for the call.
    pub request_id: Option<String>,
    /// Its retry-after.
    pub wait: Option<Duration>,
    /// Whether it advises a retry (`x-should-retry`).
    pub should_retry: Option<bool>,
    /// The parts of the request that it refuses and that can be left out.
    pub refused: Features,
}

impl ErrorReply {
    fn words(&self) -> String {
        format!("{} {}", self.code, self.message).to_lowercase()
    }
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for part in [&self.code, &self.message] {
            if !part.is_empty() {
                write!(f, " {part}")?;
            }
        }
        Ok(())
    }
}

/// A fault that a host finds in the request itself. Two hosts that find the same fault
/// settle it; a fault of one host alone says nothing about the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The content is refused.
    Unwanted,
    /// It is too long.
    TooLong,
    /// This text, with this status.
    Said(u16, String),
}

/// The known price of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billed {
    /// Nothing was generated.
    Nothing,
    /// These tokens were generated.
    Tokens(TokenUsage),
    /// The provider may have generated, and charge for, anything up to the cap.
    Unknown,
}

impl ProviderError {
    /// The failure of a status, when the body says nothing better.
    pub(crate) fn by_status(reply: ErrorReply) -> Self {
        match reply.status {
            401 | 403 => Self::Unauthorized(reply),
            402 => Self::OutOfMoney(reply),
            404 => Self::ModelNotFound(reply),
            429 => Self::RateLimited(reply),
            // 499: Google cancels calls by itself under load.
            408 | 409 | 499 | 500.. => Self::Unavailable(reply),
            _ => Self::BadRequest(reply),
        }
    }

    /// The class in events, metrics and the ledger.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Certificate { .. } => "certificate",
            Self::Timeout { .. } => "timeout",
            Self::Cut { .. } => "cut",
            Self::TooLarge { .. } => "too_large",
            Self::Empty { .. } => "empty",
            Self::Unavailable(_) => "unavailable",
            Self::RateLimited(_) => "rate_limited",
            Self::QuotaSpent(_) => "quota_spent",
            Self::OutOfMoney(_) => "out_of_money",
            Self::Unauthorized(_) => "unauthorized",
            Self::ModelNotFound(_) => "model_not_found",
            Self::BadRequest(_) => "bad_request",
            Self::Truncated { .. } => "truncated",
            Self::Declined(_) | Self::Refused { .. } => "refused",
            Self::Invalid { .. } => "invalid",
        }
    }

    /// Its token counts, if known, to be bounded.
    pub(crate) fn usage_mut(&mut self) -> Option<&mut TokenUsage> {
        match self {
            Self::Empty { usage, .. }
            | Self::Truncated { usage }
            | Self::Refused { usage, .. }
            | Self::Invalid { usage, .. } => Some(usage),
            _ => None,
        }
    }

    /// The fault of the request itself, if it is one.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Declined(_) | Self::Refused { .. } => Some(Fault::Unwanted),
            Self::BadRequest(reply) if reply.status == 413 || too_long(&reply.words()) => {
                Some(Fault::TooLong)
            }
            // An unknown field is a matter of one host, and errors without text are not
            // the same error.
            Self::BadRequest(reply) => {
                let words = reply.words();
                let own = !reply.refused.is_empty() || refuses(&words) || words.trim().is_empty();
                (!own).then_some(Fault::Said(reply.status, words))
            }
            _ => None,
        }
    }

    /// Adds the parts of the request, out of `names`, that it mentions, which were
    /// unknown where it was parsed.
    #[must_use]
    pub(crate) fn naming(mut self, names: Names) -> Self {
        if let Self::BadRequest(reply) = &mut self
            && reply.refused.is_empty()
            && !too_long(&reply.words())
        {
            reply.refused = spoken_of(names, &reply.words());
        }
        self
    }

    /// A refused part of the request that is not left out yet.
    pub fn refused(&self, without: Features) -> Option<Feature> {
        let Self::BadRequest(reply) = self else { return None };
        reply.refused.first_but(without)
    }

    /// The cost of the failed call, as far as known.
    pub fn billed(&self) -> Billed {
        match self {
            Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::Unavailable(_)
            | Self::RateLimited(_)
            | Self::QuotaSpent(_)
            | Self::OutOfMoney(_)
            | Self::Unauthorized(_)
            | Self::ModelNotFound(_)
            | Self::BadRequest(_)
            | Self::Declined(_) => Billed::Nothing,
            Self::Empty { usage, .. }
            | Self::Truncated { usage }
            | Self::Refused { usage, .. }
            | Self::Invalid { usage, .. } => Billed::Tokens(*usage),
            Self::Timeout { .. } | Self::Cut { .. } | Self::TooLarge { .. } => Billed::Unknown,
        }
    }

    /// The provider's error reply, if there is one.
    pub fn reply(&self) -> Option<&ErrorReply> {
        match self {
            Self::Unavailable(reply)
            | Self::RateLimited(reply)
            | Self::QuotaSpent(reply)
            | Self::OutOfMoney(reply)
            | Self::Unauthorized(reply)
            | Self::ModelNotFound(reply)
            | Self::BadRequest(reply)
            | Self::Declined(reply) => Some(reply),
            Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::Timeout { .. }
            | Self::Cut { .. }
            | Self::TooLarge { .. }
            | Self::Empty { .. }
            | Self::Truncated { .. }
            | Self::Refused { .. }
            | Self::Invalid { .. } => None,
        }
    }
}

/// At most `limit` characters of `text`, on one line.
pub(crate) fn cut_short(text: &str, limit: usize) -> String {
    let mut short: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(limit)
        .collect();
    if text.chars().nth(limit).is_some() {
        short.push('…');
    }
    short
}
