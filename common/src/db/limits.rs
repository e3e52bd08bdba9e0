//! Time limits of Postgres statements.
//!
//! Every statement has a limit on the client, and a slightly shorter one on the
//! server. A request also has [a budget](within): the waits of all its
//! statements add up to at most that.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::error::{Asked, DbError};

/// The time limits of one pool.
#[derive(Debug, Clone, Copy)]
pub struct StatementLimits {
    /// The default limit of getting a connection and of each statement.
    pub usual: Duration,
    /// The highest limit that [`super::Pool::within`] accepts. The server ends statements
    /// that take nearly as long.
    pub longest: Duration,
    /// The server's limit for waiting for a lock. Shorter than the others, so that a
    /// locked table is distinguished from a dead server.
    pub lock: Duration,
}

impl StatementLimits {
    /// For requests: a client is waiting.
    pub const REQUEST: Self = Self {
        usual: Duration::from_secs(5),
        longest: Duration::from_secs(5),
        lock: Duration::from_secs(4),
    };

    /// For workers: writes are kept and retried.
    pub const WORK: Self = Self {
        usual: Duration::from_secs(10),
        longest: Duration::from_secs(10),
        lock: Duration::from_secs(4),
    };

    /// The server's limit of a statement, so that its error arrives before the client
    /// stops waiting.
    pub(super) fn on_the_server(&self) -> Duration {
        self.longest - self.longest / 10
    }
}

/// For claims: a worker must not wait long for one connection.
pub const CLAIM: Duration = Duration::from_secs(5);
/// For testing whether Postgres accepts writes.
pub const PROBE: Duration = Duration::from_secs(2);

tokio::task_local! {
    /// The time for which this task may still wait for Postgres.
    static LEFT: Cell<Duration>;
}

/// Runs `work`, which may wait for Postgres for `budget` in total. Other waits do not
/// count, and neither do other tasks.
pub async fn within<F: Future>(budget: Duration, work: F) -> F::Output {
    LEFT.scope(Cell::new(budget), work).await
}

/// Waits for a shared statement, up to `limit` and as long as a request may.
///
/// # Errors
/// It took too long.
pub async fn wait<F: Future>(limit: Duration, work: F) -> Result<F::Output, DbError> {
    let limit = left(limit);
    let _wait = Wait::begin();
    let done = tokio::time::timeout(limit, work).await;
    done.map_err(|_| DbError::TimedOut { asked: Asked::Step, limit })
}

/// How long the caller may wait now, at most `limit`.
pub(super) fn left(limit: Duration) -> Duration {
    LEFT.try_with(|left| left.get().min(limit)).unwrap_or(limit)
}

/// One wait; its duration is subtracted from the budget when it ends.
pub(super) struct Wait(Instant);

impl Wait {
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // Without a budget there is nothing to subtract.
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
