//! How a claim ends when it does not succeed; each `?` selects one of these.

use chrono::{DateTime, Utc};
use regimen_common::db::DbError;
use regimen_common::job::FailureCode;
use serde_json::Value;

use crate::budget::BudgetError;

/// Why a job did not get its plan this time.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Worth another round later: everything that failed may pass.
    #[error("another round: {reason}")]
    Retry {
        /// What failed, for the job's history.
        reason: String,
    },
    /// Waits for money, which is not the job's fault.
    #[error("over budget: {reason}")]
    OverBudget {
        /// Which budget.
        reason: String,
        /// When there is a new one.
        renewed_at: DateTime<Utc>,
    },
    /// No use trying again.
    #[error("{code}: {detail}")]
    Fail {
        /// Why, for programs.
        code: FailureCode,
        /// Why, for people.
        detail: String,
        /// What each attempt said.
        evidence: Value,
    },
    /// The handler itself broke: counted as the loss of a worker would be.
    #[error("the handler panicked; the log has the details")]
    Panicked,
    /// The claim is not ours any more; nothing may be written.
    #[error("the claim is stale")]
    Stale,
    /// Postgres failed underneath.
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
    /// It in one word, for its span.
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

    /// A failure for good without evidence.
    pub fn fail(code: FailureCode, detail: impl Into<String>) -> Self {
        Self::Fail { code, detail: detail.into(), evidence: Value::Null }
    }
}
