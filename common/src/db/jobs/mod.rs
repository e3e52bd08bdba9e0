//! SQL of jobs, their events and attempts.
//!
//! All times are the database's own, so that the clocks of workers need not
//! agree. Every write that belongs to a holder checks its fence; a function
//! that finds no row to change says so instead of failing.

mod accept;
mod attempts;
mod cancel;
mod claim;
mod events;
mod finish;
pub(super) mod read;
mod reconcile;

pub use accept::{Acceptance, Idempotency, NewJob, NewJobs, Replay, accept};
pub use attempts::{
    AttemptOutcome, NewAttempt, RawReply, Usage, judge_attempt, start_attempt, store_reply,
    unjudged_reply,
};
pub use cancel::{CancelOutcome, cancel};
pub use claim::{ClaimPolicy, Claimed, Held, claim, claim_waiting, extend_leases, held_by};
pub use events::{append_event, events_after};
pub use finish::{Ended, NextJob, Success, dispatch_next, drain, fail, lose, retry_later, succeed};
pub use read::{
    Backlog, JobRow, ListFilter, backlog, generation_of, job, jobs_of_user, position, revisions,
};
pub use reconcile::{
    Reconciled, dispatch_ready, expire_overdue, queue_health, recover_leases, redispatch_lost,
};
