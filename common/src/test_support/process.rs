//! A child process of a test: its output is kept for the failure report,
//! signals are sent by name, and it cannot outlive the test.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use regimen_devtools::process::{self, Output};
use regimen_devtools::signal::{self, Ending};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The time limit of any wait for a child. Generous, because a loaded machine is not a
/// failure.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

/// The polling interval.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How many lines of its output a failure shows.
const TAIL_LINES: usize = 60;

/// A running child. Dropping the value kills it with its group; if the test is failing,
/// its output is printed.
#[derive(Debug)]
pub struct Process {
    child: process::Process,
    log: PathBuf,
    /// The child's own folder, unless the caller manages one.
    folder: Option<TempDir>,
}

impl Process {
    /// Starts `command` in its own process group, with no input and its output in a file.
    pub fn start(name: &str, command: Command) -> Self {
        Self::start_with(name, command, |_, _| {})
    }

    /// The same for a command that needs the path of the child's folder.
    pub(super) fn start_with(
        name: &str,
        mut command: Command,
        prepare: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder for a child");
        prepare(&mut command, folder.path());
        let log = folder.path().join("output.log");
        let child = process::Process::start(name, command, Output::Log(&log), Ending::Kill)
            .unwrap_or_else(|error| panic!("{error}"));
        Self { child, log, folder: Some(folder) }
    }

    /// Takes over a child that writes to `log`.
    pub(super) fn of(child: process::Process, log: PathBuf) -> Self {
        Self { child, log, folder: None }
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> &str {
        self.child.name()
    }

    /// A file in its folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        let folder = self.folder.as_ref().expect("a child with a folder of its own");
        folder.path().join(name)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: a crash. Returns when it has ended.
    pub async fn kill9(&mut self) {
        signal::kill(self.id());
        self.wait_exit().await;
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        signal::terminate(self.id());
    }

    /// SIGINT, without waiting.
    pub fn interrupt(&self) {
        Ending::Interrupt.ask(self.id());
    }

    /// SIGSTOP: suspends it, like a long pause of its machine, until [`Process::cont`].
    /// Returns when it is suspended.
    pub fn stop(&self) {
        assert!(signal::freeze(self.id()), "{} was to be stopped, but has ended", self.name());
    }

    /// SIGCONT: resumes it.
    pub fn cont(&self) {
        signal::thaw(self.id());
    }

    /// Waits until it ends, for any reason.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            let seconds = DEADLINE.as_secs();
            assert!(Instant::now() < deadline, "{} did not end within {seconds} s", self.name());
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.status().expect("the state of a child")
    }

    /// Its output so far, stdout and stderr in the order they were written.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of its output, each line prefixed with its name.
    pub(super) fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).fold(
            String::new(),
            |mut text, line| {
                let _ = writeln!(text, "  {} | {line}", self.name());
                text
            },
        )
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("output of {}:\n{}", self.name(), self.tail());
        }
    }
}
