//! State that all parts of a run read: whether the load is on, and whether
//! another part has failed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::session::Session;
use regimen_devtools::Interrupted;

/// How often an interrupt is checked for.
const LOOK_UP: Duration = Duration::from_millis(50);

/// State shared by the threads of a run.
pub(super) struct Stage<'a> {
    pub(super) session: &'a Session,
    load_until: Instant,
    settled_by: Instant,
    broken: AtomicBool,
    /// Nothing is left to do.
    settled: AtomicBool,
}

impl<'a> Stage<'a> {
    /// A stage whose load begins now.
    pub(super) fn new(session: &'a Session, load: Duration, settle: Duration) -> Self {
        let load_until = Instant::now() + load;
        Self {
            session,
            load_until,
            settled_by: load_until + settle,
            broken: AtomicBool::new(false),
            settled: AtomicBool::new(false),
        }
    }

    /// Whether load and faults go on.
    ///
    /// # Errors
    /// The program was interrupted, or another part failed.
    pub(super) fn loading(&self) -> Result<bool, Interrupted> {
        self.check()?;
        Ok(Instant::now() < self.load_until)
    }

    /// Whether the time to settle goes on.
    ///
    /// # Errors
    /// The program was interrupted, or another part failed.
    pub(super) fn settling(&self) -> Result<bool, Interrupted> {
        self.check()?;
        Ok(!self.settled.load(Ordering::Relaxed) && Instant::now() < self.settled_by)
    }

    /// Waits, but not longer than the load.
    ///
    /// # Errors
    /// The program was interrupted, or another part failed.
    pub(super) fn rest(&self, time: Duration) -> Result<(), Interrupted> {
        self.rest_until((Instant::now() + time).min(self.load_until))
    }

    /// Waits, but not longer than the time to settle.
    ///
    /// # Errors
    /// The program was interrupted, or another part failed.
    pub(super) fn rest_settling(&self, time: Duration) -> Result<(), Interrupted> {
        self.rest_until((Instant::now() + time).min(self.settled_by))
    }

    /// Ends the time to settle.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Stops every part.
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    fn rest_until(&self, until: Instant) -> Result<(), Interrupted> {
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_UP));
        }
    }

    fn check(&self) -> Result<(), Interrupted> {
        self.session.check()?;
        if self.broken.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }
}
