//! Commits the writes of one moment together.
//!
//! While transactions are under way, the next writes gather and go as one. Nobody waits when
//! nothing is under way. Each write has an outcome of its own: one whose user's row is locked,
//! or that makes Postgres refuse a transaction, is repeated alone; and while it fails alone,
//! its next tries hold up no others. A transaction that waits for another lock in vain is
//! repeated one by one, too. Those that go alone may wait for locks, so all of them together
//! have at most half of the connections. Writes with the same turn go one after another.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::{DbError, Pool, limits};

/// While one transaction is committed, another one is written.
const TRANSACTIONS: usize = 2;
/// The most writes in one transaction, so that it stays short.
const TOGETHER: usize = 64;
/// The most turns whose writes are kept apart.
const APART: usize = 1_000;
/// The part of its time for which a write waits to go alone.
const FOR_A_PLACE: f32 = 0.9;

/// How writes of one kind are made.
pub trait Committer: Clone + Send + Sync + 'static {
    /// A write.
    type Write: Send + Sync + 'static;
    /// What its caller is told.
    type Done: Send + 'static;

    /// Of the writes with one turn no two are under way at once.
    fn turn(write: &Self::Write) -> Uuid;

    /// Makes several writes in one transaction, each with an outcome of its own: `None` for
    /// one that has to be repeated alone.
    ///
    /// # Errors
    /// Nothing was written, for any of them. What the server refuses may be the fault of a
    /// single one.
    fn together(
        &self,
        writes: &[&Self::Write],
    ) -> impl Future<Output = Result<Vec<Option<Self::Done>>, DbError>> + Send;

    /// Makes one write in a transaction of its own.
    ///
    /// # Errors
    /// Nothing was written, unless the error [is uncertain](DbError::is_uncertain).
    fn alone(
        &self,
        write: &Self::Write,
    ) -> impl Future<Output = Result<Self::Done, DbError>> + Send;
}

/// How many writes may go alone over the connections of one pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Alone(Arc<Semaphore>);

impl Alone {
    /// Half of the pool's connections, and at least one. Kinds of writes that share a pool
    /// share this too.
    pub fn on(pool: &Pool) -> Self {
        Self(Arc::new(Semaphore::new((pool.max_size() / 2).max(1))))
    }
}

/// Makes writes of one kind. Cheap to clone.
pub struct GroupCommit<C: Committer> {
    committer: C,
    places: Alone,
    /// How long a caller waits.
    limit: Duration,
    state: Arc<Mutex<State<C>>>,
    tickets: Arc<AtomicU64>,
}

struct State<C: Committer> {
    gathered: VecDeque<Gathered<C>>,
    transactions: usize,
    /// The turns that are taken.
    turns: HashSet<Uuid>,
    /// The turns whose last write failed although it was alone.
    apart: HashSet<Uuid>,
}

struct Gathered<C: Committer> {
    ticket: u64,
    since: Instant,
    write: C::Write,
    outcome: oneshot::Sender<Outcome<C>>,
}

/// The error is that of a whole transaction.
type Outcome<C> = Result<<C as Committer>::Done, Arc<DbError>>;

impl<C: Committer> GroupCommit<C> {
    /// Writes by `committer`, for which callers wait up to `limit`; those that go alone have
    /// the places of `alone`.
    pub fn new(committer: C, limit: Duration, alone: Alone) -> Self {
        let state = State {
            gathered: VecDeque::new(),
            transactions: 0,
            turns: HashSet::new(),
            apart: HashSet::new(),
        };
        let (state, tickets) = (Arc::new(Mutex::new(state)), Arc::default());
        Self { committer, places: alone, limit, state, tickets }
    }

