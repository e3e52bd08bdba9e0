//! Lets many clients watch many jobs: one subscription to changes, reads that
//! share a statement, a view of the queue that is measured once a second, and a
//! limit on open streams per user.

mod changes;
mod config;
mod line;
mod lookup;
mod slots;

use regimen_common::db::Pool;
use regimen_common::redis::Redis;

pub use changes::{Changes, Watcher};
pub use config::WatchingConfig;
pub use line::{LineView, Lines, Place};
pub use lookup::{DetailsLookup, HistoryLookup, LookupError, Lookups, MarkLookup};
pub use slots::{WaitSlot, WaitSlots, Waiter};

/// Everything watchers use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watching {
    /// Tells of changes.
    pub changes: Changes,
    /// Whether a job changed.
    pub marks: Lookups<MarkLookup>,
    /// How a job stands.
    pub details: Lookups<DetailsLookup>,
    /// What happened to a job.
    pub histories: Lookups<HistoryLookup>,
    /// How long the line is and how fast it moves.
    pub lines: Lines,
    /// What each user holds open.
    pub slots: WaitSlots,
    /// The settings.
    pub config: WatchingConfig,
}

impl Watching {
    /// Starts the look-ups; must be called inside a Tokio runtime. Changes are
    /// heard once [`Changes::run`] runs.
    pub fn new(redis: Redis, db: Pool, config: WatchingConfig) -> Self {
        Self {
            changes: Changes::new(redis, db.clone()),
            marks: Lookups::new(db.clone()),
            details: Lookups::new(db.clone()),
            histories: Lookups::new(db.clone()),
            lines: Lines::new(db),
            slots: WaitSlots::new(config.streams_per_user),
            config,
        }
    }
}
