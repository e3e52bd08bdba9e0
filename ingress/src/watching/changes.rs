//! One subscription per process that tells waiting requests of job changes.
//!
//! A waiting request is only told to read again, so a notice may be lost, early
//! or duplicated. The newest events of all watched jobs are also read in one
//! statement periodically, and more often while the subscription is down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regimen_common::db::Pool;
use regimen_common::db::{DbError, jobs};
use regimen_common::dispatch::notices::{self, Heard};
use regimen_common::redis::Redis;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

/// Between two reads while the subscription is down.
const BLIND_INTERVAL: Duration = Duration::from_secs(1);
/// Reads are this many times rarer while the subscription is up.
const SIGHTED_FACTOR: u32 = 5;
/// Means "gone" in place of the number of a job's newest event: nothing is newer.
const GONE: i32 = i32::MAX;

/// The newest event known of each watched job.
type Watched = Arc<Mutex<HashMap<Uuid, watch::Sender<i32>>>>;

/// Lets requests wait for job changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Changes {
    watched: Watched,
    redis: Redis,
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
    /// Resolves when there may be a change of the job since the last call, or since the
    /// watcher was made.
    pub async fn changed(&mut self) {
        // The sender lives in the map as long as this watcher does.
        let _ = self.newest.changed().await;
    }

    /// The caller has read event number `seq`. Other watchers of the job are notified if
    /// that is new. A notice that arrived for this watcher while the caller read older
    /// events stays pending.
    pub fn saw(&mut self, seq: i32) {
        // No notice is delivered while this is held.
        let watched = lock(&self.watched);
        let Some(sender) = watched.get(&self.job) else { return };
        let told = *sender.borrow();
        note(sender, seq);
        if told <= seq {
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
    /// Receives the notices in `redis`, and reads from Postgres when they fail.
    pub fn new(redis: Redis, db: Pool) -> Self {
        Self { watched: Watched::default(), redis, db }
    }

    /// Registers a watcher of a job. Register before reading the job, so that no change
    /// is missed in between.
    pub fn job(&self, job: Uuid) -> Watcher {
        let mut watched = lock(&self.watched);
        let sender = watched.entry(job).or_insert_with(|| watch::Sender::new(0));
        Watcher { job, newest: sender.subscribe(), watched: Arc::clone(&self.watched) }
    }

    /// Runs until the process ends.
    pub async fn run(self) {
        let (sender, mut heard) = mpsc::channel(4096);
        tokio::spawn(notices::listen(self.redis.clone(), sender));
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
        let known: Vec<(Uuid, i32)> =
            lock(&self.watched).iter().map(|(&id, sender)| (id, *sender.borrow())).collect();
        metrics::gauge!("regimen_watched_jobs").set(known.len() as f64);
        if known.is_empty() {
            return;
        }
        let ids: Vec<Uuid> = known.iter().map(|&(id, _)| id).collect();
        match self.newest(&ids).await {
            Ok(newest) => {
                let watched = lock(&self.watched);
                for (id, before) in known {
                    if let Some(sender) = watched.get(&id) {
                        looked(sender, before, newest.get(&id).copied().unwrap_or(GONE));
                    }
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

/// Notifies the watchers of a job of event number `seq`, if it is newer than what they
/// know: notices may arrive out of order.
fn note(sender: &watch::Sender<i32>, seq: i32) {
    sender.send_if_modified(|known| {
        let news = *known < seq;
        *known = seq.max(*known);
        news
    });
}

/// The same after a read that began when `before` was known. A read is more reliable than
/// notices: after a failover that lost commits a job may be further back.
fn looked(sender: &watch::Sender<i32>, before: i32, seq: i32) {
    note(sender, seq);
    sender.send_if_modified(|known| {
        let back = *known == before && seq < before;
        if back {
            *known = seq;
        }
        back
    });
}

fn lock(watched: &Watched) -> std::sync::MutexGuard<'_, HashMap<Uuid, watch::Sender<i32>>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// A job under watch, and what tells of it.
    fn watched() -> (Watched, Uuid) {
        let job = Uuid::from_u128(1);
        (Arc::new(Mutex::new(HashMap::from([(job, watch::Sender::new(0))]))), job)
    }

    fn watcher((watched, job): &(Watched, Uuid)) -> Watcher {
        let newest = lock(watched)[job].subscribe();
        Watcher { job: *job, newest, watched: Arc::clone(watched) }
    }

    fn told((watched, job): &(Watched, Uuid), seq: i32) {
        note(&lock(watched)[job], seq);
    }

    fn hears(watcher: &mut Watcher) -> bool {
        watcher.changed().now_or_never().is_some()
    }

    #[test]
    fn news_that_come_while_older_ones_are_read_are_heard() {
        let job = watched();
        let mut reader = watcher(&job);
        told(&job, 5);
        reader.saw(4);
        assert!(hears(&mut reader), "5 was told of while 4 was read");
        reader.saw(5);
        assert!(!hears(&mut reader));
        // However the notices overtake each other.
        told(&job, 7);
        told(&job, 5);
        reader.saw(6);
        assert!(hears(&mut reader));
        // Nor does what somebody else saw hide anything.
        let mut other = watcher(&job);
        other.saw(9);
        reader.saw(8);
        assert!(hears(&mut reader) && !hears(&mut other));
    }

    #[test]
    fn what_was_seen_is_no_news() {
        let job = watched();
        let mut reader = watcher(&job);
        told(&job, 5);
        reader.saw(5);
        told(&job, 5);
        told(&job, 4);
        assert!(!hears(&mut reader));
        reader.saw(6);
        assert!(!hears(&mut reader), "one's own news");
    }

    #[test]
    fn a_look_tells_of_the_end_and_of_a_step_back() {
        let job = watched();
        let mut reader = watcher(&job);
        reader.saw(5);
        let looked = |before, seq| looked(&lock(&job.0)[&job.1], before, seq);
        looked(5, 4);
        assert!(hears(&mut reader), "commits were lost");
        reader.saw(4);
        told(&job, 6);
        looked(4, 3);
        reader.saw(5);
        assert!(hears(&mut reader), "a look that is older than the notice hides nothing");
        looked(6, GONE);
        reader.saw(6);
        assert!(hears(&mut reader), "the job is gone");
    }
}