    /// The outcome, once it is committed.
    ///
    /// # Errors
    /// Nothing was written, unless the error [is uncertain](DbError::is_uncertain).
    pub async fn write(&self, write: C::Write) -> Outcome<C> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (outcome, received) = oneshot::channel();
        let since = Instant::now();
        self.lock().gathered.push_back(Gathered { ticket, since, write, outcome });
        self.begin();
        match limits::wait(self.limit, received).await {
            Ok(Ok(outcome)) => outcome,
            Err(late) if self.withdraw(ticket) => Err(Arc::new(late)),
            // Its transaction panicked, or still runs.
            Ok(Err(_)) | Err(_) => Err(Arc::new(DbError::Unconfirmed)),
        }
    }

    /// Whether a write had not begun; then it never will.
    fn withdraw(&self, ticket: u64) -> bool {
        let mut state = self.lock();
        let place = state.gathered.iter().position(|gathered| gathered.ticket == ticket);
        let withdrawn = place.and_then(|place| state.gathered.remove(place));
        drop(state);
        withdrawn.is_some()
    }

    /// Begins a transaction, unless enough are under way.
    fn begin(&self) {
        let mut state = self.lock();
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

    /// The next writes to be made together, at most one of each turn; the caller ends if there
    /// are none. Those that are kept apart begin by themselves.
    fn next(&self) -> Option<Vec<(Gathered<C>, Turn<C>)>> {
        let (mut next, mut abandoned) = (Vec::new(), Vec::new());
        let mut state = self.lock();
        for _ in 0..state.gathered.len() {
            let Some(gathered) = state.gathered.pop_front() else { break };
            let turn = C::turn(&gathered.write);
            if gathered.outcome.is_closed() {
                abandoned.push(gathered);
            } else if next.len() < TOGETHER && state.turns.insert(turn) {
                let taken = Turn { turn, state: Arc::clone(&self.state) };
                if state.apart.contains(&turn) {
                    tokio::spawn(self.clone().alone(gathered, taken));
                } else {
                    next.push((gathered, taken));
                }
            } else {
                state.gathered.push_back(gathered);
            }
        }
        if next.is_empty() {
            state.transactions -= 1;
            return None;
        }
        Some(next)
    }

    async fn commit(&self, gathered: Vec<(Gathered<C>, Turn<C>)>) {
        let writes: Vec<&C::Write> = gathered.iter().map(|(one, _)| &one.write).collect();
        let outcomes: Vec<Option<Outcome<C>>> = match self.committer.together(&writes).await {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| outcome.map(Ok)).collect(),
            Err(error) if concerns_one(&error) => writes.iter().map(|_| None).collect(),
            Err(error) => {
                let error = Arc::new(error);
                writes.iter().map(|_| Some(Err(Arc::clone(&error)))).collect()
            }
        };
        for ((gathered, turn), outcome) in gathered.into_iter().zip(outcomes) {
            match outcome {
                Some(outcome) => tell(gathered, turn, outcome),
                None => drop(tokio::spawn(self.clone().alone(gathered, turn))),
            }
        }
    }

    /// Repeats one that may have to wait, or that Postgres refuses.
    async fn alone(self, gathered: Gathered<C>, turn: Turn<C>) {
        let outcome = self.write_alone(&gathered, turn.turn).await;
        tell(gathered, turn, outcome.map_err(Arc::new));
        // The next one with this turn may have been left out meanwhile.
        self.begin();
    }

    async fn write_alone(&self, gathered: &Gathered<C>, turn: Uuid) -> Result<C::Done, DbError> {
        let left = || self.limit.saturating_sub(gathered.since.elapsed());
        // Given up before its caller gives up, who so learns that nothing was written.
        let place = limits::wait(left().mul_f32(FOR_A_PLACE), self.places.0.acquire()).await?;
        let _place = place.map_err(|_| DbError::Closed)?;
        if gathered.outcome.is_closed() {
            return Err(DbError::Unconfirmed);
        }
        // Nothing is written for a caller who has been told that it was not.
        let outcome = limits::within(left(), self.committer.alone(&gathered.write)).await;
        self.set_apart(turn, outcome.is_err());
        outcome
    }

    fn set_apart(&self, turn: Uuid, failed: bool) {
        let mut state = self.lock();
        if !failed {
            state.apart.remove(&turn);
        } else if state.apart.len() < APART {
            state.apart.insert(turn);
        } else {
            // All are failing: they may as well fail together.
            state.apart.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        lock(&self.state)
    }
}

/// Whether an error may be about one of the writes only. What concerns them all, such as a
/// missing column, looks the same as what a trigger raises for one; repeating costs at most
/// one small transaction for each.
fn concerns_one(error: &DbError) -> bool {
    error.may_blame_a_row() || error.is_conflict() || error.is_a_lock()
}

fn tell<C: Committer>(gathered: Gathered<C>, turn: Turn<C>, outcome: Outcome<C>) {
    let Gathered { write, outcome: caller, .. } = gathered;
    // Whoever hears the outcome may send the next one.
    drop((write, turn));
    // Nobody waits for it any more, perhaps.
    let _ = caller.send(outcome);
}

fn lock<C: Committer>(state: &Mutex<State<C>>) -> MutexGuard<'_, State<C>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A turn that is taken, until this is dropped.
struct Turn<C: Committer> {
    turn: Uuid,
    state: Arc<Mutex<State<C>>>,
}

impl<C: Committer> Drop for Turn<C> {
    fn drop(&mut self) {
        lock(&self.state).turns.remove(&self.turn);
    }
}

impl<C: Committer> Clone for GroupCommit<C> {
    fn clone(&self) -> Self {
        Self {
            committer: self.committer.clone(),
            places: self.places.clone(),
            limit: self.limit,
            state: Arc::clone(&self.state),
            tickets: Arc::clone(&self.tickets),
        }
    }
}

impl<C: Committer> fmt::Debug for GroupCommit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit").field("limit", &self.limit).finish_non_exhaustive()
    }
}
