//! Ends our children when we cannot: a small process of its own that is told
//! every child's id through a pipe. When the pipe closes without those ids
//! having been taken back, this program was killed, and the leash ends them.
//!
//! Protocol, one line each: `+PID WORD` holds a process that is to be asked to
//! end as [`Ending`] says, `-PID` lets it go.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::signal::{self, Ending};

/// How long a process may take to end after it was asked, before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Our end of the pipe. Clones share it; the leash ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct Leash(Arc<Mutex<Pipe>>);

#[derive(Debug)]
struct Pipe {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Leash {
    /// Starts the leash: `program` is this very program.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg("leash")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take();
        Ok(Self(Arc::new(Mutex::new(Pipe { child, stdin }))))
    }

    /// From now on `pid` ends when this program does.
    pub(crate) fn hold(&self, pid: u32, ending: Ending) {
        self.tell(&format!("+{pid} {}\n", ending.word()));
    }

    /// `pid` has ended, or is meant to outlive this program.
    pub(crate) fn release(&self, pid: u32) {
        self.tell(&format!("-{pid}\n"));
    }

    /// The system's number for the leash itself.
    pub(crate) fn id(&self) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).child.id()
    }

    fn tell(&self, line: &str) {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stdin) = &mut pipe.stdin {
            // A leash that somebody killed cannot hold; nothing else depends on it.
            let _ = stdin.write_all(line.as_bytes());
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// The leash itself: reads until the other end closes, then ends what is held.
///
/// # Errors
/// The pipe cannot be read.
pub(crate) fn hold(input: impl BufRead) -> io::Result<()> {
    let mut held = BTreeMap::new();
    for line in input.lines() {
        note(&mut held, &line?);
    }
    for (pid, ending) in &held {
        ending.ask(*pid);
    }
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && held.keys().any(|pid| signal::is_running(*pid)) {
        std::thread::sleep(Duration::from_millis(10));
    }
    held.keys().filter(|pid| signal::is_running(**pid)).for_each(|pid| signal::kill(*pid));
    Ok(())
}

fn note(held: &mut BTreeMap<u32, Ending>, line: &str) {
    if let Some(gone) = line.strip_prefix('-') {
        if let Ok(pid) = gone.parse() {
            held.remove(&pid);
        }
    } else if let Some((pid, word)) = line.strip_prefix('+').and_then(|rest| rest.split_once(' '))
        && let (Ok(pid), Some(ending)) = (pid.parse(), Ending::from_word(word))
    {
        held.insert(pid, ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that runs for long, in a group of its own as ours are. It
    /// reads what never comes, so it ends with this one if a test fails.
    fn waiter() -> Child {
        Command::new("cat").stdin(Stdio::piped()).process_group(0).spawn().unwrap()
    }

    #[test]
    fn what_is_held_when_the_pipe_closes_is_ended() {
        let mut child = waiter();
        let pid = child.id();
        hold(format!("+{pid} terminate\n").as_bytes()).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    }

    #[test]
    fn what_was_let_go_stays() {
        let mut child = waiter();
        let pid = child.id();
        hold(format!("+{pid} interrupt\n-{pid}\n").as_bytes()).unwrap();
        assert!(signal::is_running(pid));
        signal::kill(pid);
        child.wait().unwrap();
    }

    #[test]
    fn an_ended_child_nobody_waited_for_is_not_running() {
        let mut child = waiter();
        let pid = child.id();
        // Ends once the process is a zombie; it would take GRACE and a kill otherwise.
        let started = Instant::now();
        hold(format!("+{pid} terminate\n").as_bytes()).unwrap();
        assert!(started.elapsed() < GRACE);
        assert!(!signal::is_running(pid));
        child.wait().unwrap();
    }
}
