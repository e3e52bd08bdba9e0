//! Signals to other processes, and what the system tells of them. A process
//! that is gone already is no failure.

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

/// How a process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM to the whole process group.
    Terminate,
    /// SIGINT to the process alone: PostgreSQL's fast shutdown, which does not
    /// wait for its clients to leave.
    Interrupt,
    /// SIGKILL to the whole process group.
    Kill,
}

impl Ending {
    /// Asks the process, which leads a group of its own, to end. One that has
    /// ended already is no error.
    pub fn ask(self, pid: u32) {
        let Some(pid) = to_pid(pid) else { return };
        // The only failure left is that it is gone, which is what is wanted.
        let _ = match self {
            Self::Terminate => kill_process_group(pid, Signal::TERM),
            Self::Interrupt => kill_process(pid, Signal::INT),
            Self::Kill => kill_process_group(pid, Signal::KILL),
        };
    }
}

/// Asks a process alone, not its group, to end.
pub fn terminate(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Ends a process and its group without asking.
pub fn kill(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Ends a PostgreSQL server at once, without a last checkpoint: its immediate
/// shutdown. What was committed is found in its log at the next start.
pub fn quit(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process(pid, Signal::QUIT);
    }
}

/// Makes a child of ours stand still, as a machine that is starved or moved
/// does. Returns once it does; false when it has ended instead.
pub fn freeze(pid: u32) -> bool {
    let Some(pid) = to_pid(pid) else { return false };
    let _ = kill_process_group(pid, Signal::STOP);
    let change = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(pid), change).ok().flatten();
    status.is_some_and(|status| status.stopped())
}

/// Lets a process that stands still go on.
pub fn thaw(pid: u32) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process_group(pid, Signal::CONT);
    }
}

/// Whether a process with this id runs. One that has ended and only waits for
/// its parent to take note does not count.
pub fn is_running(pid: u32) -> bool {
    let Some(known) = to_pid(pid) else { return false };
    if rustix::process::test_kill_process(known) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    !is_zombie(pid)
}

/// The command line a process shows to others, as one line.
pub fn command_line(pid: u32) -> Option<String> {
    if let Ok(raw) = std::fs::read(format!("/proc/{pid}/cmdline")) {
        let line = String::from_utf8_lossy(&raw).replace(['\0', '\n'], " ");
        return Some(line.trim().to_owned());
    }
    ps(pid, "command=")
}

/// The processes that `pid` has started and that still run.
pub fn children(pid: u32) -> Vec<u32> {
    let of_this = |(child, parent)| (parent == pid && is_running(child)).then_some(child);
    all().into_iter().filter_map(of_this).collect()
}

/// Every process and the one that started it, or took it over.
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

/// The state, the parent's id and more (proc(5), /proc/PID/stat). What stands
/// before is the command's name in parentheses, with any character in it.
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
