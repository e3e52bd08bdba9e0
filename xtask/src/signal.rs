//! Signals, both ways: noticing Ctrl-C, and ending other processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Somebody asked this program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Notes that this program was asked to stop, so that it can end its children first.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// From now on Ctrl-C, SIGTERM and SIGHUP are only noted.
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
    /// This program was asked to stop.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }
}

/// How a process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGTERM to the whole process group.
    Terminate,
    /// SIGINT to the process alone: PostgreSQL's fast shutdown, which does not
    /// wait for its clients to leave.
    Interrupt,
}

impl Ending {
    /// Asks the process, which leads a group of its own, to end. One that has
    /// ended already is no error.
    pub(crate) fn ask(self, pid: u32) {
        let Some(pid) = to_pid(pid) else { return };
        // The only failure left is that it is gone, which is what is wanted.
        let _ = match self {
            Self::Terminate => kill_process_group(pid, Signal::TERM),
            Self::Interrupt => kill_process(pid, Signal::INT),
        };
    }

    /// The word for it in the leash's protocol.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Interrupt => "interrupt",
        }
    }

    /// The ending a word of the leash's protocol stands for.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Terminate, Self::Interrupt].into_iter().find(|ending| ending.word() == word)
    }
}

/// Asks a process alone, not its group, to end.
pub(crate) fn terminate(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Ends a process and its group without asking.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Ends a PostgreSQL server at once, without a last checkpoint: its immediate
/// shutdown. What was committed is found in its log at the next start.
pub(crate) fn quit(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process(pid, Signal::QUIT);
    }
}

/// Makes a process stand still, as a machine that is starved or moved does.
pub(crate) fn freeze(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process_group(pid, Signal::STOP);
    }
}

/// Lets a process that stands still go on.
pub(crate) fn thaw(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process_group(pid, Signal::CONT);
    }
}

/// Whether a process with this id runs. One that has ended and only waits for
/// its parent to take note does not count.
pub(crate) fn is_running(pid: u32) -> bool {
    let Some(known) = to_pid(pid) else { return false };
    if rustix::process::test_kill_process(known) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    !is_zombie(pid)
}

/// The command line a process shows to others, arguments parted by blanks.
pub(crate) fn command_line(pid: u32) -> Option<String> {
    if let Ok(raw) = std::fs::read(format!("/proc/{pid}/cmdline")) {
        return Some(String::from_utf8_lossy(&raw).replace('\0', " ").trim().to_owned());
    }
    ps(pid, "command=")
}

/// The process that started it, or took it over.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let status = status(pid).or_else(|| ps(pid, "stat=,ppid="))?;
    status.split_whitespace().nth(1)?.parse().ok()
}

fn is_zombie(pid: u32) -> bool {
    status(pid).or_else(|| ps(pid, "stat=")).is_some_and(|status| status.starts_with('Z'))
}

/// The state, the parent's id and more (proc(5), /proc/PID/stat). What stands
/// before is the command's name in parentheses, with any character in it.
fn status(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().to_owned())
}

/// Columns of `ps`, for systems without /proc.
fn ps(pid: u32, columns: &str) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-o", columns, "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}

fn to_pid(pid: u32) -> Option<Pid> {
    // 0 and 1 would address our own group and the whole system.
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}
