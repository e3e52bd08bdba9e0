//! How much is waiting, and how fast it drains.
//!
//! Measured at most once a second and process; jobs accepted here since then
//! are added, so that a burst between two measurements is seen.

use std::time::Duration;

use deadpool_postgres::Pool;
use regimen_common::db::DbError;
use regimen_common::db::jobs::{self, Backlog};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::ApiError;

const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// The drain rate is that of the last minute.
const DRAIN_WINDOW: Duration = Duration::from_secs(60);
/// What a client is told while nothing drains at all.
const STANDSTILL_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Decides whether more may be accepted.
#[derive(Debug)]
pub struct Backpressure {
    db: Pool,
    max_queued: u32,
    latest: Mutex<Option<Measured>>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    backlog: Backlog,
    at: Instant,
    accepted_since: i64,
}

impl Backpressure {
    pub(super) fn new(db: Pool, max_queued: u32) -> Self {
        Self { db, max_queued, latest: Mutex::new(None) }
    }

    /// Lets `jobs` more in.
    ///
    /// # Errors
    /// 503 with the time the surplus takes to drain, or when Postgres is away.
    pub async fn admit(&self, jobs: usize) -> Result<(), ApiError> {
        let more = i64::try_from(jobs).unwrap_or(i64::MAX);
        let mut latest = self.latest.lock().await;
        let mut measured = match *latest {
            Some(measured) if measured.at.elapsed() < MEASURE_EVERY => measured,
            _ => self.measure().await?,
        };
        let waiting = measured.backlog.queued + measured.accepted_since + more;
        let surplus = waiting - i64::from(self.max_queued);
        if surplus > 0 {
            *latest = Some(measured);
            metrics::counter!("regimen_backpressure_refused_total").increment(1);
            return Err(ApiError::ReducedCapacity {
                retry_after: wait(surplus, measured.backlog.finished),
            });
        }
        measured.accepted_since += more;
        *latest = Some(measured);
        Ok(())
    }

    async fn measure(&self) -> Result<Measured, DbError> {
        let client = self.db.get().await?;
        // One more than the limit says enough: the index is not read to its end.
        let limit = i64::from(self.max_queued) + 1;
        let backlog = jobs::backlog(&client, limit, DRAIN_WINDOW).await?;
        Ok(Measured { backlog, at: Instant::now(), accepted_since: 0 })
    }
}

/// How long `surplus` jobs take at the pace of `finished` a window.
fn wait(surplus: i64, finished: i64) -> Duration {
    let (Ok(surplus), Ok(finished)) = (u32::try_from(surplus), u32::try_from(finished)) else {
        return LONGEST_WAIT;
    };
    match finished {
        0 => STANDSTILL_WAIT,
        finished => (DRAIN_WINDOW * surplus / finished).clamp(Duration::from_secs(1), LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_drain_rate() {
        let seconds = |surplus, finished| wait(surplus, finished).as_secs();
        assert_eq!(seconds(10, 60), 10);
        assert_eq!(seconds(10, 600), 1);
        assert_eq!(seconds(1, 60_000), 1);
        assert_eq!(seconds(1_000, 1), 600);
        assert_eq!(seconds(5, 0), 60);
        assert_eq!(seconds(i64::MAX, 1), 600);
    }
}
