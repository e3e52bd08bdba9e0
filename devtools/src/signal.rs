//! Signals to other processes, and queries about them. That a process has ended
//! is no error.

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

/// How to end a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM to the whole process group.
    Terminate,
    /// SIGINT to the process alone: PostgreSQL's fast shutdown, which does not wait for
    /// clients to disconnect.
    Interrupt,
    /// SIGKILL to the whole process group.
    Kill,
}

impl Ending {
    /// Sends the signal to the process, which leads its own process group. It is no error
    /// if it has ended.
    pub fn ask(self, pid: u32) {
        let Some(pid) = to_pid(pid) else { return };
        // The only possible failure is that it has ended already.
        let _ = match self {
            Self::Terminate => kill_process_group(pid, Signal::TERM),
            Self::Interrupt => kill_process(pid, Signal::INT),
            Self::Kill => kill_process_group(pid, Signal::KILL),
        };
    }
}

/// Sends SIGTERM to a process alone, not its group.
pub fn terminate(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Kills a process and its group.
pub fn kill(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Ends a PostgreSQL server at once, without a last checkpoint: its immediate shutdown.
/// The next start recovers the commits from its log.
pub fn quit(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process(pid, Signal::QUIT);
    }
}

/// Suspends a child, like a starved or migrated machine. Returns when it is suspended;
/// false when it has ended instead.
pub fn freeze(pid: u32) -> bool {
    let Some(pid) = to_pid(pid) else { return false };
    let _ = kill_process_group(pid, Signal::STOP);
    let change = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(pid), change).ok().flatten();
    status.is_some_and(|status| status.stopped())
}

/// Resumes a suspended process.
pub fn thaw(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process_group(pid, Signal::CONT);
    }
}

/// Whether a process with this id runs. A zombie does not count.
pub fn is_running(pid: u32) -> bool {
    let Some(known) = to_pid(pid) else { return false };
    if rustix::process::test_kill_process(known) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    !is_zombie(pid)
}

/// The command line of a process, as one line.
pub fn command_line(pid: u32) -> Option<String> {
    if let Ok(raw) = std::fs::read(format!("/proc/{pid}/cmdline")) {
        let line = String::from_utf8_lossy(&raw).replace(['\0', '\n'], " ");
        return Some(line.trim().to_owned());
    }
    ps(pid, "command=")
}

/// The running child processes of `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    let of_this = |(child, parent)| (parent == pid && is_running(child)).then_some(child);
    all().into_iter().filter_map(of_this).collect()
}

/// Every process and its parent.
fn all() -> Vec<(u32, u32)> {
    if let Ok(entries) = std::fs::read_dir("/proc") {
        let parent = |pid| status(pid)?.split_whitespace().nth(1)?.parse().ok();
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        return pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    }
    let pair = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let listed = output(&["-A", "-o", "pid=,ppid="]).unwrap_or_default();
    listed.lines().filter_map(pair).collect()
}

fn is_zombie(pid: u32) -> bool {
    status(pid).or_else(|| ps(pid, "stat=")).is_some_and(|status| status.starts_with('Z'))
}

/// The state, the parent's id and more (proc(5), /proc/PID/stat). The command's name
/// precedes them in parentheses and can contain any character.
fn status(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().to_owned())
}

/// Columns of `ps`, for systems without /proc.
fn ps(pid: u32, columns: &str) -> Option<String> {
    output(&["-o", columns, "-p", &pid.to_string()])
}

fn output(args: &[&str]) -> Option<String> {
    let output = std::process::Command::new("ps").args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}

fn to_pid(pid: u32) -> Option<Pid> {
    // 0 and 1 would address our own group and the whole system.
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}
