//! Handles Ctrl-C, SIGTERM and SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regimen_devtools::Interrupted;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Notes interrupts, so that the program can end its children before it exits.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// Installs the handlers for Ctrl-C, SIGTERM and SIGHUP.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let noted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&noted))?;
        }
        Ok(Self(noted))
    }

    /// # Errors
    /// The program was interrupted.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }
}
