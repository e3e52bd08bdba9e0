//! Repairs the effects of faults: lost messages, expired leases, overdue jobs,
//! retries that have become due, jobs of deleted accounts.
//!
//! Contract: runs on every worker, in small batches, concurrently and
//! repeatedly; a crash in between loses nothing, the next run continues. A step
//! that fails does not stop the next steps, and a row that cannot be changed
//! does not block other rows.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::jobs::{
    self, DeletedAccounts, Ended, LostLeases, LostMessages, Overdue, QueueHealth, ReadyUsers,
};
use regimen_common::db::{DbError, PoisonRow};
use regimen_common::dispatch::List;
use regimen_common::job::{JobClass, JobEventKind};
use tokio::time::{MissedTickBehavior, timeout};
use uuid::Uuid;

use crate::deps::Deps;
use crate::runner::announce::tell_poisoned;
use crate::runner::quarantine::Quarantine;

/// Rows per statement.
const BATCH: i64 = 200;
/// Statements of one step per run, so that the other steps get their turn.
const ROUNDS: usize = 50;
/// Users with waiting jobs per run.
const USERS: i64 = 1_000;
/// A message younger than this may still be arriving.
const GRACE: Duration = Duration::from_secs(2);
/// The time limit of reading the list in Redis.
const REDIS_LIMIT: Duration = Duration::from_secs(1);
/// Deleted accounts per run.
const ACCOUNTS: i64 = 50;

/// Runs every `RECONCILE_SECONDS` until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = tokio::time::interval(deps.config.reconcile_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    let mut reconciler = Reconciler::new(deps);
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        reconciler.deps.fallback.report();
        if !reconciler.look().await {
            tell(None);
        }
    }
}

/// Counts and logs a failed step; false if the next steps would fail too.
pub(super) fn went_on(step: &'static str, outcome: Result<(), DbError>) -> bool {
    let Err(error) = outcome else { return true };
    metrics::counter!("regimen_reconcile_failures_total", "step" => step).increment(1);
    tracing::warn!(%error, step, "could not reconcile; trying again");
    !error.is_unavailable()
}

struct Reconciler {
    deps: Arc<Deps>,
    /// The last user of the walk over users with waiting jobs.
    after: Option<Uuid>,
    lost_leases: Quarantine<Uuid>,
    overdue: Quarantine<Uuid>,
    ready: Quarantine<Uuid>,
    lost_messages: Quarantine<Uuid>,
    deleted: Quarantine<Uuid>,
    uncancelled: Quarantine<Uuid>,
}

impl Reconciler {
    fn new(deps: Arc<Deps>) -> Self {
        Self {
            deps,
            // Workers start at random positions, so that a fleet walks faster than one
            // worker.
            after: Some(Uuid::new_v4()),
            lost_leases: Quarantine::new("recover_leases"),
            overdue: Quarantine::new("expire_overdue"),
            ready: Quarantine::new("dispatch_ready"),
            lost_messages: Quarantine::new("redispatch_lost"),
            deleted: Quarantine::of_users("deleted_accounts"),
            uncancelled: Quarantine::new("cancel_of_deleted"),
        }
    }

    /// One run of all steps. What was done before a failure stays done. False if the
    /// backlog is unknown.
    async fn look(&mut self) -> bool {
        went_on("cancel_of_deleted", self.cancel_of_deleted().await)
            && went_on("recover_leases", self.recover_leases().await)
            && went_on("expire_overdue", self.expire_overdue().await)
            && went_on("dispatch_ready", self.dispatch_ready().await)
            && went_on("redispatch_lost", self.redispatch_lost().await)
            && self.reported().await
    }

    async fn reported(&mut self) -> bool {
        let reported = self.report().await;
        let known = reported.is_ok();
        went_on("report", reported) && known
    }

