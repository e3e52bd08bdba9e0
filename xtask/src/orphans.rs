//! Processes that tests left behind. On Linux they become our children when
//! their parent ends, so they can be found, named and ended; elsewhere the
//! tests are on their own.

use std::time::{Duration, Instant};

use crate::session::{LOOK_AGAIN, Session};
use regimen_devtools::signal;

/// From now on, descendants whose parent ends become our children.
#[cfg(target_os = "linux")]
pub(crate) fn adopt() {
    // Any id would do: only "some" and "none" are told apart.
    let ourselves = Some(rustix::process::getpid());
    // Refused only by kernels older than 3.4; there is just less to find then.
    let _ = rustix::process::set_child_subreaper(ourselves);
}

/// From now on, descendants whose parent ends become our children.
#[cfg(not(target_os = "linux"))]
pub(crate) fn adopt() {}

/// How long one may take to end by itself, as the leash of a program does that
/// was killed.
const MOMENT: Duration = Duration::from_secs(1);

/// Ends every child of ours, and tells which there were.
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
            // A killed process goes within moments; its children become ours then.
            while signal::is_running(pid) {
                std::thread::yield_now();
            }
        }
    }
}
