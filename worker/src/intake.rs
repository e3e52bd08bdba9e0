//! Where plan tasks come from: ids popped from Redis, or straight from
//! Postgres while Redis is away, claimed in one statement.
//!
//! Invariant: never more is claimed than there are free slots. A job claimed
//! here starts at once; nothing waits in a buffer under a lease.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::DbError;
use regimen_common::db::jobs::{self, Claimed, Held};
use regimen_common::kv::{BlockingLink, KvError};
use regimen_common::queue::List;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use uuid::Uuid;

use crate::env::Env;
use crate::holdings::Holding;

/// How long an idle worker blocks on the token list before it looks again.
const IDLE_WAIT: Duration = Duration::from_secs(5);
/// After so long without Redis, jobs are taken from Postgres directly.
const REDIS_PATIENCE: Duration = Duration::from_secs(3);
const BACKOFF: Duration = Duration::from_millis(250);

/// A claimed job on its way to the handler.
#[derive(Debug)]
pub struct PlanTask {
    /// The claim.
    pub claimed: Claimed,
    /// Its place in the holdings.
    pub holding: Holding,
    /// Its slot, freed when the task is dropped.
    _slot: OwnedSemaphorePermit,
}

/// Feeds plan tasks into `tasks` until the process drains.
pub async fn feed(env: Arc<Env>, tasks: mpsc::Sender<PlanTask>) {
    let mut intake = Intake {
        slots: Arc::new(Semaphore::new(env.config.slots)),
        env,
        link: None,
        redis_failed_at: None,
        turn: 0,
    };
    let drain = intake.env.shutdown.drain.clone();
    drain.run_until_cancelled(intake.run(&tasks)).await;
}

struct Intake {
    env: Arc<Env>,
    slots: Arc<Semaphore>,
    /// The connection that blocks on the token list.
    link: Option<BlockingLink>,
    /// Since when Redis fails.
    redis_failed_at: Option<Instant>,
    /// Picks so far, so that small pops keep the classes' shares.
    turn: u64,
}

impl Intake {
    async fn run(&mut self, tasks: &mpsc::Sender<PlanTask>) {
        while let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await {
            let free = 1 + self.slots.available_permits();
            let claimed = self.next(free).await;
            let mut slot = Some(slot);
            for claimed in claimed {
                let Some(slot) =
                    slot.take().or_else(|| Arc::clone(&self.slots).try_acquire_owned().ok())
                else {
                    // Unreachable while this is the only taker of slots; the lease covers it.
                    tracing::error!(job_id = %claimed.id, "claimed a job without a free slot");
                    continue;
                };
                let held = Held { id: claimed.id, fence: claimed.fence };
                let holding = self.env.holdings.take(held, self.env.config.claim.lease);
                if tasks.send(PlanTask { claimed, holding, _slot: slot }).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What fits `free` slots, or nothing after a wait.
    async fn next(&mut self, free: usize) -> Vec<Claimed> {
        match self.pop(free).await {
            Ok(ids) if ids.is_empty() => {
                self.sleep_until_woken().await;
                Vec::new()
            }
            Ok(ids) => self.claim(Some(ids), free).await,
            Err(error) => {
                let since = *self.redis_failed_at.get_or_insert_with(Instant::now);
                metrics::gauge!("regimen_redis_away").set(1.0);
                tracing::warn!(%error, "cannot take job ids from Redis");
                if since.elapsed() < REDIS_PATIENCE {
                    tokio::time::sleep(BACKOFF).await;
                    return Vec::new();
                }
                let claimed = self.claim(None, free).await;
                if claimed.is_empty() {
                    tokio::time::sleep(BACKOFF).await;
                }
                claimed
            }
        }
    }

    async fn pop(&mut self, free: usize) -> Result<Vec<Uuid>, KvError> {
        let lists = (List::Pro, List::Free);
        let messages = self.env.queue.pop(lists, self.env.config.weights, self.turn, free).await?;
        self.turn = self.turn.wrapping_add(messages.len() as u64);
        if self.redis_failed_at.take().is_some() {
            metrics::gauge!("regimen_redis_away").set(0.0);
            tracing::info!("Redis is back; taking job ids from it again");
        }
        Ok(messages.iter().filter_map(regimen_common::queue::Message::job_id).collect())
    }

    async fn claim(&self, ids: Option<Vec<Uuid>>, free: usize) -> Vec<Claimed> {
        let policy = &self.env.config.claim;
        let claimed = async {
            let client = self.env.db.get().await?;
            match &ids {
                Some(ids) => jobs::claim(&client, ids, policy).await,
                None => jobs::claim_waiting(&client, free, policy).await,
            }
        };
        match claimed.await {
            Ok(claimed) => {
                self.env.announcer.claimed(&claimed).await;
                claimed
            }
            Err(error) => {
                log_claim_failure(&error);
                tokio::time::sleep(BACKOFF).await;
                Vec::new()
            }
        }
    }

    async fn sleep_until_woken(&mut self) {
        let woken = async {
            if self.link.is_none() {
                self.link = Some(self.env.queue.blocking().await?);
            }
            match &mut self.link {
                Some(link) => self.env.queue.wait(link, List::Pro, IDLE_WAIT).await,
                None => Ok(()),
            }
        };
        // A connection that silently died must not keep the worker asleep.
        let woken = tokio::time::timeout(2 * IDLE_WAIT, woken).await;
        if !matches!(woken, Ok(Ok(()))) {
            self.link = None;
            tokio::time::sleep(BACKOFF).await;
        }
    }
}

fn log_claim_failure(error: &DbError) {
    metrics::counter!("regimen_claim_failures_total").increment(1);
    tracing::warn!(%error, "could not claim jobs; the reconciler dispatches them again");
}
