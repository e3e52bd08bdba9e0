//! The life of a plan job: its kinds, states, events and the rules that lead
//! from one to the next. Pure; `db::jobs` writes what these rules allow.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::named::UnknownName;
use crate::named::named;

/// What a job makes.
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

/// The dispatch list a job stands in, by its owner's plan tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobClass {
    /// Paying users: served first, within the weights.
    Pro,
    /// Everybody else, with a guaranteed share.
    Free,
}
named!(JobClass, "job class", { Pro => "pro", Free => "free" });

/// Where a job stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waiting: for its turn, or for `run_at`.
    Queued,
    /// Held by one worker under a lease.
    Running,
    /// Its plan is saved.
    Succeeded,
    /// It ended without a plan; the code says why.
    Failed,
    /// Its owner or an operator ended it.
    Cancelled,
    /// Nobody could start it in time.
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

/// What a job appends to its history; the names are the SSE event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobEventKind {
    /// The ingress committed the job.
    Accepted,
    /// A worker holds it now.
    Claimed,
    /// A provider is being asked.
    AttemptStarted,
    /// That call failed; says the class and when it is tried again.
    AttemptFailed,
    /// The next provider takes over.
    FellBack,
    /// A reply is being checked against the user's needs.
    Verifying,
    /// A flaw was mended without asking again.
    Repaired,
    /// The plan is stored; the job succeeded.
    Saved,
    /// The whole fallback failed for now; another round comes later.
    RetryScheduled,
    /// Ended by its owner or an operator.
    Cancelled,
    /// Released by a worker that is shutting down.
    Drained,
    /// Its worker vanished; requeued.
    LeaseLost,
    /// Nobody could start it in time.
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

/// Why a job failed for good.
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
    /// The job took three workers down with it.
    Poisoned,
    /// The total time from the first claim ran out.
    DeadlineExceeded,
    /// A defect of ours; the log has the details.
    Internal,
}
named!(FailureCode, "failure code", {
    ProvidersExhausted => "providers_exhausted", Refused => "refused",
    Unverifiable => "unverifiable", BadRequest => "bad_request", NoProvider => "no_provider",
    Poisoned => "poisoned", DeadlineExceeded => "deadline_exceeded", Internal => "internal",
});

impl FailureCode {
    /// Whether the service failed, rather than what the user asked for. Such a
    /// generation does not count against the user's month.
    pub fn is_ours(self) -> bool {
        match self {
            Self::Refused => false,
            Self::ProvidersExhausted
            | Self::Unverifiable
            | Self::BadRequest
            | Self::NoProvider
            | Self::Poisoned
            | Self::DeadlineExceeded
            | Self::Internal => true,
        }
    }
}

/// What users are told of an attempt that ended as `outcome`: the kind of
/// failure and nothing of the provider's own words, which may name accounts,
/// addresses and keys. Operators find those with the attempt.
pub fn attempt_summary(outcome: &str) -> &'static str {
    match outcome {
        "connect" => "the provider could not be reached",
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
        "cancelled" => "another provider was faster",
        _ => "the attempt failed",
    }
}

/// A job that took its worker down this often is `poisoned`.
pub const LOST_WORKERS_LIMIT: i32 = 3;

/// Something that happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A worker takes it, under this fresh fence.
    Claim {
        /// The fence drawn for this claim.
        fence: i64,
    },
    /// Its holder, known by the fence, saved the plan.
    Succeed {
        /// The holder's fence.
        fence: i64,
    },
    /// Its holder gives up for good.
    Fail {
        /// The holder's fence.
        fence: i64,
    },
    /// Its holder wants another round later.
    RetryLater {
        /// The holder's fence.
        fence: i64,
    },
    /// Its holder is shutting down.
    Drain {
        /// The holder's fence.
        fence: i64,
    },
    /// Its lease ran out.
    LoseLease,
    /// Its owner or an operator ends it.
    Cancel,
    /// Nobody started it in time.
    Expire,
}

