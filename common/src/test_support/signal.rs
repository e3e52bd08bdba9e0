//! Signals to children. One that is gone already is no failure.

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

/// Sends `signal` to the process.
pub(super) fn send(pid: u32, signal: Signal) {
    match kill_process(id(pid), signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("cannot send {signal:?} to process {pid}: {error}"),
    }
}

/// Kills the process.
pub(super) fn kill(pid: u32) {
    send(pid, Signal::KILL);
}

/// Kills the process and all it has started, as far as they stay in its group.
pub(super) fn kill_group(pid: u32) {
    // Best effort: this also runs while a failed test unwinds.
    let _ = kill_process_group(id(pid), Signal::KILL);
}

/// Stops the child and returns once it stands still.
pub(super) fn stop(pid: u32) {
    send(pid, Signal::STOP);
    let change = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(id(pid)), change).expect("waiting for a child to stop");
    assert!(
        status.is_some_and(|status| status.stopped()),
        "process {pid} was to be stopped, but has ended"
    );
}

fn id(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id")
}
