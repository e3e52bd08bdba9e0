//! Time limits of Postgres statements.
//!
//! Every statement has a limit on the client, and a slightly shorter one on the
//! server. A request also has [a budget](within): the waits of all its
//! statements add up to at most that.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::error::{Asked, DbError};

/// What the connections of one pool may be asked.
#[derive(Debug, Clone, Copy)]
pub struct StatementLimits {
    /// For getting a connection and for each statement, where nothing else is said.
    pub usual: Duration,
    /// The longest that [`super::Pool::within`] may ask for. The server itself
    /// ends what takes nearly as long.
    pub longest: Duration,
    /// How long the server lets a statement wait for a lock. Shorter than the
    /// others, so that a table that somebody locked is told from a dead server.
    pub lock: Duration,
}

impl StatementLimits {
    /// Whoever waits is a client of ours.
    pub const REQUEST: Self = Self {
        usual: Duration::from_secs(5),
        longest: Duration::from_secs(5),
        lock: Duration::from_secs(4),
    };

    /// Nobody waits; what is written is kept and tried again.
    pub const WORK: Self = Self {
        usual: Duration::from_secs(10),
        longest: Duration::from_secs(10),
        lock: Duration::from_secs(4),
    };

    /// When the server ends a statement, so that its answer comes before we stop listening.
    pub(super) fn on_the_server(&self) -> Duration {
        self.longest - self.longest / 10
    }
}

/// For claims: a worker must not stand still for long behind one connection.
pub const CLAIM: Duration = Duration::from_secs(5);
/// For the question whether Postgres takes writes.
pub const PROBE: Duration = Duration::from_secs(2);

tokio::task_local! {
    /// How long the work of this task may still wait for Postgres.
    static LEFT: Cell<Duration>;
}

/// Runs `work`, which may wait for Postgres for `budget` in all. What it does
/// beside that does not count, nor what it leaves to other tasks.
pub async fn within<F: Future>(budget: Duration, work: F) -> F::Output {
    LEFT.scope(Cell::new(budget), work).await
}

/// Waits for what somebody else asks Postgres, as long as a request may.
///
/// # Errors
/// It took too long.
pub async fn wait<F: Future>(work: F) -> Result<F::Output, DbError> {
    let limit = left(StatementLimits::REQUEST.usual);
    let _wait = Wait::begin();
    let done = tokio::time::timeout(limit, work).await;
    done.map_err(|_| DbError::TimedOut { asked: Asked::Step, limit })
}

/// How long the caller may wait now, when it would wait for `limit` at most.
pub(super) fn left(limit: Duration) -> Duration {
    LEFT.try_with(|left| left.get().min(limit)).unwrap_or(limit)
}

/// One wait; what it took is taken from the budget when it ends.
pub(super) struct Wait(Instant);

impl Wait {
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // Without a budget there is nothing to take from.
        let _ = LEFT.try_with(|left| left.set(left.get().saturating_sub(self.0.elapsed())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn waits_add_up_and_nothing_else_does() {
        assert_eq!(left(5 * SECOND), 5 * SECOND);
        within(3 * SECOND, async {
            assert_eq!(left(5 * SECOND), 3 * SECOND);
            assert_eq!(left(SECOND), SECOND);
            tokio::time::sleep(10 * SECOND).await;
            assert_eq!(left(5 * SECOND), 3 * SECOND);
            for _ in 0..2 {
                let _wait = Wait::begin();
                tokio::time::sleep(SECOND).await;
            }
            assert_eq!(left(5 * SECOND), SECOND);
            let _wait = Wait::begin();
            tokio::time::sleep(10 * SECOND).await;
        })
        .await;
        assert_eq!(left(5 * SECOND), 5 * SECOND);
    }
}
