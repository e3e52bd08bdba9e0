//! The jobs that this process has claimed and not finished, under its one lease.
//!
//! Invariant: a job is in flight from its claim until its handler is done with
//! it, and a handler whose job was abandoned writes nothing more. A job that
//! ends without a result is released: another worker may claim it at once.

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
}

#[derive(Debug, Default)]
struct Table {
    held: HashMap<Uuid, Entry>,
    /// When the lease runs out unless it is extended.
    lease_until: Option<Instant>,
    released: Vec<Held>,
    /// Running writes that the next holder must find, by claim.
    writes: HashMap<Held, usize>,
    /// Claims to release once a running write is done.
    writing: HashSet<Held>,
}

impl Table {
    fn release(&mut self, held: Held) {
        if self.writes.contains_key(&held) {
            self.writing.insert(held);
        } else {
            self.released.push(held);
        }
    }

    /// Whether a handler has this claim, or it is about to be released.
    fn knows(&self, held: &Held) -> bool {
        self.held.get(&held.id).is_some_and(|entry| entry.fence == held.fence)
            || self.writes.contains_key(held)
            || self.released.contains(held)
    }
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Notified when a job has left.
    left: Notify,
    /// Notified when leases are to be checked at once.
    lease_check: Notify,
}

/// The jobs in flight in this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Shared>);

/// One job in flight; dropping it ends that.
#[derive(Debug)]
pub struct InFlightJob {
    in_flight: InFlight,
    held: Held,
    abandoned: CancellationToken,
    concluded: AtomicBool,
}

impl InFlightJob {
    /// The job and the fence of its claim.
    pub fn held(&self) -> Held {
        self.held
    }

    /// Resolves when the handler must stop: the job was cancelled or taken over, its
    /// lease was lost, or the drain time is over.
    pub async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }

    /// Marks the claim's end as written, or as not this process's to write. Without it
    /// the job is released when this is dropped.
    pub fn conclude(&self) {
        self.concluded.store(true, Ordering::Relaxed);
    }
}

impl Drop for InFlightJob {
    fn drop(&mut self) {
        let mut table = self.in_flight.table();
        if table.held.get(&self.held.id).is_some_and(|entry| entry.fence == self.held.fence) {
            table.held.remove(&self.held.id);
        }
        if !self.concluded.load(Ordering::Relaxed) {
            table.release(self.held);
        }
        drop(table);
        self.in_flight.0.left.notify_waiters();
    }
}

/// A write that outlives its handler. Until it is dropped the job is not released, so
/// that the next holder finds what was written.
#[derive(Debug)]
pub struct Write {
    in_flight: InFlight,
    held: Held,
}

impl Drop for Write {
    fn drop(&mut self) {
        let mut table = self.in_flight.table();
        if let Some(writes) = table.writes.get_mut(&self.held) {
            *writes -= 1;
            if *writes == 0 {
                table.writes.remove(&self.held);
                if table.writing.remove(&self.held) {
                    table.released.push(self.held);
                }
            }
        }
        drop(table);
        self.in_flight.0.left.notify_waiters();
    }
}

impl InFlight {
    /// Puts a claimed job in flight. An earlier claim of it was lost, so that its handler
    /// works in vain.
    pub fn take(&self, held: Held) -> InFlightJob {
        let abandoned = CancellationToken::new();
        let entry = Entry { fence: held.fence, abandoned: abandoned.clone() };
        if let Some(lost) = self.table().held.insert(held.id, entry) {
            lost.abandoned.cancel();
        }
        InFlightJob { in_flight: self.clone(), held, abandoned, concluded: AtomicBool::new(false) }
    }

    /// Announces a write of the claim `held` that continues without its handler.
    pub fn write(&self, held: Held) -> Write {
        *self.table().writes.entry(held).or_default() += 1;
        Write { in_flight: self.clone(), held }
    }

    /// How many jobs are in flight.
    pub fn len(&self) -> usize {
        self.table().held.len()
    }

    /// Whether no job is in flight.
    pub fn is_empty(&self) -> bool {
        self.table().held.is_empty()
    }

    /// Resolves when no job is in flight.
    pub async fn emptied(&self) {
        self.when_left(|table| table.held.is_empty().then_some(())).await;
    }