/// Why a change does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// Terminal states never change.
    #[error("the job has ended")]
    Ended,
    /// The change needs a queued job.
    #[error("the job is not waiting")]
    NotQueued,
    /// The change needs a running job.
    #[error("the job is not running")]
    NotRunning,
    /// Somebody else holds the job now.
    #[error("the job is held under a newer fence")]
    StaleFence,
    /// A started job no longer expires; its deadline counts.
    #[error("the job was started before")]
    AlreadyStarted,
}

/// The part of a job that the rules of its life concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Where it stands.
    pub state: JobState,
    /// Claims, but for those that ended in a drain.
    pub attempts: i32,
    /// The latest claim was released by a drain, so the next one replaces it.
    pub drained: bool,
    /// Workers it lost.
    pub lost: i32,
    /// Retry rounds taken.
    pub rounds: i32,
    /// The fence of the latest claim.
    pub fence: i64,
    /// The number of its latest event.
    pub last_seq: i32,
    /// Whether a worker ever held it.
    pub started: bool,
}

impl Life {
    /// A job just accepted: its first event is written with it.
    pub fn accepted() -> Self {
        Self {
            state: JobState::Queued,
            attempts: 0,
            drained: false,
            lost: 0,
            rounds: 0,
            fence: 0,
            last_seq: 1,
            started: false,
        }
    }

    /// The job after `change`, and the event that records it.
    ///
    /// # Errors
    /// The change does not apply; the job stays as it is.
    pub fn after(self, change: Change) -> Result<(Self, JobEventKind), ChangeRefused> {
        if self.state.is_terminal() {
            return Err(ChangeRefused::Ended);
        }
        let mut next = Self { last_seq: self.last_seq + 1, ..self };
        let event = match change {
            Change::Claim { fence } => {
                self.must_be_queued()?;
                if fence <= self.fence {
                    return Err(ChangeRefused::StaleFence);
                }
                next.state = JobState::Running;
                next.attempts += i32::from(!self.drained);
                next.drained = false;
                next.fence = fence;
                next.started = true;
                JobEventKind::Claimed
            }
            Change::Succeed { fence } => {
                self.must_be_held_under(fence)?;
                next.state = JobState::Succeeded;
                JobEventKind::Saved
            }
            Change::Fail { fence } => {
                self.must_be_held_under(fence)?;
                next.state = JobState::Failed;
                JobEventKind::Failed
            }
            Change::RetryLater { fence } => {
                self.must_be_held_under(fence)?;
                next.state = JobState::Queued;
                next.rounds += 1;
                JobEventKind::RetryScheduled
            }
            Change::Drain { fence } => {
                self.must_be_held_under(fence)?;
                next.state = JobState::Queued;
                next.drained = true;
                JobEventKind::Drained
            }
            Change::LoseLease => {
                if self.state != JobState::Running {
                    return Err(ChangeRefused::NotRunning);
                }
                next.lost += 1;
                if next.lost >= LOST_WORKERS_LIMIT {
                    next.state = JobState::Failed;
                    JobEventKind::Failed
                } else {
                    next.state = JobState::Queued;
                    JobEventKind::LeaseLost
                }
            }
            Change::Cancel => {
                next.state = JobState::Cancelled;
                JobEventKind::Cancelled
            }
            Change::Expire => {
                self.must_be_queued()?;
                if self.started {
                    return Err(ChangeRefused::AlreadyStarted);
                }
                next.state = JobState::Expired;
                JobEventKind::Expired
            }
        };
        Ok((next, event))
    }

    fn must_be_queued(self) -> Result<(), ChangeRefused> {
        if self.state == JobState::Queued { Ok(()) } else { Err(ChangeRefused::NotQueued) }
    }

    fn must_be_held_under(self, fence: i64) -> Result<(), ChangeRefused> {
        if self.state != JobState::Running {
            Err(ChangeRefused::NotRunning)
        } else if self.fence != fence {
            Err(ChangeRefused::StaleFence)
        } else {
            Ok(())
        }
    }
}

/// One line of a job's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobEvent {
    /// 1, 2, 3 … per job, without gaps.
    pub seq: i32,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: JobEventKind,
    /// Details by kind.
    pub data: serde_json::Value,
}
