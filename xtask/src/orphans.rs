//! Processes that tests left running. On Linux they become children of this
//! program when their parent ends, so that it can report and end them;
//! elsewhere they are not found.

use std::time::{Duration, Instant};

use crate::session::{LOOK_AGAIN, Session};
use regimen_devtools::signal;

/// From now on, descendants whose parent ends become children of this process.
#[cfg(target_os = "linux")]
pub(crate) fn adopt() {
    // Any id works: the call only distinguishes "some" and "none".
    let ourselves = Some(rustix::process::getpid());
    // Refused only by kernels older than 3.4; then no orphans are found.
    let _ = rustix::process::set_child_subreaper(ourselves);
}

/// Not available on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn adopt() {}

/// How long one may take to end by itself, as the leash of a killed program does.
const MOMENT: Duration = Duration::from_secs(1);

/// Ends all child processes and reports them.
pub(crate) fn end(session: &Session) {
    let deadline = Instant::now() + MOMENT;
    while Instant::now() < deadline && !signal::children(std::process::id()).is_empty() {
        std::thread::sleep(LOOK_AGAIN);
    }
    loop {
        let left = signal::children(std::process::id());
        if left.is_empty() {
            return;
        }
        for pid in left {
            let line = signal::command_line(pid).unwrap_or_default();
            session.say(format_args!("ending a process that was left behind: {pid} {line}"));
            signal::kill(pid);
            // A killed process ends soon; then its children become children of this one.
            while signal::is_running(pid) {
                std::thread::yield_now();
            }
        }
    }
}
