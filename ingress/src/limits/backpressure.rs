//! The size of the backlog, and its pace.
//!
//! Measured at most once a second per process; jobs accepted here since then
//! are added, so that a burst between two measurements counts. Room is reserved
//! before the work and released when the request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use regimen_common::db::DbError;
use regimen_common::db::Pool;
use regimen_common::db::jobs::{self, Backlog};

use crate::error::ApiError;
use crate::measurement::Measurement;

const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// The window of the pace.
const DRAIN_WINDOW: Duration = Duration::from_secs(60);
/// The `Retry-After` while no job ends.
const STANDSTILL_WAIT: Duration = Duration::from_secs(60);
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Decides whether more jobs may be accepted.
#[derive(Debug)]
pub struct Backpressure {
    db: Pool,
    max_queued: u32,
    measurement: Measurement<Measured>,
}

#[derive(Debug)]
struct Measured {
    backlog: Backlog,
    /// Jobs admitted since the measurement; released with their rooms.
    accepted_since: Arc<AtomicI64>,
}

/// Room for jobs, released when dropped unless they were accepted.
#[derive(Debug)]
pub struct Room {
    jobs: i64,
    accepted_since: Arc<AtomicI64>,
    kept: bool,
}

impl Room {
    /// The jobs were accepted: the room stays reserved.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.kept {
            self.accepted_since.fetch_sub(self.jobs, Ordering::Relaxed);
        }
    }
}

impl Backpressure {
    pub(super) fn new(db: Pool, max_queued: u32) -> Self {
        Self { db, max_queued, measurement: Measurement::new(MEASURE_EVERY) }
    }

    /// Reserves room for `jobs` more.
    ///
    /// # Errors
    /// 503 with the time until the surplus has drained, or when Postgres is away.
    pub async fn admit(&self, jobs: usize) -> Result<Room, ApiError> {
        let jobs = i64::try_from(jobs).unwrap_or(i64::MAX);
        let measured = self.measurement.get(|| self.measure()).await?;
        let since = measured.accepted_since.fetch_add(jobs, Ordering::Relaxed);
        let accepted_since = Arc::clone(&measured.accepted_since);
        let room = Room { jobs, accepted_since, kept: false };
        let waiting = measured.backlog.queued.saturating_add(since).saturating_add(jobs);
        let surplus = waiting - i64::from(self.max_queued);
        if surplus > 0 {
            metrics::counter!("regimen_backpressure_refused_total").increment(1);
            return Err(ApiError::ReducedCapacity {
                retry_after: wait(surplus, measured.backlog.pace),
            });
        }
        Ok(room)
    }

    fn measure(&self) -> impl Future<Output = Result<Measured, DbError>> + Send + use<> {
        let db = self.db.clone();
        async move {
            let backlog = jobs::backlog(&mut db.get().await?, DRAIN_WINDOW).await?;
            Ok(Measured { backlog, accepted_since: Arc::default() })
        }
    }
}

/// How long `surplus` jobs take at this pace per second.
fn wait(surplus: i64, pace: Option<f64>) -> Duration {
    let Some(pace) = pace else { return STANDSTILL_WAIT };
    let drained = Duration::try_from_secs_f64(surplus as f64 / pace).unwrap_or(LONGEST_WAIT);
    drained.clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_drain_rate() {
        let seconds = |surplus, pace| wait(surplus, pace).as_secs();
        assert_eq!(seconds(10, Some(1.0)), 10);
        assert_eq!(seconds(10, Some(10.0)), 1);
        assert_eq!(seconds(1, Some(1_000.0)), 1);
        assert_eq!(seconds(1_000, Some(1.0 / 60.0)), 600);
        assert_eq!(seconds(5, None), 60);
        assert_eq!(seconds(i64::MAX, Some(1e-300)), 600);
        assert_eq!(seconds(i64::MAX, Some(f64::MIN_POSITIVE)), 600);
    }
}
