//! What this process holds right now, and what it let go without a result.
//!
//! Invariant: a job is in the holdings from its claim until its handler is
//! done with it, and a handler whose holding is abandoned writes nothing more.
//! Whatever leaves the holdings without a conclusion is handed back.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
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

#[derive(Debug, Default)]
struct Books {
    held: HashMap<Uuid, Entry>,
    let_go: Vec<Held>,
    /// Writes under way that the next holder must find, by claim.
    writes: HashMap<Held, usize>,
    /// Let go, but for a write under way.
    writing: HashSet<Held>,
}

impl Books {
    fn let_go(&mut self, held: Held) {
        if self.writes.contains_key(&held) {
            self.writing.insert(held);
        } else {
            self.let_go.push(held);
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    books: Mutex<Books>,
    /// Told when something left the holdings.
    left: Notify,
    /// Told when the heartbeat should not wait for its time.
    doubt: Notify,
}

/// The jobs this process holds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Holdings(Arc<Shared>);

/// One held job; dropping it ends the holding.
#[derive(Debug)]
pub struct Holding {
    holdings: Holdings,
    held: Held,
    abandoned: CancellationToken,
    concluded: AtomicBool,
}

impl Holding {
    /// The job and the fence of its claim.
    pub fn held(&self) -> Held {
        self.held
    }

    /// Resolves when the handler must let go: the job was cancelled or taken
    /// over, its lease could not be kept, or a drain is over.
    pub async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }

    /// Says that the claim's end is written, or is not this process's to
    /// write. Features it the job is handed back when the holding is dropped.
    pub fn conclude(&self) {
        self.concluded.store(true, Ordering::Relaxed);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut books = self.holdings.books();
        if books.held.get(&self.held.id).is_some_and(|entry| entry.fence == self.held.fence) {
            books.held.remove(&self.held.id);
        }
        if !self.concluded.load(Ordering::Relaxed) {
            books.let_go(self.held);
        }
        drop(books);
        self.holdings.0.left.notify_waiters();
    }
}

/// A write that outlives its handler. Until it is dropped the job is not
/// handed back, so that the next holder finds what was written.
#[derive(Debug)]
pub struct Write {
    holdings: Holdings,
    held: Held,
}

impl Drop for Write {
    fn drop(&mut self) {
        let mut books = self.holdings.books();
        if let Some(writes) = books.writes.get_mut(&self.held) {
            *writes -= 1;
            if *writes == 0 {
                books.writes.remove(&self.held);
                if books.writing.remove(&self.held) {
                    books.let_go.push(self.held);
                }
            }
        }
        drop(books);
        self.holdings.0.left.notify_waiters();
    }
}

impl Holdings {
    /// Takes a claimed job into the holdings, with a lease until `lease_until`.
    pub fn take(&self, held: Held, lease_until: Instant) -> Holding {
        let abandoned = CancellationToken::new();
        let entry = Entry { fence: held.fence, abandoned: abandoned.clone(), lease_until };
        self.books().held.insert(held.id, entry);
        Holding { holdings: self.clone(), held, abandoned, concluded: AtomicBool::new(false) }
    }

    /// Announces a write of the claim `held` that goes on without its handler.
    pub fn write(&self, held: Held) -> Write {
        *self.books().writes.entry(held).or_default() += 1;
        Write { holdings: self.clone(), held }
    }

    /// How many jobs are held.
    pub fn len(&self) -> usize {
        self.books().held.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.books().held.is_empty()
    }

    /// Resolves when nothing is held.
    pub async fn emptied(&self) {
        self.when_left(|books| books.held.is_empty().then_some(())).await;
    }

    /// Abandons one job, if it is held: its owner cancelled it.
    pub fn abandon(&self, job_id: Uuid) {
        if let Some(entry) = self.books().held.get(&job_id) {
            entry.abandoned.cancel();
        }
    }

    /// Abandons everything, when a drain has run out of time.
    pub fn abandon_all(&self) {
        self.books().held.values().for_each(|entry| entry.abandoned.cancel());
    }

    /// Asks the heartbeat to look at once: news may have been missed.
    pub fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Resolves when somebody has doubts.
    pub(crate) async fn doubted(&self) {
        self.0.doubt.notified().await;
    }

    /// Everything held now.
    pub(crate) fn all(&self) -> Vec<Held> {
        self.books().held.iter().map(|(&id, entry)| Held { id, fence: entry.fence }).collect()
    }

    /// Lets go of claims in this process's name that no handler has.
    pub(crate) fn disown(&self, claims: Vec<Held>) {
        let mut books = self.books();
        for claim in claims {
            if books.held.get(&claim.id).is_none_or(|entry| entry.fence != claim.fence) {
                books.let_go(claim);
            }
        }
        drop(books);
        self.0.left.notify_waiters();
    }

    /// What was let go without a result, once there is something.
    pub(crate) async fn let_go(&self) -> Vec<Held> {
        let some = |books: &mut Books| {
            (!books.let_go.is_empty()).then(|| std::mem::take(&mut books.let_go))
        };
        self.when_left(some).await
    }

    /// What was let go without a result so far.
    pub(crate) fn take_let_go(&self) -> Vec<Held> {
        std::mem::take(&mut self.books().let_go)
    }

    /// After a heartbeat: what it extended lives on, the rest is not ours any more.
    pub(crate) fn extended(&self, asked: &[Held], kept: &[Held], lease_until: Instant) {
        let kept: HashMap<Uuid, i64> = kept.iter().map(|held| (held.id, held.fence)).collect();
        let mut books = self.books();
        for held in asked {
            let Some(entry) = books.held.get_mut(&held.id) else { continue };
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
    pub(crate) fn abandon_overdue(&self, now: Instant) {
        for (job_id, entry) in &self.books().held {
            if entry.lease_until <= now && !entry.abandoned.is_cancelled() {
                tracing::warn!(%job_id, "the lease ran out before it could be extended; abandoning the job");
                metrics::counter!("regimen_leases_abandoned_total").increment(1);
                entry.abandoned.cancel();
            }
        }
    }

    async fn when_left<T>(&self, mut look: impl FnMut(&mut Books) -> Option<T>) -> T {
        loop {
            let left = self.0.left.notified();
            tokio::pin!(left);
            // Registered before the look, so that nothing leaves in between unseen.
            left.as_mut().enable();
            if let Some(found) = look(&mut self.books()) {
                return found;
            }
            left.await;
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
