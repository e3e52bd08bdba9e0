//! Ends a claim: the outcome is written in one transaction that checks the
//! fence, then announced.
//!
//! Contract: idempotent by the fence. While Postgres is away, the result is
//! kept in memory and the write is retried. A crash before the commit leaves
//! the claim to its lease, a crash after it leaves the next jobs to the
//! reconciler. An outcome that cannot be written because Postgres is away is
//! released when the job is dropped. When Postgres refuses the write, the job
//! gets another round, which continues from the stored reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regimen_common::db::DbError;
use regimen_common::db::jobs::{self, ClaimedJob, Ended, Held, Success};
use regimen_common::job::{FailureCode, JobEventKind};
use regimen_common::telemetry::spans;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tracing::Instrument;
use uuid::Uuid;

use super::attempts::Good;
use crate::deps::Deps;
use crate::jobs::plan::error::JobError;
use crate::runner::announce::tell_poisoned;
use crate::runner::in_flight::InFlightJob;
use crate::runner::write_retry::until_written;
use crate::writes::{Beside, Ending};

/// A verified plan ready to be saved.
#[derive(Debug)]
pub struct Finished {
    /// The plan's id.
    pub plan_id: Uuid,
    /// The plan in the front end's format.
    pub plan_data: Box<RawValue>,
    /// What the app stores beside it.
    pub beside: Beside,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The reply that it was read from.
    pub good: Option<Good>,
}

/// The outcome of a round.
pub type Outcome = Result<Finished, JobError>;

/// Writes the end of a claim that began at `begun`, and concludes the claim unless
/// Postgres could not be reached.
pub async fn conclude(
    deps: &Deps,
    claimed: &ClaimedJob,
    in_flight: &InFlightJob,
    begun: Instant,
    outcome: Outcome,
) {
    let held = in_flight.held();
    if let Err(error) = &outcome {
        spans::fail_current(error.word());
    }
    let (written, tried_for_long) = match outcome {
        Ok(finished) => (succeed(deps, claimed, begun, finished).await, true),
        // A failure of Postgres in the middle of a round has not been retried yet.
        Err(JobError::Db(error)) => (Err(error), false),
        Err(error) => (unsuccessful(deps, claimed, error).await, true),
    };
    let written = match written {
        Err(error) if !error.is_unavailable() || (tried_for_long && says_no(deps, &error)) => {
            tracing::error!(job_id = %held.id, %error, "the end of a claim cannot be written");
            let detail = "the plan could not be stored; the log has the details";
            match next_round(deps, claimed) {
                // The next round continues from the stored reply, so that nothing is paid
                // twice.
                Some(after) => retry(deps, held, "waiting_retry", after, detail, true).await,
                None => fail(deps, held, FailureCode::Internal, detail, &Value::Null).await,
            }
        }
        other => other,
    };
    match written {
        Err(error) if error.is_unavailable() => {
            tracing::warn!(job_id = %held.id, %error, "lost touch with Postgres; releasing the job");
        }
        Err(error) => {
            // If it were released, it would end the same way again without an attempt
            // counted.
            tracing::error!(job_id = %held.id, %error, "could not end the claim; it will be given up");
            in_flight.conclude();
        }
        Ok(()) => in_flight.conclude(),
    }
}

/// Whether Postgres refused this write repeatedly, rather than being away or the process
/// ending.
fn says_no(deps: &Deps, error: &DbError) -> bool {
    let of_the_statement =
        [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE, SqlState::INTERNAL_ERROR];
    !deps.cancellation.is_cancelled()
        && error.code().is_some_and(|code| of_the_statement.contains(code))
}

async fn succeed(
    deps: &Deps,
    claimed: &ClaimedJob,
    begun: Instant,
    mut finished: Finished,
) -> Result<(), DbError> {
    let held = Held { id: claimed.id, fence: claimed.fence };
    let good = finished.good.take();
    let ending = Arc::new(Ending {
        held,
        success: Success {
            plan_id: finished.plan_id,
            provider: finished.provider.clone(),
            model: finished.model.clone(),
            reply: good.as_ref().map(|good| good.reply.clone()),
        },
        user_id: claimed.user_id,
        quiz_result_id: claimed.quiz_result_id,
        requested_at: claimed.created_at,
        plan_data: finished.plan_data,
        beside: finished.beside,
    });
    let save = write_end(deps, held, "plan", &[JobEventKind::Saved], || {
        deps.writes.end(Arc::clone(&ending))
    });
    let ended = match save.instrument(spans::query("UPDATE", "regimen.jobs")).await {
        Ok(ended) => ended,
        Err(error) => {
            judge(deps, good).await;
            return Err(error);
        }
    };
    match ended.as_ref().map(|ended| ended.kind) {
        Some(JobEventKind::Cancelled) => count_finished("cancelled", "account_deleted"),
        Some(_) => {
            settle(deps, good).await;
            count_finished("succeeded", claimed.kind.as_str());
            let until_claimed = (claimed.claimed_at - claimed.created_at).to_std();
            metrics::histogram!(
                "regimen_plan_ready_seconds",
                "kind" => claimed.kind.as_str(), "class" => claimed.class.as_str()
            )
            .record(until_claimed.unwrap_or_default() + begun.elapsed());
        }
        // The job has ended, with this attempt counted as it was.
        None => {}
    }
    announce(deps, held, ended);
    Ok(())
}

/// Judges a good reply whose plan cannot be written. Without it the reply stays usable, and
/// counted with its highest cost.
async fn judge(deps: &Deps, good: Option<Good>) {
    let Some(of) = &good else { return };
    let judged = async {
        let client = deps.db.get().await?;
        jobs::judge_attempt(&client, of.reply.attempt_id, &of.reply.outcome()).await
    };
    match judged.await {
        Ok(true) => settle(deps, good).await,
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "could not judge the reply of an unwritten plan"),
    }
}

