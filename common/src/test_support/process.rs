//! A child process of a test: its output kept for the failure report, signals
//! by name, and no way to outlive the test.

use std::fmt::Write;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::leash::Leash;
use super::signal;

/// How long anything of a child is waited for before the test has failed.
/// Generous: a loaded machine is not a failure.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

/// How many lines of its output a failure shows.
const TAIL_LINES: usize = 60;

/// A running child. Killed, with its group, when the value is dropped; its
/// output is shown when that happens because the test failed.
#[derive(Debug)]
pub struct Process {
    pub(super) name: String,
    pub(super) child: Child,
    pid: u32,
    log: PathBuf,
    pub(super) folder: TempDir,
    leash: Option<Leash>,
}

impl Process {
    /// Starts `command` in a group of its own, with nothing to read and its
    /// output in a file. Call it within a tokio runtime.
    pub fn start(name: &str, command: Command) -> Self {
        Self::start_with(name, command, |_, _| {})
    }

    /// The same, for a command that has to know the child's own folder.
    pub(super) fn start_with(
        name: &str,
        mut command: Command,
        prepare: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder for a child");
        prepare(&mut command, folder.path());
        let log = folder.path().join("output.log");
        let stdout = File::create(&log).expect("a log file for a child");
        let stderr = stdout.try_clone().expect("a second handle of a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let pid = child.id().expect("the id of a child just started");
        let leash = Some(Leash::hold(pid));
        Self { name: name.to_owned(), child, pid, log, folder, leash }
    }

    /// The system's number for it.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// SIGKILL: the crash no process can prepare for. Returns once it is gone.
    pub async fn kill9(&mut self) {
        signal::kill(self.pid);
        self.wait_exit().await;
    }

    /// SIGTERM: asks it to end, without waiting.
    pub fn terminate(&self) {
        signal::send(self.pid, Signal::TERM);
    }

    /// SIGINT, without waiting.
    pub fn interrupt(&self) {
        signal::send(self.pid, Signal::INT);
    }

    /// SIGSTOP: it stands still, as in a long pause of its machine, until
    /// [`Process::cont`]. Returns once it does.
    pub fn stop(&self) {
        signal::stop(self.pid);
    }

    /// SIGCONT: it goes on where it was stopped.
    pub fn cont(&self) {
        signal::send(self.pid, Signal::CONT);
    }

    /// Waits for its end, however that comes.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        match timeout(DEADLINE, self.child.wait()).await {
            Ok(status) => status.expect("the exit status of a child"),
            Err(_) => panic!("{} did not end within {} s", self.name, DEADLINE.as_secs()),
        }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the state of a child").is_none()
    }

    /// All it has written so far, stdout and stderr as they came.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of its output, each line marked with its name.
    pub(super) fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).fold(
            String::new(),
            |mut text, line| {
                let _ = writeln!(text, "  {} | {line}", self.name);
                text
            },
        )
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test")]
    fn drop(&mut self) {
        signal::kill_group(self.pid);
        // The signal cannot be refused, so this ends at once.
        while matches!(self.child.try_wait(), Ok(None)) {
            std::thread::yield_now();
        }
        drop(self.leash.take());
        if std::thread::panicking() {
            eprintln!("output of {}:\n{}", self.name, self.tail());
        }
    }
}
