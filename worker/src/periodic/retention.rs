//! Deletes data whose retention period is over.
//!
//! Contract: runs on one worker at a time, every `RETENTION_SECONDS` over the
//! whole fleet; a worker that disappears is replaced after `HOLD`. Rows are
//! deleted in batches, each in its own transaction, with a pause as long as the
//! batch took. Rows that are still needed stay. A row that cannot be deleted is
//! reported and skipped, and does not block others.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::jobs::{self, AnswerKey, OverAnswers};
use regimen_common::db::retention::{self, Kept, Place};
use regimen_common::db::{DbError, Outcome};
use tokio::time::{Instant, MissedTickBehavior, sleep};

use super::backfill::DAYS;
use super::reconcile::went_on;
use crate::deps::Deps;
use crate::retention::{ANSWERED_AGAIN, WEBHOOKS_AT_LEAST};
use crate::runner::quarantine::Quarantine;

/// The lease of a run; longer than any batch takes.
const HOLD: Duration = Duration::from_secs(60);
/// Rows per batch.
const BATCH: i64 = 200;
/// Runs of the reconciler between two checks whether a run is due.
const LOOKS: u32 = 5;

/// Events that are looked for again must not be deleted before that.
const _: () = assert!(WEBHOOKS_AT_LEAST > DAYS as u32);

/// Runs whenever a run is due, until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = tokio::time::interval(deps.config.reconcile_every * LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    let mut keeper = Keeper::new(deps);
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        // Reported after a failed run, too: the alert about its age is for those.
        let (turn, reported) = (keeper.turn().await, keeper.report().await);
        // No step follows.
        let _ = went_on("retention", turn.and(reported));
    }
}

struct Keeper {
    deps: Arc<Deps>,
    rows: Quarantine<String>,
    answers: Quarantine<AnswerKey>,
}

/// How a run ended.
enum Run {
    Complete,
    /// The process drains, or another worker has taken the lease.
    BrokenOff,
}

impl Keeper {
    fn new(deps: Arc<Deps>) -> Self {
        let rows = Quarantine::new("retention");
        Self { deps, rows, answers: Quarantine::new("forget_answers") }
    }

    async fn turn(&mut self) -> Result<(), DbError> {
        let deps = Arc::clone(&self.deps);
        let (holder, every) = (&deps.config.claim.worker_id, deps.config.retention.every);
        if !retention::begin(&deps.db.get().await?, holder, every, HOLD).await? {
            return Ok(());
        }
        let run = self.everything().await;
        let complete = matches!(run, Ok(Run::Complete));
        retention::end(&deps.db.get().await?, holder, complete).await?;
        run.map(drop)
    }

    async fn everything(&mut self) -> Result<Run, DbError> {
        let config = self.deps.config.retention;
        if let Some(age) = config.answers
            && let Run::BrokenOff = self.answers(age.saturating_sub(ANSWERED_AGAIN)).await?
        {
            return Ok(Run::BrokenOff);
        }
        for &kept in Kept::ALL {
            if let Some(age) = config.of(kept)
                && let Run::BrokenOff = self.all(kept, age).await?
            {
                return Ok(Run::BrokenOff);
            }
        }
        Ok(Run::Complete)
    }

    async fn all(&mut self, kept: Kept, age: Duration) -> Result<Run, DbError> {
        let mut place = Some(Place::default());
        while let Some(here) = place {
            let began = Instant::now();
            let mut client = self.deps.db.get().await?;
            let page = retention::page(&mut client, kept, age, here, BATCH).await?;
            place = page.next;
            let mut keys = page.keys;
            keys.retain(|key| !self.rows.holds(key));
            let outcome = retention::forget(&mut client, kept, age, &keys).await?;
            drop(client);
            let failed = told(&mut self.rows, outcome, kept.as_str(), String::clone);
            if let Some(error) = failed {
                return Err(error);
            }
            if place.is_some() && !self.may_go_on(began).await? {
                return Ok(Run::BrokenOff);
            }
        }
        Ok(Run::Complete)
    }

    async fn answers(&mut self, since: Duration) -> Result<Run, DbError> {
        loop {
            let began = Instant::now();
            let quarantine = self.answers.rows();
            let over = OverAnswers { since, limit: BATCH, quarantine: &quarantine };
            let mut client = self.deps.db.get().await?;
            let outcome = jobs::forget_answers(&mut client, &over).await?;
            drop(client);
            let gone = outcome.done.len();
            let failed = told(&mut self.answers, outcome, "answers", AnswerKey::clone);
            if let Some(error) = failed {
                return Err(error);
            }
            if gone == 0 {
                return Ok(Run::Complete);
            }
            if !self.may_go_on(began).await? {
                return Ok(Run::BrokenOff);
            }
        }
    }

    /// Pauses for as long as the batch took; false if this worker must stop.
    async fn may_go_on(&self, began: Instant) -> Result<bool, DbError> {
        let drain = &self.deps.shutdown.drain;
        if drain.run_until_cancelled(sleep(began.elapsed())).await.is_none() {
            return Ok(false);
        }
        let client = self.deps.db.get().await?;
        retention::hold_on(&client, &self.deps.config.claim.worker_id, HOLD).await
    }

    async fn report(&self) -> Result<(), DbError> {
        let age = retention::age(&self.deps.db.get().await?).await?;
        let age = age.map_or(f64::INFINITY, |age| age.as_secs_f64());
        metrics::gauge!("regimen_retention_age_seconds").set(age);
        Ok(())
    }
}

/// Counts the deleted rows and sets aside those that could not be deleted.
fn told<K, T>(
    aside: &mut Quarantine<K>,
    outcome: Outcome<K, T>,
    what: &'static str,
    key: impl Fn(&K) -> K,
) -> Option<DbError>
where
    K: Clone + std::fmt::Display + Eq + std::hash::Hash,
{
    let (gone, failed) = aside.take(outcome, key);
    metrics::counter!("regimen_retention_removed_total", "what" => what)
        .increment(gone.len() as u64);
    failed
}
