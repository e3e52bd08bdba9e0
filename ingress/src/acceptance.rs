//! Accepts submissions: those of one moment in one transaction, those of one user one after
//! another. The jobs are pushed after the commit, without waiting for Redis; the reconciler
//! handles a failed push.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regimen_common::db::group_commit::{Alone, Committer, GroupCommit};
use regimen_common::db::jobs::{self, Acceptance, NewJobs, NextJob};
use regimen_common::db::limits::within;
use regimen_common::db::{DbError, Pool, StatementLimits};
use regimen_common::dispatch::Queue;
use uuid::Uuid;

/// An idempotency key, with its user.
type UserKey = (Uuid, String);

/// Accepts jobs and pushes them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Submissions {
    group: GroupCommit<Accept>,
    /// The idempotency keys of the submissions under way.
    keys: Arc<Mutex<HashSet<UserKey>>>,
}

impl Submissions {
    /// One for the process.
    pub fn new(db: Pool, queue: Queue) -> Self {
        let (limit, alone) = (StatementLimits::REQUEST.usual, Alone::on(&db));
        let group = GroupCommit::new(Accept { db, queue }, limit, alone);
        Self { group, keys: Arc::default() }
    }

    /// The outcome, once it is committed.
    ///
    /// # Errors
    /// Nothing was written, unless the error [is uncertain](DbError::is_uncertain).
    pub async fn accept(&self, new: NewJobs) -> Result<Acceptance, Arc<DbError>> {
        let key = new.idempotency.as_ref().map(|kept| (new.user_id, kept.key.clone()));
        let in_use = match key.map(|key| KeyInUse::take(&self.keys, key)) {
            Some(None) => return Ok(Acceptance::InFlight),
            key => key.flatten(),
        };
        self.group.write((new, in_use)).await
    }
}

#[derive(Debug, Clone)]
struct Accept {
    db: Pool,
    queue: Queue,
}

impl Committer for Accept {
    /// The key is in use until the submission has ended, even if nobody waits for it.
    type Write = (NewJobs, Option<KeyInUse>);
    type Done = Acceptance;

    fn turn((new, _): &Self::Write) -> Uuid {
        new.user_id
    }

    async fn together(&self, writes: &[&Self::Write]) -> Result<Vec<Option<Acceptance>>, DbError> {
        let requests: Vec<&NewJobs> = writes.iter().map(|(new, _)| new).collect();
        let accepted = within(StatementLimits::REQUEST.usual, async {
            jobs::accept_together(&mut self.db.get().await?, &requests).await
        })
        .await?;
        self.push(accepted.iter().flatten());
        Ok(accepted)
    }

    async fn alone(&self, (new, _): &Self::Write) -> Result<Acceptance, DbError> {
        let accepted = jobs::accept(&mut self.db.get().await?, new).await?;
        self.push(std::iter::once(&accepted));
        Ok(accepted)
    }
}

impl Accept {
    /// Pushes accepted jobs on a separate task.
    fn push<'a>(&self, accepted: impl Iterator<Item = &'a Acceptance>) {
        let mut next: Vec<NextJob> = Vec::new();
        for acceptance in accepted {
            if let Acceptance::Accepted { dispatch, .. } = acceptance {
                next.extend(dispatch);
            }
        }
        if !next.is_empty() {
            let queue = self.queue.clone();
            tokio::spawn(async move { queue.push_jobs(&next).await });
        }
    }
}

/// A key in use, until this is dropped.
#[derive(Debug)]
struct KeyInUse {
    key: UserKey,
    keys: Arc<Mutex<HashSet<UserKey>>>,
}

impl KeyInUse {
    /// `None` if it is in use already.
    fn take(keys: &Arc<Mutex<HashSet<UserKey>>>, key: UserKey) -> Option<Self> {
        lock(keys).insert(key.clone()).then(|| Self { key, keys: Arc::clone(keys) })
    }
}

impl Drop for KeyInUse {
    fn drop(&mut self) {
        lock(&self.keys).remove(&self.key);
    }
}

fn lock(keys: &Mutex<HashSet<UserKey>>) -> MutexGuard<'_, HashSet<UserKey>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}
