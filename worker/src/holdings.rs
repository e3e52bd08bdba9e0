//! What this process holds right now, and the heartbeat that keeps it.
//!
//! Invariant: a job is in the holdings from its claim until its handler is
//! done with it, and a handler whose holding is abandoned writes nothing more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use regimen_common::db::{DbError, jobs};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use regimen_common::db::jobs::Held;

#[derive(Debug)]
struct Entry {
    fence: i64,
    abandoned: CancellationToken,
    /// When the lease runs out unless it is extended.
    lease_until: Instant,
}

/// The jobs this process holds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Holdings(Arc<Mutex<HashMap<Uuid, Entry>>>);

/// One held job; dropping it ends the holding.
#[derive(Debug)]
pub struct Holding {
    holdings: Holdings,
    held: Held,
    abandoned: CancellationToken,
}

impl Holding {
    /// The job and the fence of its claim.
    pub fn held(&self) -> Held {
        self.held
    }

    /// Resolves when the job is no longer ours: cancelled, taken over, or
    /// handed back by a drain.
    pub async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }

    /// Whether the job is no longer ours.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.is_cancelled()
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut entries = self.holdings.lock();
        if entries.get(&self.held.id).is_some_and(|entry| entry.fence == self.held.fence) {
            entries.remove(&self.held.id);
        }
    }
}

impl Holdings {
    /// Takes a claimed job into the holdings.
    pub fn take(&self, held: Held, lease: Duration) -> Holding {
        let abandoned = CancellationToken::new();
        let lease_until = Instant::now() + lease;
        let entry = Entry { fence: held.fence, abandoned: abandoned.clone(), lease_until };
        self.lock().insert(held.id, entry);
        Holding { holdings: self.clone(), held, abandoned }
    }

    /// How many jobs are held.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Abandons one job, if it is held: its owner cancelled it.
    pub fn abandon(&self, job_id: Uuid) {
        if let Some(entry) = self.lock().get(&job_id) {
            entry.abandoned.cancel();
        }
    }

    /// Abandons everything, when a drain has run out of time.
    pub fn abandon_all(&self) {
        self.lock().values().for_each(|entry| entry.abandoned.cancel());
    }

    fn all(&self) -> Vec<Held> {
        self.lock().iter().map(|(&id, entry)| Held { id, fence: entry.fence }).collect()
    }

    /// After a heartbeat: what it extended lives on, the rest is not ours any more.
    fn extended(&self, asked: &[Held], kept: &[Held], lease_until: Instant) {
        let kept: HashMap<Uuid, i64> = kept.iter().map(|held| (held.id, held.fence)).collect();
        let mut entries = self.lock();
        for held in asked {
            let Some(entry) = entries.get_mut(&held.id) else { continue };
            if entry.fence != held.fence {
                continue;
            }
            if kept.get(&held.id) == Some(&held.fence) {
                entry.lease_until = lease_until;
            } else {
                entry.abandoned.cancel();
            }
        }
    }

    /// Abandons what could not be extended before its lease ran out: another
    /// worker may hold it by now.
    fn abandon_overdue(&self, now: Instant) {
        for (job_id, entry) in self.lock().iter() {
            if entry.lease_until <= now && !entry.abandoned.is_cancelled() {
                tracing::warn!(%job_id, "the lease ran out before it could be extended; abandoning the job");
                metrics::counter!("regimen_leases_abandoned_total").increment(1);
                entry.abandoned.cancel();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Extends the leases of all holdings, three times per lease, in one statement
/// for the whole process. Runs on its own task and never waits for a handler.
pub async fn heartbeat(pool: Pool, holdings: Holdings, lease: Duration) {
    let mut ticks = tokio::time::interval(lease / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        holdings.abandon_overdue(Instant::now());
        let asked = holdings.all();
        if asked.is_empty() {
            continue;
        }
        // The lease counts from before the statement is sent, never from its answer.
        let lease_until = Instant::now() + lease;
        match tokio::time::timeout(lease / 3, beat(&pool, &asked, lease)).await {
            Ok(Ok(kept)) => holdings.extended(&asked, &kept, lease_until),
            Ok(Err(error)) => {
                metrics::counter!("regimen_heartbeat_failures_total").increment(1);
                tracing::warn!(%error, "could not extend leases; trying again");
            }
            Err(_) => {
                metrics::counter!("regimen_heartbeat_failures_total").increment(1);
                tracing::warn!("extending leases took too long; trying again");
            }
        }
    }
}

async fn beat(pool: &Pool, held: &[Held], lease: Duration) -> Result<Vec<Held>, DbError> {
    let client = pool.get().await?;
    jobs::extend_leases(&client, held, lease).await
}