    /// Abandons one job, if it is in flight: its owner cancelled it.
    pub fn abandon(&self, job_id: Uuid) {
        if let Some(entry) = self.table().held.get(&job_id) {
            entry.abandoned.cancel();
        }
    }

    /// Abandons all jobs, when the drain time is over.
    pub fn abandon_all(&self) {
        self.table().held.values().for_each(|entry| entry.abandoned.cancel());
    }

    /// Requests an immediate lease check: a cancellation may have been missed.
    pub fn request_lease_check(&self) {
        self.0.lease_check.notify_one();
    }

    /// Resolves when an immediate lease check is requested.
    pub(crate) async fn lease_check_requested(&self) {
        self.0.lease_check.notified().await;
    }

    /// All jobs in flight.
    pub(crate) fn all(&self) -> Vec<Held> {
        self.table().held.iter().map(|(&id, entry)| Held { id, fence: entry.fence }).collect()
    }

    /// Releases claims in this process's name that no handler has.
    pub(crate) fn disown(&self, claims: Vec<Held>) {
        let mut table = self.table();
        for claim in claims {
            if table.held.get(&claim.id).is_none_or(|entry| entry.fence != claim.fence) {
                table.release(claim);
            }
        }
        drop(table);
        self.0.left.notify_waiters();
    }

    /// The claims to release, once there are any.
    pub(crate) async fn released(&self) -> Vec<Held> {
        let some = |table: &mut Table| {
            (!table.released.is_empty()).then(|| std::mem::take(&mut table.released))
        };
        self.when_left(some).await
    }

    /// The claims to release so far.
    pub(crate) fn take_released(&self) -> Vec<Held> {
        std::mem::take(&mut self.table().released)
    }

    /// Notes that the lease lasts until `lease_until` at least.
    pub(crate) fn lease_extended(&self, lease_until: Instant) {
        let mut table = self.table();
        table.lease_until = table.lease_until.max(Some(lease_until));
    }

    /// After a look at what this process holds in Postgres: jobs that it held before the
    /// look (`asked`) and not in Postgres are abandoned. Returns the claims in its name
    /// that no handler has.
    pub(crate) fn compare(&self, asked: &[Held], in_postgres: &[Held]) -> Vec<Held> {
        let kept: HashSet<Held> = in_postgres.iter().copied().collect();
        let table = self.table();
        for held in asked.iter().filter(|held| !kept.contains(held)) {
            if let Some(entry) = table.held.get(&held.id).filter(|one| one.fence == held.fence) {
                entry.abandoned.cancel();
            }
        }
        in_postgres.iter().filter(|held| !table.knows(held)).copied().collect()
    }

    /// Abandons all jobs if the lease ran out before it was extended: other workers may
    /// hold them.
    pub(crate) fn abandon_overdue(&self, now: Instant) {
        let table = self.table();
        if table.lease_until.is_none_or(|until| until > now) {
            return;
        }
        for (job_id, entry) in &table.held {
            if !entry.abandoned.is_cancelled() {
                tracing::warn!(%job_id, "the lease ran out before it could be extended; abandoning the job");
                metrics::counter!("regimen_leases_abandoned_total").increment(1);
                entry.abandoned.cancel();
            }
        }
    }

    async fn when_left<T>(&self, mut look: impl FnMut(&mut Table) -> Option<T>) -> T {
        loop {
            let left = self.0.left.notified();
            tokio::pin!(left);
            // Registered before the check, so that no end in between is missed.
            left.as_mut().enable();
            if let Some(found) = look(&mut self.table()) {
                return found;
            }
            left.await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first claim was lost to another worker, and the job came back.
    #[test]
    fn a_job_that_is_claimed_again_stops_its_first_handler() {
        let (in_flight, id) = (InFlight::default(), Uuid::now_v7());
        let first = in_flight.take(Held { id, fence: 1 });
        let second = in_flight.take(Held { id, fence: 3 });
        assert!(first.abandoned.is_cancelled() && !second.abandoned.is_cancelled());
        drop(first);
        assert_eq!(in_flight.len(), 1);
    }
}
