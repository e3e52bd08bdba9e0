//! SQL of jobs, their events and attempts.
//!
//! All times are the database's, so the clocks of workers need not agree. Every
//! write of a holder checks its fence; a function that finds no row to change
//! returns that instead of failing.

mod accept;
mod attempts;
mod cancel;
mod claim;
mod deleted;
mod depth;
mod dispatch;
mod events;
mod finish;
mod forget;
mod learnt;
mod many;
mod operate;
pub(super) mod read;
mod ready;
mod reconcile;
mod release;
mod search;
mod watch;

pub use accept::{
    Acceptance, Idempotency, NewJob, NewJobs, Replay, accept, accept_together, answered_before,
};
pub use attempts::{
    AttemptOutcome, AttemptUsage, NewAttempt, PaidReply, StoredRawReply, judge_attempt,
    start_attempt, start_attempts, store_replies, store_reply, usable_reply,
};
pub use cancel::{CancelOutcome, Canceller, cancel};
pub use claim::{
    ClaimPolicy, ClaimedJob, Held, LEAST_LEASE, Turns, claim, claim_each, claim_waiting,
    extend_lease, held_by,
};
pub use deleted::{DeletedAccount, DeletedAccounts, cancel_of_account, deleted_accounts};
pub use depth::{Backlog, ClassHealth, QueueHealth, backlog, queue_health};
pub use dispatch::{NextJob, dispatch_next};
pub use events::append_event;
pub use finish::{
    EndOutcome, Ended, GoodReply, Success, SuccessfulEnd, fail, find_end, retry_later,
    succeed_alone, succeed_together,
};
pub use forget::{AnswerKey, OverAnswers, forget_answers};
pub use learnt::keep_learnt;
pub use operate::{RawReply, Retried, Traces, raw_reply, retry, traces};
pub use read::{JobRow, ListFilter, generation_of, job, jobs_of_user, revisions, targets};
pub use ready::{LostMessages, ReadyPage, ReadyUsers, dispatch_ready, redispatch_lost};
pub use reconcile::{LostLeases, Overdue, expire_overdue, recover_leases};
pub use release::{lose, lose_each, release};
pub use search::{Found, Listed, OperatorFilter, WINDOW, first_id, of_everybody, search, time_of};
pub use watch::{
    AttemptRow, CallbackRow, Details, HistoryLine, Line, Mark, details, histories, lines, marks,
};

/// Counts a write that was refused because the claim behind it is stale.
fn count_refused_write() {
    metrics::counter!("regimen_stale_writes_refused_total").increment(1);
}
