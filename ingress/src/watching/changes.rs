//! One subscription per process that tells waiting requests of job changes.
//!
//! A waiter is only told to look again, so a notice may be lost, early or
//! double: now and then, and more often while the notice channel is down, the
//! newest events of all watched jobs are looked up in one statement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regimen_common::db::Pool;
use regimen_common::db::{DbError, jobs};
use regimen_common::kv::Kv;
use regimen_common::notices::{self, Heard};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

/// Between two looks while the notice channel is down.
const BLIND_INTERVAL: Duration = Duration::from_secs(1);
/// Looks are this many times rarer while the notice channel is up.
const SIGHTED_FACTOR: u32 = 5;
/// Stands for "gone" where the number of a job's newest event stands.
const GONE: i32 = -1;

/// The newest event known of each watched job.
type Watched = Arc<Mutex<HashMap<Uuid, watch::Sender<i32>>>>;

/// Lets requests wait for job changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Changes {
    watched: Watched,
    kv: Kv,
    db: Pool,
}

/// A request's interest in one job; ends when dropped.
#[derive(Debug)]
pub struct Watcher {
    job: Uuid,
    newest: watch::Receiver<i32>,
    watched: Watched,
}

impl Watcher {
    /// Waits until there may be something new about the job since this was
    /// called last, or since the watcher was made.
    pub async fn changed(&mut self) {
        // The sender lives in the map as long as this watcher does.
        let _ = self.newest.changed().await;
    }

    /// The caller saw event number `seq`. Others that watch the job are told
    /// if that is news.
    pub fn saw(&mut self, seq: i32) {
        if let Some(sender) = lock(&self.watched).get(&self.job)
            && note(sender, seq)
        {
            self.newest.mark_unchanged();
        }
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

impl Changes {
    /// Hears the notices in `kv`, and looks into Postgres where they fail.
    pub fn new(kv: Kv, db: Pool) -> Self {
        Self { watched: Watched::default(), kv, db }
    }

    /// Registers interest in a job. Register before reading the job, so that
    /// no change falls between the two.
    pub fn job(&self, job: Uuid) -> Watcher {
        let mut watched = lock(&self.watched);
        let sender = watched.entry(job).or_insert_with(|| watch::Sender::new(0));
        Watcher { job, newest: sender.subscribe(), watched: Arc::clone(&self.watched) }
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
                    Some(Heard::Notice(notice)) => self.tell(notice.job, notice.seq),
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

    fn tell(&self, job: Uuid, seq: i32) {
        if let Some(sender) = lock(&self.watched).get(&job) {
            note(sender, seq);
        }
    }

    async fn look(&self) {
        let ids: Vec<Uuid> = lock(&self.watched).keys().copied().collect();
        metrics::gauge!("regimen_watched_jobs").set(ids.len() as f64);
        if ids.is_empty() {
            return;
        }
        match self.newest(&ids).await {
            Ok(newest) => {
                for id in ids {
                    self.tell(id, newest.get(&id).copied().unwrap_or(GONE));
                }
            }
            Err(error) => tracing::debug!(%error, "could not look up watched jobs; trying again"),
        }
    }

    async fn newest(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, i32>, DbError> {
        let client = self.db.get().await?;
        let revisions = jobs::revisions(&client, ids).await?;
        Ok(revisions.into_iter().map(|(id, _, seq)| (id, seq)).collect())
    }
}

/// Tells the watchers of a job when `seq` is not what they know; notices may
/// overtake each other, so smaller is news too. Returns whether it was.
fn note(sender: &watch::Sender<i32>, seq: i32) -> bool {
    sender.send_if_modified(|known| std::mem::replace(known, seq) != seq)
}

fn lock(watched: &Watched) -> std::sync::MutexGuard<'_, HashMap<Uuid, watch::Sender<i32>>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
