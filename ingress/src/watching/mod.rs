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

/// The dependencies of watching. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watching {
    /// Job changes.
    pub changes: Changes,
    /// The versions of jobs.
    pub marks: Lookups<MarkLookup>,
    /// The details of jobs.
    pub details: Lookups<DetailsLookup>,
    /// The events of jobs.
    pub histories: Lookups<HistoryLookup>,
    /// The length and pace of the queues.
    pub lines: Lines,
    /// The open requests of each user.
    pub slots: WaitSlots,
    /// The settings.
    pub config: WatchingConfig,
}

impl Watching {
    /// Starts the look-ups; must be called inside a Tokio runtime. Changes arrive once
    /// [`Changes::run`] runs.
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