    /// Ends the open jobs of deleted accounts. One account, or job, that cannot be
    /// processed does not block others.
    async fn cancel_of_deleted(&mut self) -> Result<(), DbError> {
        let per_user = self.deps.config.claim.per_user;
        let grace = self.deps.config.retention.erasure_grace;
        let mut client = self.deps.db.get().await?;
        let quarantine = self.deleted.rows();
        let accounts = DeletedAccounts { limit: ACCOUNTS, quarantine: &quarantine };
        let outcome = jobs::deleted_accounts(&mut client, &accounts).await?;
        let (accounts, mut failed) = self.deleted.take(outcome, |user| *user);
        for account in accounts {
            let quarantine = self.uncancelled.rows();
            let cancelled =
                jobs::cancel_of_account(&mut client, account, BATCH, per_user, grace, &quarantine);
            match cancelled.await {
                Ok(outcome) => {
                    let (ended, broken_off) = self.uncancelled.take(outcome, |job| *job);
                    count_finished("cancelled", "account_deleted", ended.len());
                    self.announce(&ended);
                    failed = failed.or(broken_off);
                }
                Err(error) if error.blames_a_row() => {
                    self.deleted.note(vec![PoisonRow { key: account.0, error }], |user| *user);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
            if failed.is_some() {
                break;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn recover_leases(&mut self) -> Result<(), DbError> {
        let (lease, per_user) = (self.deps.config.claim.lease, self.deps.config.claim.per_user);
        for _ in 0..ROUNDS {
            let mut client = self.deps.db.get().await?;
            let quarantine = self.lost_leases.rows();
            // Within one interval of the heartbeat, every live worker has extended its
            // leases.
            let lost =
                LostLeases { limit: BATCH, grace: lease / 3, per_user, quarantine: &quarantine };
            let outcome = jobs::recover_leases(&mut client, &lost).await?;
            drop(client);
            let (recovered, failed) = self.lost_leases.take(outcome, |held| held.id);
            if !recovered.is_empty() {
                tracing::warn!(jobs = recovered.len(), "took over jobs of workers that vanished");
                metrics::counter!("regimen_leases_lost_total").increment(recovered.len() as u64);
                let poisoned = recovered.iter().filter(|ended| ended.kind == JobEventKind::Failed);
                let told = poisoned.inspect(|ended| tell_poisoned(ended.job_id));
                count_finished("failed", "poisoned", told.count());
                self.announce(&recovered);
            }
            match failed {
                Some(error) => return Err(error),
                None if recovered.is_empty() => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    async fn expire_overdue(&mut self) -> Result<(), DbError> {
        let per_user = self.deps.config.claim.per_user;
        for _ in 0..ROUNDS {
            let mut client = self.deps.db.get().await?;
            let quarantine = self.overdue.rows();
            let overdue = Overdue { limit: BATCH, per_user, quarantine: &quarantine };
            let outcome = jobs::expire_overdue(&mut client, &overdue).await?;
            drop(client);
            let (expired, failed) = self.overdue.take(outcome, |id| *id);
            count_finished("expired", "expired", expired.len());
            self.announce(&expired);
            match failed {
                Some(error) => return Err(error),
                None if expired.is_empty() => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    /// Continues the walk over the users with waiting jobs; after the last one it starts
    /// over.
    async fn dispatch_ready(&mut self) -> Result<(), DbError> {
        let mut client = self.deps.db.get().await?;
        let per_user = self.deps.config.claim.per_user;
        let users = ReadyUsers { after: self.after, limit: USERS };
        let page = jobs::dispatch_ready(&mut client, users, per_user, &self.ready.rows()).await?;
        drop(client);
        self.after = page.last;
        let (next, failed) = self.ready.take(page.marked, |id| *id);
        self.deps.announcer.dispatch(&next);
        failed.map_or(Ok(()), Err)
    }

    async fn redispatch_lost(&mut self) -> Result<(), DbError> {
        for &class in JobClass::ALL {
            for _ in 0..ROUNDS {
                // While Redis is away no ids are pushed.
                let oldest = timeout(REDIS_LIMIT, self.deps.queue.oldest(List::from(class)));
                let Ok(Ok(popped_before)) = oldest.await else { return Ok(()) };
                let quarantine = self.lost_messages.rows();
                let lost = LostMessages {
                    class,
                    popped_before,
                    grace: GRACE,
                    limit: BATCH,
                    quarantine: &quarantine,
                };
                let mut client = self.deps.db.get().await?;
                let outcome = jobs::redispatch_lost(&mut client, &lost).await?;
                drop(client);
                let (lost, failed) = self.lost_messages.take(outcome, |id| *id);
                if !lost.is_empty() {
                    let name = class.as_str();
                    tracing::info!(
                        class = name,
                        jobs = lost.len(),
                        "dispatched again what Redis lost"
                    );
                    metrics::counter!("regimen_messages_lost_total", "class" => name)
                        .increment(lost.len() as u64);
                    self.deps.announcer.dispatch(&lost);
                }
                match failed {
                    Some(error) => return Err(error),
                    None if lost.is_empty() => break,
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// The gauges for scaling and alerts.
    async fn report(&mut self) -> Result<(), DbError> {
        metrics::gauge!("regimen_jobs_held").set(self.deps.in_flight.len() as f64);
        let mut client = self.deps.db.get().await?;
        tell(Some(&jobs::queue_health(&mut client).await?));
        Ok(())
    }

    fn announce(&self, ended: &[Ended]) {
        ended.iter().for_each(|ended| self.deps.announcer.ended(ended));
    }
}

/// Sets the gauges of the queue; NaN when its state is unknown.
fn tell(health: Option<&QueueHealth>) {
    for class in JobClass::ALL {
        let (waiting, oldest) = match health {
            Some(health) => {
                let of_class = health.classes.get(class).copied().unwrap_or_default();
                (of_class.waiting as f64, of_class.oldest.as_secs_f64())
            }
            None => (f64::NAN, f64::NAN),
        };
        let class = class.as_str();
        metrics::gauge!("regimen_jobs_waiting", "class" => class).set(waiting);
        metrics::gauge!("regimen_oldest_claimable_seconds", "class" => class).set(oldest);
    }
    let overdue = |of: fn(&QueueHealth) -> Duration| {
        health.map_or(f64::NAN, |health| of(health).as_secs_f64())
    };
    metrics::gauge!("regimen_jobs_overdue_seconds", "limit" => "lease")
        .set(overdue(|health| health.lease_overdue));
    metrics::gauge!("regimen_jobs_overdue_seconds", "limit" => "start")
        .set(overdue(|health| health.start_overdue));
}

fn count_finished(state: &'static str, code: &'static str, jobs: usize) {
    metrics::counter!("regimen_jobs_finished_total", "state" => state, "code" => code)
        .increment(jobs as u64);
}
