//! Repairs what faults left behind: lost messages, expired leases, overdue
//! jobs, waits that are over, jobs of deleted accounts.
//!
//! Contract: runs on every worker, in small batches, any number at once, any
//! number of times; a crash in between loses nothing, the next run finds it.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::DbError;
use regimen_common::db::jobs::{self, Ended};
use regimen_common::job::{EventKind, JobClass};
use regimen_common::queue::List;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use uuid::Uuid;

use crate::env::Env;

/// Rows per statement.
const BATCH: i64 = 200;
/// Statements of one kind per look, so that the other kinds get their turn.
const ROUNDS: usize = 50;
/// Users per look whose waiting jobs are considered.
const USERS: i64 = 1_000;
/// Deleted accounts per look.
const ACCOUNTS: i64 = 50;
/// A message younger than this may still be on its way.
const GRACE: Duration = Duration::from_secs(2);
/// How long Redis may take to say what it holds.
const REDIS_PATIENCE: Duration = Duration::from_secs(1);
/// Between two counts of everything that waits.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Runs every `RECONCILE_SECONDS` until the process drains.
pub async fn run(env: Arc<Env>) {
    let mut ticks = tokio::time::interval(env.config.reconcile_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = env.shutdown.drain.clone();
    let mut reconciler = Reconciler { env, after: Some(Uuid::new_v4()), reported: None };
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        reconciler.env.generator.ladder().report();
        if let Err(error) = reconciler.look().await {
            metrics::counter!("regimen_reconcile_failures_total").increment(1);
            tracing::warn!(%error, "could not reconcile; trying again");
            reconciler.know_nothing();
        }
    }
}

struct Reconciler {
    env: Arc<Env>,
    /// Where the walk over users with waiting jobs has come to.
    after: Option<Uuid>,
    reported: Option<Instant>,
}

impl Reconciler {
    /// One look at everything. What was done before a failure stays done.
    async fn look(&mut self) -> Result<(), DbError> {
        self.cancel_of_deleted().await?;
        self.recover_leases().await?;
        self.expire_overdue().await?;
        self.dispatch_ready().await?;
        self.redispatch_lost().await?;
        self.report().await
    }

    /// Ends what accounts that were deleted still had waiting or running. One
    /// account that cannot be worked off holds up nobody else's.
    async fn cancel_of_deleted(&self) -> Result<(), DbError> {
        let mut client = self.env.db.get().await?;
        for (user_id, deleted_at) in jobs::deleted_accounts(&client, ACCOUNTS).await? {
            let per_user = self.env.config.claim.per_user;
            let ended =
                jobs::cancel_of_account(&mut client, user_id, deleted_at, BATCH, per_user).await;
            match ended {
                Ok(ended) => {
                    count_finished("cancelled", "account_deleted", ended.len());
                    self.announce(&ended);
                }
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => {
                    metrics::counter!("regimen_reconcile_failures_total").increment(1);
                    tracing::warn!(%error, "could not cancel the jobs of a deleted account; trying again");
                }
            }
        }
        Ok(())
    }

    async fn recover_leases(&self) -> Result<(), DbError> {
        let policy = &self.env.config.claim;
        // Within one beat of the heartbeat whoever lives has spoken up.
        let grace = policy.lease / 3;
        for _ in 0..ROUNDS {
            let mut client = self.env.db.get().await?;
            let recovered =
                jobs::recover_leases(&mut client, BATCH, grace, policy.per_user).await?;
            if recovered.is_empty() {
                return Ok(());
            }
            tracing::warn!(jobs = recovered.len(), "took over jobs of workers that vanished");
            metrics::counter!("regimen_leases_lost_total").increment(recovered.len() as u64);
            let poisoned = recovered.iter().filter(|ended| ended.kind == EventKind::Failed);
            count_finished("failed", "poisoned", poisoned.count());
            self.announce(&recovered);
        }
        Ok(())
    }

    async fn expire_overdue(&self) -> Result<(), DbError> {
        for _ in 0..ROUNDS {
            let mut client = self.env.db.get().await?;
            let per_user = self.env.config.claim.per_user;
            let expired = jobs::expire_overdue(&mut client, BATCH, per_user).await?;
            if expired.is_empty() {
                return Ok(());
            }
            count_finished("expired", "expired", expired.len());
            self.announce(&expired);
        }
        Ok(())
    }

    /// Walks on over the users with waiting jobs; after the last one it starts
    /// over. Workers start at random, so that a fleet walks faster than one.
    async fn dispatch_ready(&mut self) -> Result<(), DbError> {
        let client = self.env.db.get().await?;
        let per_user = self.env.config.claim.per_user;
        let page = jobs::dispatch_ready(&client, self.after, USERS, per_user).await?;
        self.after = page.last;
        self.env.announcer.dispatch(&page.next);
        Ok(())
    }

    async fn redispatch_lost(&self) -> Result<(), DbError> {
        for &class in JobClass::ALL {
            for _ in 0..ROUNDS {
                // While Redis is away there is nothing to push to.
                let oldest = timeout(REDIS_PATIENCE, self.env.queue.oldest(List::from(class)));
                let Ok(Ok(popped_before)) = oldest.await else { return Ok(()) };
                let client = self.env.db.get().await?;
                let lost =
                    jobs::redispatch_lost(&client, class, popped_before, GRACE, BATCH).await?;
                drop(client);
                if lost.is_empty() {
                    break;
                }
                let name = class.as_str();
                tracing::info!(class = name, jobs = lost.len(), "dispatched again what Redis lost");
                metrics::counter!("regimen_messages_lost_total", "class" => name)
                    .increment(lost.len() as u64);
                self.env.announcer.dispatch(&lost);
            }
        }
        Ok(())
    }

    /// The gauges operators scale and alert by.
    async fn report(&mut self) -> Result<(), DbError> {
        metrics::gauge!("regimen_jobs_held").set(self.env.holdings.len() as f64);
        if self.reported.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return Ok(());
        }
        let client = self.env.db.get().await?;
        for &class in JobClass::ALL {
            let (waiting, oldest) = jobs::queue_health(&client, class).await?;
            metrics::gauge!("regimen_jobs_waiting", "class" => class.as_str()).set(waiting as f64);
            metrics::gauge!("regimen_oldest_claimable_seconds", "class" => class.as_str())
                .set(oldest.unwrap_or_default().as_secs_f64());
        }
        self.reported = Some(Instant::now());
        Ok(())
    }

    /// Nobody can say what waits: neither nothing nor what it was.
    fn know_nothing(&mut self) {
        for class in JobClass::ALL {
            let class = class.as_str();
            metrics::gauge!("regimen_jobs_waiting", "class" => class).set(f64::NAN);
            metrics::gauge!("regimen_oldest_claimable_seconds", "class" => class).set(f64::NAN);
        }
        self.reported = None;
    }

    fn announce(&self, ended: &[Ended]) {
        ended.iter().for_each(|ended| self.env.announcer.ended(ended));
    }
}

fn count_finished(state: &'static str, code: &'static str, jobs: usize) {
    metrics::counter!("regimen_jobs_finished_total", "state" => state, "code" => code)
        .increment(jobs as u64);
}
