//! The body of a callback: that a job has ended, and its final state. It
//! contains nothing of the quiz, the plan or the error text, because those are
//! health data; clients read them from the API.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::job::{JobState, PlanKind};

/// The body of a callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct JobCallback {
    /// `job.succeeded`, `job.failed`, `job.cancelled` or `job.expired`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the job ended.
    pub timestamp: DateTime<Utc>,
    /// The job.
    pub data: JobEnd,
}

/// The job that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct JobEnd {
    /// Its id.
    pub id: Uuid,
    /// The kind of plan.
    pub kind: PlanKind,
    /// Its final state.
    pub status: JobState,
    /// Links to the API.
    pub links: JobEndLinks,
    /// Why there is no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobEndError>,
}

/// Paths at the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct JobEndLinks {
    /// The job.
    #[serde(rename = "self")]
    pub this: String,
    /// The plan, until there is a newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// Why a job ended without a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct JobEndError {
    /// The failure code; the job has the text for people.
    pub code: String,
}

impl JobCallback {
    /// The message about the end of a job.
    pub fn new(
        id: Uuid,
        kind: PlanKind,
        status: JobState,
        error_code: Option<String>,
        ended_at: DateTime<Utc>,
    ) -> Self {
        let plan = (status == JobState::Succeeded).then(|| format!("/v1/plans/{kind}/active"));
        Self {
            kind: format!("job.{status}"),
            timestamp: ended_at,
            data: JobEnd {
                id,
                kind,
                status,
                links: JobEndLinks { this: format!("/v1/jobs/{id}"), plan },
                error: error_code.map(|code| JobEndError { code }),
            },
        }
    }

    /// The message's id, the same for every try.
    pub fn message_id(&self) -> String {
        format!("msg_{}", self.data.id.simple())
    }
}
