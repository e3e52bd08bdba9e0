//! The kinds, states, events and failure codes of plan jobs. The statements of
//! `db::jobs` decide which state may follow which; the tests compare them with
//! the rules of `tests/it/jobs/rules.rs`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::named::UnknownName;
use crate::named::named;

/// The kinds of plans.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PlanKind {
    /// A day of meals.
    Meal,
    /// A week of training.
    Workout,
}
named!(PlanKind, "plan kind", { Meal => "meal", Workout => "workout" });

/// The dispatch list of a job, by its owner's plan tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobClass {
    /// Paying users: served first, by weight.
    Pro,
    /// All other users, with a guaranteed share.
    Free,
}
named!(JobClass, "job class", { Pro => "pro", Free => "free" });

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waiting to be claimed, or for `run_at`.
    Queued,
    /// Held by one worker under a lease.
    Running,
    /// Its plan is saved.
    Succeeded,
    /// It ended without a plan; the code says why.
    Failed,
    /// Ended by its owner or an operator.
    Cancelled,
    /// Not started in time.
    Expired,
}
named!(JobState, "job state", {
    Queued => "queued", Running => "running", Succeeded => "succeeded",
    Failed => "failed", Cancelled => "cancelled", Expired => "expired",
});

impl JobState {
    /// Terminal states never change.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired => true,
        }
    }
}

/// The events of a job; the names are the SSE event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobEventKind {
    /// The ingress committed the job.
    Accepted,
    /// A worker holds it now.
    Claimed,
    /// A provider is being called.
    AttemptStarted,
    /// That call failed; has the class and the time of the retry.
    AttemptFailed,
    /// The next provider takes over.
    FellBack,
    /// A reply is being checked against the user's needs.
    Verifying,
    /// An error was repaired without another call.
    Repaired,
    /// The plan is saved; the job succeeded.
    Saved,
    /// All providers failed for now; another round follows.
    RetryScheduled,
    /// Ended by its owner or an operator.
    Cancelled,
    /// Released by a worker that is shutting down.
    Drained,
    /// Its worker was lost; requeued.
    LeaseLost,
    /// Not started in time.
    Expired,
    /// Ended without a plan.
    Failed,
}
named!(JobEventKind, "event kind", {
    Accepted => "accepted", Claimed => "claimed", AttemptStarted => "attempt_started",
    AttemptFailed => "attempt_failed", FellBack => "fell_back", Verifying => "verifying",
    Repaired => "repaired", Saved => "saved", RetryScheduled => "retry_scheduled",
    Cancelled => "cancelled", Drained => "drained", LeaseLost => "lease_lost",
    Expired => "expired", Failed => "failed",
});

impl JobEventKind {
    /// Whether nothing can follow this event.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Saved | Self::Cancelled | Self::Expired | Self::Failed)
    }
}

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// Every provider failed in every retry round.
    ProvidersExhausted,
    /// Providers refused to write this plan.
    Refused,
    /// No reply passed verification.
    Unverifiable,
    /// A provider rejected our request as malformed.
    BadRequest,
    /// No provider has a key.
    NoProvider,
    /// Three workers were lost while they held the job.
    Poisoned,
    /// A defect; the log has the details.
    Internal,
}
named!(FailureCode, "failure code", {
    ProvidersExhausted => "providers_exhausted", Refused => "refused",
    Unverifiable => "unverifiable", BadRequest => "bad_request", NoProvider => "no_provider",
    Poisoned => "poisoned", Internal => "internal",
});

impl FailureCode {
    /// Whether the service failed, rather than the user's request. Such a generation does
    /// not count against the user's month.
    pub fn is_ours(self) -> bool {
        match self {
            Self::Refused => false,
            Self::ProvidersExhausted
            | Self::Unverifiable
            | Self::BadRequest
            | Self::NoProvider
            | Self::Poisoned
            | Self::Internal => true,
        }
    }
}

/// The text for users about an attempt that ended as `outcome`: the class of failure
/// without the provider's own text, which may name accounts, addresses and keys.
/// Operators see that text with the attempt.
pub fn attempt_summary(outcome: &str) -> &'static str {
    match outcome {
        "connect" | "certificate" => "the provider could not be reached",
        "timeout" => "the provider took too long",
        "cut" => "the reply broke off",
        "too_large" => "the reply was far too long",
        "empty" => "the reply held no text",
        "unavailable" => "the provider is unavailable",
        "rate_limited" => "the provider takes no more requests for now",
        "quota_spent" | "out_of_money" | "unauthorized" | "model_not_found" => {
            "the provider does not serve us for now"
        }
        "bad_request" => "the provider rejected the request",
        "truncated" => "the reply was cut off at its longest",
        "refused" => "the provider declined to write this",
        "invalid" => "the reply was not a sound plan",
        _ => "the attempt failed",
    }
}

/// A job that lost this many workers is `poisoned`.
pub const LOST_WORKERS_LIMIT: i32 = 3;
