//! Tells the rest of the fleet what this worker has committed: pushes the next
//! jobs and publishes notices. Always after the commit, and on a separate task,
//! because a Redis that hangs must not delay a job. What is lost, the
//! reconciler and polling clients find.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::jobs::{ClaimedJob, Ended, NextJob};
use regimen_common::dispatch::Queue;
use regimen_common::dispatch::notices::{self, JobNotice};
use regimen_common::job::JobEventKind;
use regimen_common::redis::Redis;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// Waiting announcements; more are dropped.
const CAPACITY: usize = 20_000;
/// Announcements per batch.
const BATCH: usize = 500;
/// How long notices wait for others. The claim of a job and its first call are published
/// in one message, without delaying the call.
const GATHER: Duration = Duration::from_millis(3);

enum Announcement {
    Notice(JobNotice),
    Next(NextJob),
    Flushed(oneshot::Sender<()>),
}

/// Sends announcements. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Announcer {
    told: mpsc::Sender<Announcement>,
    ends: Arc<Notify>,
}

impl Announcer {
    /// Starts announcing over `redis`. Call it within a tokio runtime.
    pub fn start(redis: Redis) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        tokio::spawn(tell(redis, receiver));
        Self { told: sender, ends: Arc::default() }
    }

    /// Announces one event of one job.
    pub fn event(&self, job: Uuid, seq: i32, kind: JobEventKind) {
        self.send(Announcement::Notice(JobNotice { job, seq, kind }));
    }

    /// Announces a batch of claims.
    pub fn claimed(&self, claimed: &[ClaimedJob]) {
        for claimed in claimed {
            self.event(claimed.id, claimed.last_seq, JobEventKind::Claimed);
        }
    }

    /// Pushes dispatched jobs.
    pub fn dispatch(&self, next: &[NextJob]) {
        next.iter().for_each(|&next| self.send(Announcement::Next(next)));
    }

    /// The end of a claim or a wait: its event and the user's next jobs.
    pub fn ended(&self, ended: &Ended) {
        self.event(ended.job_id, ended.seq, ended.kind);
        self.dispatch(&ended.next);
        if ended.kind.is_terminal() {
            self.ends.notify_one();
        }
    }

    /// Waits until this process has ended a job since this was called last.
    pub async fn an_end(&self) {
        self.ends.notified().await;
    }

    /// Waits until all earlier announcements are sent, but no longer than `at_most`.
    pub async fn flush(&self, at_most: Duration) {
        let (sender, told) = oneshot::channel();
        self.send(Announcement::Flushed(sender));
        let _ = tokio::time::timeout(at_most, told).await;
    }

    fn send(&self, announcement: Announcement) {
        if self.told.try_send(announcement).is_err() {
            metrics::counter!("regimen_announcements_dropped_total").increment(1);
        }
    }
}

async fn tell(redis: Redis, mut announcements: mpsc::Receiver<Announcement>) {
    let queue = Queue::new(redis.clone());
    let mut batch = Vec::with_capacity(BATCH);
    while announcements.recv_many(&mut batch, BATCH).await > 0 {
        gather(&mut announcements, &mut batch).await;
        let (mut notices, mut next, mut flushed) = (Vec::new(), Vec::new(), Vec::new());
        for announcement in batch.drain(..) {
            match announcement {
                Announcement::Notice(notice) => notices.push(notice),
                Announcement::Next(job) => next.push(job),
                Announcement::Flushed(sender) => flushed.push(sender),
            }
        }
        tokio::join!(queue.push_jobs(&next), notices::publish(&redis, &notices));
        for sender in flushed {
            // The receiver is gone when its time limit has passed.
            let _ = sender.send(());
        }
    }
}

/// Adds later announcements to a batch of notices. Jobs and flushes are not delayed.
async fn gather(announcements: &mut mpsc::Receiver<Announcement>, batch: &mut Vec<Announcement>) {
    let until = Instant::now() + GATHER;
    let can_wait = |announcement: &Announcement| matches!(announcement, Announcement::Notice(_));
    let mut waiting = batch.iter().all(can_wait);
    while waiting && batch.len() < BATCH {
        let Ok(Some(announcement)) = timeout_at(until, announcements.recv()).await else { return };
        waiting = can_wait(&announcement);
        batch.push(announcement);
    }
}

/// Logs that a job is poisoned.
pub fn tell_poisoned(job: Uuid) {
    tracing::error!(
        incident = "job_poisoned",
        job_id = %job,
        "a job is failed because every worker that took it was lost; what they logged last \
         says why (docs/runbook.md)"
    );
}
