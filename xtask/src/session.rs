//! What every command shares: the clock of its messages, the interrupt flag,
//! and the paths.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use regimen_devtools::{Interrupted, Supervisor};

use crate::interrupts::Interrupts;
use crate::workspace::Workspace;

/// The polling interval.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One run of a command.
pub(crate) struct Session {
    started: Instant,
    interrupts: Interrupts,
    /// The paths of the workspace and its products.
    pub(crate) workspace: Workspace,
}

/// Why a command could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The path of this program is needed to find the workspace.
    #[error("cannot tell where this program is: {0}")]
    Program(#[source] std::io::Error),
    /// Without handlers Ctrl-C would leave children behind.
    #[error("cannot listen for Ctrl-C: {0}")]
    Interrupts(#[source] std::io::Error),
}

impl Session {
    /// Starts a run.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub(crate) fn open() -> Result<Self, SessionError> {
        let interrupts = Interrupts::listen().map_err(SessionError::Interrupts)?;
        // Determined before any build, which may replace the file.
        let program = std::env::current_exe().map_err(SessionError::Program)?;
        Ok(Self { started: Instant::now(), interrupts, workspace: Workspace::of(&program) })
    }

    /// Prints progress with the time since the start, on stderr, so that stdout has only
    /// the result.
    pub(crate) fn say(&self, text: impl Display) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let mut out = std::io::stderr().lock();
        let _ = if out.is_terminal() {
            writeln!(out, "\x1b[2m[{elapsed:6.1}s]\x1b[0m {text}")
        } else {
            writeln!(out, "[{elapsed:6.1}s] {text}")
        };
    }

    /// # Errors
    /// The program was interrupted.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        self.interrupts.check()
    }

    /// Waits a moment before the next poll.
    ///
    /// # Errors
    /// The program was interrupted.
    pub(crate) fn pause(&self) -> Result<(), Interrupted> {
        self.check()?;
        std::thread::sleep(LOOK_AGAIN);
        self.check()
    }
}

impl Supervisor for Session {
    fn pause(&self) -> Result<(), Interrupted> {
        self.pause()
    }

    fn say(&self, text: impl Display) {
        self.say(text);
    }
}
