//! The outcomes of a fallback run.

use std::time::Duration;

use regimen_common::job::{FailureCode, attempt_summary};

use super::error::Fault;
use super::log::AttemptFailure;
use super::retry::{Again, Health, Settled, rule};
use super::{ProviderError, ProviderName, TokenUsage};

/// A run that brought a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered<T> {
    /// The accepted plan.
    pub plan: T,
    /// Its provider.
    pub provider: ProviderName,
    /// The requested model.
    pub model: String,
    /// The attempt that delivered it.
    pub n: i32,
    /// The token counts of that attempt.
    pub usage: TokenUsage,
    /// Calls made in this run.
    pub calls: u32,
    /// The attempts that failed before.
    pub failures: Vec<AttemptFailure>,
}

/// A run without a plan.
#[derive(Debug, thiserror::Error)]
pub enum FallbackError<S> {
    /// No provider is configured.
    #[error("no AI provider has a key: set one of {}", ProviderName::key_variables())]
    NoProvider,
    /// Every provider failed, or is blocked for now.
    #[error("every provider failed{}", summary(failures))]
    Exhausted {
        /// Whether another round later may succeed.
        retryable: bool,
        /// When the first blocked provider may be called again.
        free_in: Option<Duration>,
        /// Every failed attempt.
        failures: Vec<AttemptFailure>,
    },
    /// Two providers, or the only one, refused to write this plan.
    #[error("refused{}", summary(failures))]
    Refused {
        /// Every failed attempt.
        failures: Vec<AttemptFailure>,
    },
    /// Two providers, or the only one, rejected the request itself.
    #[error("the request was rejected{}", summary(failures))]
    BadRequest {
        /// Every failed attempt.
        failures: Vec<AttemptFailure>,
    },
    /// Replies arrived, and none was valid.
    #[error("no reply passed verification{}", summary(failures))]
    Unverifiable {
        /// Every failed attempt.
        failures: Vec<AttemptFailure>,
    },
    /// The deadline passed before every provider had its turn.
    #[error("the deadline passed{}", summary(failures))]
    DeadlineExceeded {
        /// Every failed attempt.
        failures: Vec<AttemptFailure>,
    },
    /// The log stopped the run.
    #[error("the run was stopped")]
    Stopped(S),
}

impl<S> FallbackError<S> {
    /// The failure code of a job that ends this way; none if another round may succeed,
    /// or if the log stopped the run.
    pub fn code(&self) -> Option<FailureCode> {
        match self {
            Self::NoProvider => Some(FailureCode::NoProvider),
            Self::Exhausted { retryable: false, .. } => Some(FailureCode::ProvidersExhausted),
            Self::Refused { .. } => Some(FailureCode::Refused),
            Self::BadRequest { .. } => Some(FailureCode::BadRequest),
            Self::Unverifiable { .. } => Some(FailureCode::Unverifiable),
            Self::Exhausted { retryable: true, .. }
            | Self::DeadlineExceeded { .. }
            | Self::Stopped(_) => None,
        }
    }

    /// Every failed attempt of the run.
    pub fn failures(&self) -> &[AttemptFailure] {
        match self {
            Self::NoProvider | Self::Stopped(_) => &[],
            Self::Exhausted { failures, .. }
            | Self::Refused { failures }
            | Self::BadRequest { failures }
            | Self::Unverifiable { failures }
            | Self::DeadlineExceeded { failures } => failures,
        }
    }

    /// The end of a run in which every provider had its turn or was blocked. `blocked` is
    /// when the first blocked one may be called again.
    pub(crate) fn all_failed(failures: Vec<AttemptFailure>, blocked: Option<Duration>) -> Self {
        if blocked.is_some() || failures.iter().any(|failure| may_pass(&failure.error)) {
            return Self::Exhausted { retryable: true, free_in: blocked, failures };
        }
        let has =
            |test: fn(&ProviderError) -> bool| failures.iter().any(|failure| test(&failure.error));
        if has(|error| {
            matches!(error, ProviderError::Invalid { .. } | ProviderError::Truncated { .. })
        }) {
            Self::Unverifiable { failures }
        } else if has(|error| error.fault() == Some(Fault::Unwanted)) {
            Self::Refused { failures }
        } else if has(|error| matches!(error, ProviderError::BadRequest(_))) {
            Self::BadRequest { failures }
        } else {
            Self::Exhausted { retryable: false, free_in: None, failures }
        }
    }

    pub(crate) fn settled(settled: Settled, failures: Vec<AttemptFailure>) -> Self {
        match settled {
            Settled::Refused => Self::Refused { failures },
            Settled::BadRequest => Self::BadRequest { failures },
        }
    }
}

/// Whether a later try may succeed. A lack of money counts, because it raises an alert
/// and may be paid.
fn may_pass(error: &ProviderError) -> bool {
    let rule = rule(error);
    match rule.health {
        Health::Failing(_) | Health::Busy | Health::Broke => true,
        Health::Fine => rule.again == Again::Later,
        Health::Misconfigured => false,
    }
}

/// Users read it: no provider's own text.
fn summary(failures: &[AttemptFailure]) -> String {
    let said = |failure: &AttemptFailure| {
        let (count, summary) = (failures.len(), attempt_summary(failure.error.class()));
        format!(": {count} attempts, last {}: {summary}", failure.provider)
    };
    failures.last().map(said).unwrap_or_default()
}
