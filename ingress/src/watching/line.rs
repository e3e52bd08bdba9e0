//! The length and the pace of the queue: measured at most once a second for the
//! whole process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use regimen_common::db::DbError;
use regimen_common::db::Pool;
use regimen_common::db::jobs::{self, Details, Line};
use regimen_common::job::{JobClass, JobState};

use crate::measurement::Measurement;

/// How long a measurement is valid.
const FRESH: Duration = Duration::from_secs(1);
/// The window of the pace.
const WINDOW: Duration = Duration::from_secs(60);
/// Places further back are not distinguished.
const DEEPEST: i64 = 10_000;

/// Measures the queues on request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lines {
    db: Pool,
    measurement: Measurement<LineView>,
}

/// The queues at one moment.
#[derive(Debug)]
pub struct LineView {
    lines: HashMap<JobClass, Line>,
}

/// A waiting job's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// 1 is next; none while the job waits for a time.
    pub position: Option<i64>,
    /// Seconds until it probably starts; none while no job ends.
    pub eta_seconds: Option<i64>,
}

impl Lines {
    /// Measures through `db`.
    pub fn new(db: Pool) -> Self {
        Self { db, measurement: Measurement::new(FRESH) }
    }

    /// The queues, at most a second old.
    ///
    /// # Errors
    /// Postgres failed.
    pub async fn view(&self) -> Result<Arc<LineView>, Arc<DbError>> {
        let db = self.db.clone();
        let measure = || async move {
            let mut client = db.get().await?;
            Ok(LineView { lines: jobs::lines(&mut client, DEEPEST, WINDOW).await? })
        };
        self.measurement.get(measure).await
    }
}

impl LineView {
    /// The place of a waiting job; none for any other.
    pub fn place(&self, job: &Details, now: DateTime<Utc>) -> Option<Place> {
        if job.row.state != JobState::Queued {
            return None;
        }
        let line = self.lines.get(&job.class)?;
        let ahead = line.ahead(job);
        let until_due = (job.row.run_at - now).num_seconds().max(0);
        let in_line = (line.pace > 0.0).then(|| ((ahead + 1) as f64 / line.pace).ceil() as i64);
        Some(Place {
            position: (until_due == 0).then_some((ahead + 1).min(DEEPEST)),
            eta_seconds: match until_due {
                0 => in_line,
                _ => Some(until_due.max(in_line.unwrap_or(0))),
            },
        })
    }
}
