//! A child process that cannot be forgotten: it leads a group of its own, is
//! on the leash, and ends when its owner lets go of it.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::leash::Leash;
use crate::session::Session;
use crate::signal::{self, Ending, Interrupted};

/// How long a process may take to end after it was asked, before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// How many lines of its log a failure shows.
const TAIL_LINES: usize = 15;

/// Why a process did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// It could not be started at all.
    #[error("cannot start {name}: {source}")]
    Start {
        /// What was to be started.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Its log could not be opened.
    #[error("cannot write {}: {source}", path.display())]
    Log {
        /// The log's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended, and not with success, or before it should have.
    #[error("{name} ended with {status}{tail}")]
    Ended {
        /// What ended.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log, on lines of their own.
        tail: String,
    },
    /// The system would not say how it fares.
    #[error("cannot watch {name}: {source}")]
    Watch {
        /// What was to be watched.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// We were asked to stop meanwhile.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Where a process writes.
pub(crate) enum Output<'a> {
    /// To our own stdout and stderr.
    Ours,
    /// To this file, after what is already in it.
    Log(&'a Path),
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    ending: Ending,
    log: Option<PathBuf>,
    leash: Leash,
    over: bool,
}

impl Process {
    /// Starts `command` in a group of its own, with nothing to read.
    ///
    /// # Errors
    /// It cannot be started, or its log cannot be opened.
    pub(crate) fn start(
        session: &Session,
        name: &str,
        mut command: Command,
        output: Output<'_>,
        ending: Ending,
    ) -> Result<Self, ProcessError> {
        command.stdin(Stdio::null()).process_group(0);
        let log = match output {
            Output::Ours => None,
            Output::Log(path) => {
                let (stdout, stderr) = open_log(path)?;
                command.stdout(stdout).stderr(stderr);
                Some(path.to_owned())
            }
        };
        let child = command
            .spawn()
            .map_err(|source| ProcessError::Start { name: name.to_owned(), source })?;
        session.leash.hold(child.id(), ending);
        let leash = session.leash.clone();
        Ok(Self { name: name.to_owned(), child, ending, log, leash, over: false })
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    /// It cannot be started, fails, or we are asked to stop meanwhile.
    pub(crate) fn run(
        session: &Session,
        name: &str,
        command: Command,
        output: Output<'_>,
    ) -> Result<(), ProcessError> {
        let mut process = Self::start(session, name, command, output, Ending::Terminate)?;
        let status = process.wait(session)?;
        if status.success() { Ok(()) } else { Err(process.ended(status)) }
    }

    /// The system's number for it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, however that is.
    ///
    /// # Errors
    /// We are asked to stop meanwhile, or it cannot be watched.
    pub(crate) fn wait(&mut self, session: &Session) -> Result<ExitStatus, ProcessError> {
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            session.pause()?;
        }
    }

    /// # Errors
    /// It has ended, although it was to keep running.
    pub(crate) fn must_run(&mut self) -> Result<(), ProcessError> {
        match self.status()? {
            Some(status) => Err(self.ended(status)),
            None => Ok(()),
        }
    }

    /// How it ended, if it has since this was last asked.
    pub(crate) fn ended_meanwhile(&mut self) -> Option<ProcessError> {
        if self.over {
            return None;
        }
        self.must_run().err()
    }

    /// Lets it run on after this program.
    pub(crate) fn detach(&mut self) {
        self.leash.release(self.id());
        self.over = true;
    }

    /// Asks it to end, without waiting: several can then end at the same time.
    pub(crate) fn ask_to_end(&self) {
        if !self.over {
            self.ending.ask(self.id());
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// It cannot be watched.
    pub(crate) fn status(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        let status = self
            .child
            .try_wait()
            .map_err(|source| ProcessError::Watch { name: self.name.clone(), source })?;
        if status.is_some() && !self.over {
            self.leash.release(self.id());
            self.over = true;
        }
        Ok(status)
    }

    fn ended(&self, status: ExitStatus) -> ProcessError {
        let tail = self.log.as_deref().map(tail).unwrap_or_default();
        ProcessError::Ended { name: self.name.clone(), status, tail }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.ask_to_end();
        let deadline = Instant::now() + GRACE;
        while !self.over && Instant::now() < deadline {
            if !matches!(self.status(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.over {
            signal::kill(self.id());
            let _ = self.child.wait();
            self.leash.release(self.id());
        }
    }
}

fn open_log(path: &Path) -> Result<(File, File), ProcessError> {
    let failed = |source| ProcessError::Log { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = File::options().create(true).append(true).open(path).map_err(failed)?;
    let copy = file.try_clone().map_err(failed)?;
    Ok((file, copy))
}

/// The last lines of a log, each on a line of its own, and where the rest is.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
    let shown: String = last.map(|line| format!("\n  | {line}")).collect();
    format!("; the end of {} says:{shown}", path.display())
}
