//! Commits the submissions of one moment together.
//!
//! While transactions are under way, the next submissions gather and go as one. Nobody
//! waits when nothing is under way. Each submission has an outcome of its own: what would
//! wait for a lock, or makes Postgres refuse a transaction, is repeated alone. The
//! submissions of one user go one after another.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regimen_common::db::jobs::{self, Acceptance, NewJobs, NextJob};
use regimen_common::db::limits::{self, within};
use regimen_common::db::{DbError, Pool, StatementLimits};
use regimen_common::dispatch::Queue;
use tokio::sync::oneshot;
use uuid::Uuid;

/// While one transaction is committed, another one is written.
const TRANSACTIONS: usize = 2;
/// The most submissions in one transaction, so that it stays short.
const TOGETHER: usize = 64;

/// Accepts jobs and pushes them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GroupCommit {
    db: Pool,
    queue: Queue,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    gathered: VecDeque<Submission>,
    transactions: usize,
    /// The users with a submission under way.
    users: HashSet<Uuid>,
    /// The idempotency keys of all submissions here, each with its user.
    keys: HashSet<(Uuid, String)>,
}

#[derive(Debug)]
struct Submission {
    new: NewJobs,
    outcome: oneshot::Sender<Outcome>,
    _key: Option<InUse<(Uuid, String)>>,
}

type Outcome = Result<Acceptance, Arc<DbError>>;

impl GroupCommit {
    /// One for the process.
    pub fn new(db: Pool, queue: Queue) -> Self {
        Self { db, queue, state: Arc::default() }
    }

    /// The outcome, once it is committed. The jobs are pushed without waiting for Redis;
    /// the reconciler handles a failed push.
    ///
    /// # Errors
    /// Nothing was written, unless the error [is uncertain](DbError::is_uncertain).
    pub async fn accept(&self, new: NewJobs) -> Outcome {
        let id = new.generation_id;
        let key = new.idempotency.as_ref().map(|kept| (new.user_id, kept.key.clone()));
        let key = match key.map(|key| InUse::take(&self.state, |state| &mut state.keys, key)) {
            Some(None) => return Ok(Acceptance::InFlight),
            key => key.flatten(),
        };
        let (outcome, received) = oneshot::channel();
        lock(&self.state).gathered.push_back(Submission { new, outcome, _key: key });
        self.begin();
        match limits::wait(received).await {
            Ok(Ok(outcome)) => outcome,
            Err(late) if self.withdraw(id) => Err(Arc::new(late)),
            // Its transaction panicked, or still runs.
            Ok(Err(_)) | Err(_) => Err(Arc::new(DbError::Unconfirmed)),
        }
    }

    /// Whether a submission had not begun; then it never will.
    fn withdraw(&self, generation: Uuid) -> bool {
        let mut state = lock(&self.state);
        let mut ids = state.gathered.iter().map(|submission| submission.new.generation_id);
        let place = ids.position(|id| id == generation);
        let withdrawn = place.and_then(|place| state.gathered.remove(place));
        drop(state);
        withdrawn.is_some()
    }

    /// Begins a transaction, unless enough are under way.
    fn begin(&self) {
        let mut state = lock(&self.state);
        if state.transactions < TRANSACTIONS && !state.gathered.is_empty() {
            state.transactions += 1;
            tokio::spawn(self.clone().run());
        }
    }

    /// Writes one transaction after another until nothing is left to write.
    async fn run(self) {
        while let Some(next) = self.next() {
            let this = self.clone();
            // A task of its own, so that a panic ends that transaction alone.
            let _ = tokio::spawn(async move { this.commit(next).await }).await;
        }
    }

