//! One subscription per process that tells waiting requests of job changes.
//!
//! Waiters hold a number: the newest event they know of. Notices raise it;
//! while the notice channel is down, and now and then anyway, the revisions of
//! all watched jobs are looked up in Postgres in one statement. A waiter is
//! only told to look again, so a notice may be lost, early or double.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use regimen_common::db::{DbError, jobs};
use regimen_common::kv::Kv;
use regimen_common::notices::{self, Heard};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

/// Between two looks while the notice channel is down.
const BLIND_INTERVAL: Duration = Duration::from_secs(1);
/// Looks are this many times rarer while the notice channel is up.
const SIGHTED_FACTOR: u32 = 10;

type Watched = Arc<Mutex<HashMap<Uuid, watch::Sender<i32>>>>;

/// Lets requests wait for job changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watch {
    watched: Watched,
    kv: Kv,
    db: Pool,
}

/// A request's interest in one job; ends when dropped.
#[derive(Debug)]
pub struct Watcher {
    job: Uuid,
    seq: watch::Receiver<i32>,
    watched: Watched,
}

impl Watcher {
    /// Waits until the job may have an event newer than `known`.
    pub async fn newer_than(&mut self, known: i32) {
        // The sender lives in the map as long as this watcher does.
        let _ = self.seq.wait_for(|seq| *seq > known).await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut watched = lock(&self.watched);
        // This watcher's own receiver still counts.
        if watched.get(&self.job).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.job);
        }
    }
}

impl Watch {
    /// A watch over the notices in `kv`, with Postgres to look things up in.
    pub fn new(kv: Kv, db: Pool) -> Self {
        Self { watched: Watched::default(), kv, db }
    }

    /// Registers interest in a job. Register before reading the job, so that
    /// no change falls between the two.
    pub fn job(&self, job: Uuid) -> Watcher {
        let mut watched = lock(&self.watched);
        let sender = watched.entry(job).or_insert_with(|| watch::Sender::new(0));
        Watcher { job, seq: sender.subscribe(), watched: Arc::clone(&self.watched) }
    }

    /// How many jobs are watched.
    pub fn len(&self) -> usize {
        lock(&self.watched).len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Listens until the process ends.
    pub async fn run(self) {
        let (sender, mut heard) = mpsc::channel(4096);
        tokio::spawn(notices::listen(self.kv.clone(), sender));
        let mut ticks = tokio::time::interval(BLIND_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut connected, mut tick) = (false, 0_u32);
        loop {
            tokio::select! {
                heard = heard.recv() => match heard {
                    Some(Heard::Notice(notice)) => self.raise(notice.job, notice.seq),
                    Some(Heard::Connected) => { connected = true; self.look().await; }
                    Some(Heard::Disconnected) => connected = false,
                    None => return,
                },
                _ = ticks.tick() => {
                    tick = tick.wrapping_add(1);
                    if !connected || tick.is_multiple_of(SIGHTED_FACTOR) {
                        self.look().await;
                    }
                }
            }
        }
    }

    fn raise(&self, job: Uuid, seq: i32) {
        if let Some(sender) = lock(&self.watched).get(&job) {
            sender.send_if_modified(|known| {
                let newer = seq > *known;
                *known = seq.max(*known);
                newer
            });
        }
    }

    async fn look(&self) {
        let ids: Vec<Uuid> = lock(&self.watched).keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        match self.revisions(&ids).await {
            Ok(revisions) => {
                revisions.into_iter().for_each(|(job, _, seq)| self.raise(job, seq));
            }
            Err(error) => tracing::debug!(%error, "could not look up watched jobs; trying again"),
        }
    }

    async fn revisions(
        &self,
        ids: &[Uuid],
    ) -> Result<Vec<(Uuid, regimen_common::job::JobState, i32)>, DbError> {
        let client = self.db.get().await?;
        jobs::revisions(&client, ids).await
    }
}

fn lock(watched: &Watched) -> std::sync::MutexGuard<'_, HashMap<Uuid, watch::Sender<i32>>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