/// Replaces what was reserved for the call by its cost.
async fn settle(deps: &Deps, good: Option<Good>) {
    if let Some(Good { reservation: Some(reservation), cost_micros, .. }) = good {
        deps.budgets.settle(reservation, cost_micros).await;
    }
}

/// Ends the claim according to its error.
async fn unsuccessful(deps: &Deps, claimed: &ClaimedJob, error: JobError) -> Result<(), DbError> {
    let held = Held { id: claimed.id, fence: claimed.fence };
    match error {
        JobError::Retry { reason } => match next_round(deps, claimed) {
            Some(after) => retry(deps, held, "waiting_retry", after, &reason, true).await,
            None => fail(deps, held, FailureCode::ProvidersExhausted, &reason, &Value::Null).await,
        },
        JobError::OverBudget { reason, renewed_at } => {
            // Checked again before that: a limit may be raised, a reservation released.
            let renewed_in = (renewed_at - deps.clock.now()).to_std().unwrap_or_default();
            let pause = deps.config.budgets.pause.min(renewed_in);
            retry(deps, held, "budget", pause, &reason, false).await
        }
        JobError::Fail { code, detail, evidence } => {
            fail(deps, held, code, &detail, &evidence).await
        }
        JobError::Panicked => panicked(deps, held).await,
        JobError::Stale => Ok(()),
        JobError::Db(error) => Err(error),
    }
}

/// Records that the handler panicked, like a lost worker.
async fn panicked(deps: &Deps, held: Held) -> Result<(), DbError> {
    let kinds = [JobEventKind::LeaseLost, JobEventKind::Failed];
    let ended = write_end(deps, held, "panic", &kinds, async || {
        let mut client = deps.db.get().await?;
        let tx = client.transaction();
        let lost = jobs::lose(&tx, &[held], "its handler panicked", per_user(deps)).await?;
        tx.commit().await?;
        Ok(lost.into_iter().next())
    })
    .await?;
    if ended.as_ref().is_some_and(|ended| ended.kind == JobEventKind::Failed) {
        tell_poisoned(held.id);
    }
    announce(deps, held, ended);
    Ok(())
}

fn next_round(deps: &Deps, claimed: &ClaimedJob) -> Option<Duration> {
    usize::try_from(claimed.rounds)
        .ok()
        .and_then(|round| deps.config.retry_rounds.get(round))
        .copied()
}

async fn retry(
    deps: &Deps,
    held: Held,
    stage: &str,
    after: Duration,
    reason: &str,
    counts: bool,
) -> Result<(), DbError> {
    let ended = write_end(deps, held, "retry", &[JobEventKind::RetryScheduled], async || {
        let mut client = deps.db.get().await?;
        let tx = client.transaction();
        let per_user = per_user(deps);
        let ended = jobs::retry_later(&tx, held, stage, after, reason, counts, per_user).await?;
        tx.commit().await?;
        Ok(ended)
    })
    .await?;
    announce(deps, held, ended);
    Ok(())
}

async fn fail(
    deps: &Deps,
    held: Held,
    code: FailureCode,
    detail: &str,
    evidence: &Value,
) -> Result<(), DbError> {
    let ended = write_end(deps, held, "failure", &[JobEventKind::Failed], async || {
        let mut client = deps.db.get().await?;
        let tx = client.transaction();
        let ended = jobs::fail(&tx, held, code, detail, evidence, per_user(deps)).await?;
        tx.commit().await?;
        Ok(ended)
    })
    .await?;
    if ended.is_some() {
        // Without the detail, which may name the person's allergies.
        let (job_id, code) = (held.id, code.as_str());
        if code == FailureCode::Internal.as_str() {
            tracing::error!(incident = "job_internal", %job_id, code, "a job failed for a defect");
        } else {
            tracing::info!(%job_id, code, "job failed");
        }
        count_finished("failed", code);
    }
    announce(deps, held, ended);
    Ok(())
}

/// Writes the end of a claim until that is done, as [`until_written`] does. An end whose commit
/// was not answered is looked for among what `kinds` of events say: written again, it would be
/// refused as stale, and what it dispatched would not be pushed.
async fn write_end<F>(
    deps: &Deps,
    held: Held,
    what: &'static str,
    kinds: &[JobEventKind],
    mut write: impl FnMut() -> F,
) -> Result<Option<Ended>, DbError>
where
    F: Future<Output = Result<Option<Ended>, DbError>>,
{
    let unanswered = AtomicBool::new(false);
    until_written(&deps.cancellation, what, || {
        let (writing, unanswered) = (write(), &unanswered);
        async move {
            let find = async || jobs::find_end(&deps.db.get().await?, held, kinds).await;
            if unanswered.load(Ordering::Relaxed)
                && let Some(ended) = find().await?
            {
                return Ok(Some(ended));
            }
            match writing.await {
                Err(error) => {
                    unanswered.fetch_or(error.is_uncertain(), Ordering::Relaxed);
                    Err(error)
                }
                // The commit took effect only after the look.
                Ok(None) if unanswered.load(Ordering::Relaxed) => find().await,
                written => written,
            }
        }
    })
    .await
}

fn per_user(deps: &Deps) -> i64 {
    deps.config.claim.per_user
}

fn count_finished(state: &'static str, code: &'static str) {
    metrics::counter!("regimen_jobs_finished_total", "state" => state, "code" => code).increment(1);
}

fn announce(deps: &Deps, held: Held, ended: Option<Ended>) {
    match ended {
        Some(ended) => deps.announcer.ended(&ended),
        None => {
            tracing::info!(job_id = %held.id, "refused a stale write: the job is not ours any more")
        }
    }
}
