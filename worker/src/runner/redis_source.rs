//! Takes ids from two lists in Redis: by weight while there is a backlog,
//! otherwise by blocking on the lists until an id is pushed.
//!
//! Invariant: a popped id is returned or put back. A drain, or a queue that is
//! paused or resumed, wakes the source with its own wake-up key. Unless Redis
//! does not answer, no connection is dropped on which an id may be arriving.

use std::time::Duration;

use regimen_common::dispatch::{List, Queue, Taken, WakeUpKey, Weights};
use regimen_common::redis::{BlockingLink, RedisError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::paused::PausedQueues;

/// How long to block at most. While it blocks, a connection answers nothing else, so a
/// silent connection is detected within this time.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// The longest wait for a reply. After Redis has failed for this long, jobs are claimed
/// from Postgres, even if Redis works for others.
const PATIENCE: Duration = Duration::from_secs(3);
/// How late the end of a blocking wait may arrive.
const LATE: Duration = Duration::from_secs(2);
/// Between two tries.
const BACKOFF: Duration = Duration::from_millis(250);
/// How long a wake-up may take.
const WAKE_UP_LIMIT: Duration = Duration::from_secs(1);

/// Why no ids could be taken.
#[derive(Debug, thiserror::Error)]
pub enum RedisSourceError {
    /// Redis refused, or the connection broke.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Redis does not answer.
    #[error("no answer from Redis")]
    NoAnswer,
}

/// Two lists, and this process's state of reading them.
#[derive(Debug)]
pub struct RedisSource {
    queue: Queue,
    paused: PausedQueues,
    drain: CancellationToken,
    lists: (List, List),
    weights: Weights,
    /// Pops so far, so that small pops keep the lists' shares.
    turn: u64,
    /// The last pop returned fewer ids than requested: the next one blocks.
    emptied: bool,
    wake_up_key: WakeUpKey,
    /// The connection that blocks.
    link: Option<BlockingLink>,
    /// Since when no ids can be taken.
    failing: Option<Instant>,
}

impl RedisSource {
    /// The two `lists` of `queue` with these weights, until `drain` is cancelled.
    pub fn new(
        queue: Queue,
        paused: PausedQueues,
        drain: CancellationToken,
        lists: (List, List),
        weights: Weights,
    ) -> Self {
        let wake_up_key = queue.wake_up_key();
        Self {
            queue,
            paused,
            drain,
            lists,
            weights,
            turn: 0,
            emptied: false,
            wake_up_key,
            link: None,
            failing: None,
        }
    }

    /// Up to `count` messages, or nothing after a wait. `None` while Redis is away: jobs
    /// are then claimed from Postgres.
    pub async fn next(&mut self, count: usize) -> Option<Taken> {
        if !self.queue.works() {
            self.link = None;
            return None;
        }
        match self.take(count).await {
            Ok(taken) => {
                self.failing = None;
                Some(taken)
            }
            Err(reason) => {
                tracing::warn!(%reason, "cannot take ids from Redis");
                self.queue.doubt();
                let since = *self.failing.get_or_insert_with(Instant::now);
                if since.elapsed() >= PATIENCE {
                    return None;
                }
                self.pause().await;
                Some(Taken::new())
            }
        }
    }

    /// Up to `count` messages, or nothing after a wait.
    ///
    /// # Errors
    /// Redis is away, or seems to be.
    pub async fn take(&mut self, count: usize) -> Result<Taken, RedisSourceError> {
        let taken = if self.emptied { self.wait(count).await } else { self.look(count).await };
        if taken.is_err() {
            // The cause may have cut the other connection too.
            self.link = None;
        }
        self.emptied = taken.as_ref().is_ok_and(|taken| taken.len() < count);
        self.picked(taken.as_ref().map_or(0, Vec::len));
        taken
    }

    /// A short wait, at most until a drain begins: before the next claim from Postgres
    /// while Redis is away.
    pub async fn pause(&self) {
        self.drain.run_until_cancelled(sleep(BACKOFF)).await;
    }

    /// Puts back ids that cannot be claimed now.
    pub async fn put_back(&self, taken: &Taken) {
        if let Err(error) = self.queue.put_back(taken).await {
            tracing::debug!(%error, "could not put ids back; the reconciler dispatches them again");
        }
    }

    /// The weights without paused lists, and the pops so far.
    pub fn shares(&self) -> (Weights, u64) {
        (self.paused.leave_out(self.lists, self.weights), self.turn)
    }

    /// Counts pops from Redis or Postgres.
    pub fn picked(&mut self, count: usize) {
        self.turn = self.turn.wrapping_add(count as u64);
    }

    async fn look(&self, count: usize) -> Result<Taken, RedisSourceError> {
        let (weights, turn) = self.shares();
        let pop = self.queue.pop(self.lists, weights, turn, count);
        Ok(timeout(PATIENCE, pop).await.map_err(|_| RedisSourceError::NoAnswer)??)
    }

    async fn wait(&mut self, count: usize) -> Result<Taken, RedisSourceError> {
        let taken = self.wait_on_link(count).await?;
        let lists = self.shares().0.order(self.lists, self.turn);
        let drained = self.drain.is_cancelled();
        let (wanted, unwanted): (Taken, Taken) =
            taken.into_iter().partition(|(list, _)| !drained && lists.contains(list));
        self.put_back(&unwanted).await;
        Ok(wanted)
    }

    async fn wait_on_link(&mut self, count: usize) -> Result<Taken, RedisSourceError> {
        let changed = self.paused.changed();
        let (weights, turn) = self.shares();
        let lists = weights.order(self.lists, turn);
        let link = match &mut self.link {
            Some(link) => link,
            none => {
                let link = timeout(PATIENCE, self.queue.blocking()).await;
                none.insert(link.map_err(|_| RedisSourceError::NoAnswer)??)
            }
        };
        let waiting = self.queue.wait(link, &lists, &self.wake_up_key, count, IDLE_WAIT);
        tokio::pin!(waiting);
        tokio::select! {
            // A connection that silently died must not block the worker.
            taken = timeout(IDLE_WAIT + LATE, &mut waiting) => {
                return Ok(taken.map_err(|_| RedisSourceError::NoAnswer)??);
            }
            () = self.drain.cancelled() => {}
            () = changed => {}
        }
        let called = async {
            self.queue.wake(&self.wake_up_key).await?;
            waiting.await
        };
        Ok(timeout(WAKE_UP_LIMIT, called).await.map_err(|_| RedisSourceError::NoAnswer)??)
    }
}
