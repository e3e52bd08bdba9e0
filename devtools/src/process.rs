//! A child process that cannot outlive its owner: it leads its own process
//! group, is on a leash, and ends when its owner is dropped.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::leash::Leash;
use crate::signal::{self, Ending};
use crate::{Interrupted, Supervisor};

/// How long a process may take to end after the signal, before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// How many lines of its log a failure shows.
const TAIL_LINES: usize = 15;

/// Why a process failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {name}: {source}")]
    Start {
        /// Its name.
        name: String,
        /// The system's error.
        source: io::Error,
    },
    /// Its log could not be opened.
    #[error("cannot write {}: {source}", path.display())]
    Log {
        /// The log's path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It failed, or ended too early.
    #[error("{name} ended with {status}{tail}")]
    Ended {
        /// Its name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log, on separate lines.
        tail: String,
    },
    /// The system cannot tell its state.
    #[error("cannot watch {name}: {source}")]
    Watch {
        /// Its name.
        name: String,
        /// The system's error.
        source: io::Error,
    },
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The destination of a process's output.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// This program's stdout and stderr.
    Ours,
    /// This file, appended.
    Log(&'a Path),
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// How to end it; none after `detach`.
    ending: Option<Ending>,
    log: Option<PathBuf>,
    /// Until it has ended or is detached.
    leash: Option<Leash>,
}

impl Process {
    /// Starts `command` in its own process group, with no input.
    ///
    /// # Errors
    /// It cannot be started, or its log cannot be opened.
    pub fn start(
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
        let failed = |source| ProcessError::Start { name: name.to_owned(), source };
        let child = command.spawn().map_err(failed)?;
        let mut process =
            Self { name: name.to_owned(), child, ending: Some(ending), log, leash: None };
        process.leash = Some(Leash::hold(process.id(), ending).map_err(|source| {
            signal::kill(process.id());
            failed(source)
        })?);
        Ok(process)
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    /// It cannot be started, fails, or the program is interrupted.
    pub fn run(
        supervisor: &impl Supervisor,
        name: &str,
        command: Command,
        output: Output<'_>,
    ) -> Result<(), ProcessError> {
        let mut process = Self::start(name, command, output, Ending::Terminate)?;
        let status = process.wait(supervisor)?;
        if status.success() { Ok(()) } else { Err(process.ended(status)) }
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends, for any reason.
    ///
    /// # Errors
    /// The program was interrupted, or the process cannot be watched.
    pub fn wait(&mut self, supervisor: &impl Supervisor) -> Result<ExitStatus, ProcessError> {
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            supervisor.pause()?;
        }
    }

    /// # Errors
    /// It has ended although it must keep running.
    pub fn must_run(&mut self) -> Result<(), ProcessError> {
        match self.status()? {
            Some(status) => Err(self.ended(status)),
            None => Ok(()),
        }
    }

    /// How it ended, if it has ended since the last call.
    pub fn ended_meanwhile(&mut self) -> Option<ProcessError> {
        self.leash.as_ref()?;
        self.must_run().err()
    }

    /// Lets it continue after this program has ended.
    pub fn detach(&mut self) {
        self.leash = None;
        self.ending = None;
    }

    /// Sends the signal to end, without waiting, so that several processes can end at the
    /// same time.
    pub fn ask_to_end(&self) {
        if self.leash.is_some()
            && let Some(ending) = self.ending
        {
            ending.ask(self.id());
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        let status = self
            .child
            .try_wait()
            .map_err(|source| ProcessError::Watch { name: self.name.clone(), source })?;
        if status.is_some() {
            self.leash = None;
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
        // A suspended process would not react to it.
        if self.leash.is_some() {
            signal::thaw(self.id());
        }
        let deadline = Instant::now() + GRACE;
        while self.leash.is_some() && Instant::now() < deadline {
            if !matches!(self.status(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.leash.is_some() {
            signal::kill(self.id());
            let _ = self.child.wait();
        } else if self.ending == Some(Ending::Kill) {
            // Its children may still be running in its group.
            Ending::Kill.ask(self.id());
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

/// The last lines of a log, on separate lines, and the log's path.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
    let shown: String = last.map(|line| format!("\n  | {line}")).collect();
    format!("; the end of {} says:{shown}", path.display())
}
