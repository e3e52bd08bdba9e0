//! Deletes data whose retention period is over.
//!
//! Contract: runs on one worker at a time, every `RETENTION_SECONDS` over the
//! whole fleet; a worker that disappears is replaced after `HOLD`. Rows are
//! deleted in batches, each in its own transaction, with a pause as long as the
//! batch took. Rows that are still needed stay. A row that cannot be deleted is
//! reported and skipped, and does not block others.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::config::Env;
use regimen_common::db::jobs::{self, AnswerKey, OverAnswers};
use regimen_common::db::retention::{self, Kept, Place};
use regimen_common::db::{DbError, Outcome};
use tokio::time::{Instant, MissedTickBehavior, sleep};

use super::reconcile::went_on;
use crate::deps::Deps;
use crate::runner::quarantine::Quarantine;

/// The lease of a run; longer than any batch takes.
const HOLD: Duration = Duration::from_secs(60);
/// Rows per batch.
const BATCH: i64 = 200;
/// Runs of the reconciler between two checks whether a run is due.
const LOOKS: u32 = 5;
const DAY: Duration = Duration::from_secs(86_400);
/// How long stored responses are repeated.
const ANSWERED_AGAIN: Duration = DAY;

/// The retention periods. None: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionConfig {
    /// `RETENTION_SECONDS`: between two runs.
    pub every: Duration,
    /// `KEEP_ANSWERS_HOURS`.
    pub answers: Option<Duration>,
    /// `KEEP_RAW_REPLIES_DAYS`.
    pub replies: Option<Duration>,
    /// `KEEP_EVENTS_DAYS`: events and attempts.
    pub events: Option<Duration>,
    /// `KEEP_JOBS_DAYS`.
    pub jobs: Option<Duration>,
    /// `KEEP_WEBHOOKS_DAYS`: Stripe's events.
    pub stripe_events: Option<Duration>,
    /// `KEEP_NOTICES_DAYS`.
    pub notices: Option<Duration>,
    /// `KEEP_AUDIT_DAYS`.
    pub audit: Option<Duration>,
    /// `ERASURE_GRACE_SECONDS`: from the deletion of an account to its erasure.
    pub erasure_grace: Duration,
}

/// The backfill searches Stripe's events of this period; an event deleted earlier would
/// be stored again.
const WEBHOOKS_AT_LEAST: u32 = super::backfill::DAYS as u32 + 1;
const DAYS_AT_MOST: u32 = 36_500;
/// A deleted account must be erased within a day.
const GRACE_AT_MOST: f64 = 72_000.0;

impl RetentionConfig {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let mut days = |name, default, least| {
            let days: u32 = env.number(name, default, 0..=DAYS_AT_MOST);
            if days > 0 && days < least {
                env.error(
                    name,
                    format!("is {days}; must be at least {least} days, or 0 to keep for ever"),
                );
            }
            (days > 0).then(|| DAY * days)
        };
        let [replies, events, jobs, notices, audit] = [
            ("KEEP_RAW_REPLIES_DAYS", 7),
            ("KEEP_EVENTS_DAYS", 30),
            ("KEEP_JOBS_DAYS", 90),
            ("KEEP_NOTICES_DAYS", 90),
            ("KEEP_AUDIT_DAYS", 400),
        ]
        .map(|(name, default)| days(name, default, 1));
        let stripe_events = days("KEEP_WEBHOOKS_DAYS", 90, WEBHOOKS_AT_LEAST);
        let hours: u32 = env.number("KEEP_ANSWERS_HOURS", 24, 0..=24 * DAYS_AT_MOST);
        let answers = Duration::from_secs(3_600) * hours;
        if hours > 0 && answers < ANSWERED_AGAIN {
            env.error(
                "KEEP_ANSWERS_HOURS",
                format!("is {hours}; answers are given again for 24 hours, so keep them for 24 or more, or 0 for ever"),
            );
        }
        let grace = env.number("ERASURE_GRACE_SECONDS", 3_600.0, 0.0..=GRACE_AT_MOST);
        Self {
            every: env.seconds("RETENTION_SECONDS", 600.0),
            answers: (hours > 0).then_some(answers),
            replies,
            events,
            jobs,
            stripe_events,
            notices,
            audit,
            erasure_grace: Duration::from_secs_f64(grace),
        }
    }

    fn of(&self, kept: Kept) -> Option<Duration> {
        match kept {
            Kept::Replies => self.replies,
            Kept::Events => self.events,
            Kept::Jobs => self.jobs,
            Kept::StripeEvents => self.stripe_events,
            Kept::Notices => self.notices,
            Kept::Audit => self.audit,
        }
    }
}

/// Runs whenever a run is due, until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = tokio::time::interval(deps.config.reconcile_every * LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    let mut keeper = Keeper::new(deps);
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        if went_on("retention", keeper.turn().await) {
            // No step follows.
            let _ = went_on("retention", keeper.report().await);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(settings: [(&str, &str); N]) -> Result<RetentionConfig, String> {
        let mut env = Env::from_pairs(settings);
        let config = RetentionConfig::from_env(&mut env);
        env.finish(Some(config)).map_err(|errors| errors.to_string())
    }

    #[test]
    fn each_is_kept_for_its_time_and_for_ever_with_0() {
        let usual = read([]).unwrap();
        let all = |config: RetentionConfig| Kept::ALL.iter().map(move |kept| config.of(*kept));
        let days = [7, 30, 90, 90, 90, 400].map(|days| Some(DAY * days));
        assert!(all(usual).eq(days) && usual.answers == Some(DAY));
        let never = read([
            ("KEEP_RAW_REPLIES_DAYS", "0"),
            ("KEEP_EVENTS_DAYS", "0"),
            ("KEEP_JOBS_DAYS", "0"),
            ("KEEP_WEBHOOKS_DAYS", "0"),
            ("KEEP_NOTICES_DAYS", "0"),
            ("KEEP_AUDIT_DAYS", "0"),
            ("KEEP_ANSWERS_HOURS", "0"),
        ])
        .unwrap();
        assert!(all(never).all(|age| age.is_none()) && never.answers.is_none());
    }

    #[test]
    fn what_contradicts_the_rest_is_refused_by_its_name() {
        for (name, value) in [
            ("KEEP_WEBHOOKS_DAYS", "30"),
            ("KEEP_ANSWERS_HOURS", "23"),
            ("ERASURE_GRACE_SECONDS", "86400"),
            ("KEEP_JOBS_DAYS", "-1"),
        ] {
            assert!(read([(name, value)]).unwrap_err().contains(name), "{name}");
        }
    }
}
