//! The rules of a job's life, for the SQL to be compared with: what may happen to
//! a job, and what it is then. `life` checks these rules, `agreement` the SQL.

use regimen_common::job::{JobEventKind, JobState, LOST_WORKERS_LIMIT};

/// Something that happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeRefused {
    /// Terminal states never change.
    Ended,
    /// The change needs a queued job.
    NotQueued,
    /// The change needs a running job.
    NotRunning,
    /// Somebody else holds the job now.
    StaleFence,
    /// A started job no longer expires; its deadline counts.
    AlreadyStarted,
}

/// The part of a job that the rules of its life concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// Where it stands.
    pub(crate) state: JobState,
    /// Claims, but for those that ended in a drain.
    pub(crate) attempts: i32,
    /// The latest claim was released by a drain, so the next one replaces it.
    pub(crate) drained: bool,
    /// Workers it lost.
    pub(crate) lost: i32,
    /// Retry rounds taken.
    pub(crate) rounds: i32,
    /// The fence of the latest claim.
    pub(crate) fence: i64,
    /// The number of its latest event.
    pub(crate) last_seq: i32,
    /// Whether a worker ever held it.
    pub(crate) started: bool,
}

impl Life {
    /// A job just accepted: its first event is written with it.
    pub(crate) fn accepted() -> Self {
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

    /// The job after `change`, and the event that records it. What does not apply
    /// leaves the job as it is.
    pub(crate) fn after(self, change: Change) -> Result<(Self, JobEventKind), ChangeRefused> {
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
