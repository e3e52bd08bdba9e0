//! How a claim ends when it does not succeed; each `?` selects one of these.

use chrono::{DateTime, Utc};
use regimen_common::db::DbError;
use regimen_common::job::FailureCode;
use serde_json::Value;

use crate::budget::BudgetError;

/// Why a round produced no plan.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Another round follows later: all failures may be temporary.
    #[error("another round: {reason}")]
    Retry {
        /// What failed, for the job's events.
        reason: String,
    },
    /// Waits for the budget.
    #[error("over budget: {reason}")]
    OverBudget {
        /// Which budget.
        reason: String,
        /// When the budget is renewed.
        renewed_at: DateTime<Utc>,
    },
    /// Final.
    #[error("{code}: {detail}")]
    Fail {
        /// The failure code.
        code: FailureCode,
        /// The message for people.
        detail: String,
        /// The failures of the attempts.
        evidence: Value,
    },
    /// The handler panicked: counted like a lost worker.
    #[error("the handler panicked; the log has the details")]
    Panicked,
    /// The claim is stale; nothing may be written.
    #[error("the claim is stale")]
    Stale,
    /// Postgres failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<BudgetError> for JobError {
    fn from(error: BudgetError) -> Self {
        match error {
            BudgetError::Over { renewed_at, .. } => {
                Self::OverBudget { reason: error.to_string(), renewed_at }
            }
            BudgetError::Ledger(error) => Self::Db(error),
        }
    }
}

impl JobError {
    /// Its name in spans.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::OverBudget { .. } => "over_budget",
            Self::Fail { code, .. } => code.as_str(),
            Self::Panicked => "panicked",
            Self::Stale => "stale",
            Self::Db(_) => "database",
        }
    }

    /// A final failure without evidence.
    pub fn fail(code: FailureCode, detail: impl Into<String>) -> Self {
        Self::Fail { code, detail: detail.into(), evidence: Value::Null }
    }
}