    /// The next submissions, at most one of each user; the caller ends if there are none.
    fn next(&self) -> Option<Vec<(Submission, Turn)>> {
        let (mut next, mut abandoned) = (Vec::new(), Vec::new());
        let mut state = lock(&self.state);
        for _ in 0..state.gathered.len() {
            let Some(submission) = state.gathered.pop_front() else { break };
            let user = submission.new.user_id;
            if submission.outcome.is_closed() {
                abandoned.push(submission);
            } else if next.len() < TOGETHER && state.users.insert(user) {
                next.push((submission, Turn::of(&self.state, |state| &mut state.users, user)));
            } else {
                state.gathered.push_back(submission);
            }
        }
        if next.is_empty() {
            state.transactions -= 1;
            return None;
        }
        Some(next)
    }

    async fn commit(&self, submissions: Vec<(Submission, Turn)>) {
        let requests: Vec<&NewJobs> = submissions.iter().map(|(one, _)| &one.new).collect();
        let accepted = within(StatementLimits::REQUEST.usual, async {
            jobs::accept_together(&mut self.db.get().await?, &requests).await
        });
        let outcomes: Vec<Option<Outcome>> = match accepted.await {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| outcome.map(Ok)).collect(),
            Err(error) if error.blames_a_row() || error.is_conflict() => {
                requests.iter().map(|_| None).collect()
            }
            Err(error) => {
                let error = Arc::new(error);
                requests.iter().map(|_| Some(Err(Arc::clone(&error)))).collect()
            }
        };
        let mut ended = Vec::new();
        for ((submission, turn), outcome) in submissions.into_iter().zip(outcomes) {
            match outcome {
                Some(outcome) => ended.push((submission, turn, outcome)),
                None => drop(tokio::spawn(self.clone().alone(submission, turn))),
            }
        }
        self.end(ended);
    }

    /// Repeats one that may have to wait, or that Postgres refuses.
    async fn alone(self, submission: Submission, turn: Turn) {
        let accepted = within(StatementLimits::REQUEST.usual, async {
            jobs::accept(&mut self.db.get().await?, &submission.new).await
        });
        let outcome = accepted.await.map_err(Arc::new);
        self.end(vec![(submission, turn, outcome)]);
        // The user's next one may have been left out meanwhile.
        self.begin();
    }

    /// Tells the outcomes, and pushes the jobs on a separate task.
    fn end(&self, ended: Vec<(Submission, Turn, Outcome)>) {
        let mut next: Vec<NextJob> = Vec::new();
        for (submission, turn, outcome) in ended {
            if let Ok(Acceptance::Accepted { dispatch, .. }) = &outcome {
                next.extend(dispatch);
            }
            drop(turn);
            // Nobody waits for it any more, perhaps.
            let _ = submission.outcome.send(outcome);
        }
        if !next.is_empty() {
            let queue = self.queue.clone();
            tokio::spawn(async move { queue.push_jobs(&next).await });
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The turn of a user: the next submission waits until this is dropped.
type Turn = InUse<Uuid>;

/// A member of one of the sets of [`State`], removed when dropped.
struct InUse<T: Eq + Hash> {
    of: fn(&mut State) -> &mut HashSet<T>,
    member: T,
    state: Arc<Mutex<State>>,
}

impl<T: Eq + Hash + Clone> InUse<T> {
    /// `None` if it is a member already.
    fn take(
        state: &Arc<Mutex<State>>,
        of: fn(&mut State) -> &mut HashSet<T>,
        member: T,
    ) -> Option<Self> {
        of(&mut lock(state)).insert(member.clone()).then(|| Self::of(state, of, member))
    }
}

impl<T: Eq + Hash> InUse<T> {
    /// Of a member that was inserted.
    fn of(state: &Arc<Mutex<State>>, of: fn(&mut State) -> &mut HashSet<T>, member: T) -> Self {
        Self { of, member, state: Arc::clone(state) }
    }
}

impl<T: Eq + Hash> Drop for InUse<T> {
    fn drop(&mut self) {
        (self.of)(&mut lock(&self.state)).remove(&self.member);
    }
}

impl<T: Eq + Hash> fmt::Debug for InUse<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InUse").finish_non_exhaustive()
    }
}
