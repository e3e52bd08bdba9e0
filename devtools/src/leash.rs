//! Ends a child process when this program is killed: a shell reads a pipe that
//! this program holds open. If the pipe closes before the leash is dropped,
//! this program was killed, and the shell ends the child.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::signal::{self, Ending};

/// `$1` is the signal to end, `$2` its target, `$3` the group that is killed if it has
/// not ended within five seconds.
const SCRIPT: &str = r#"cat >/dev/null
kill -s "$1" -- "$2" 2>/dev/null || exit
n=0
while [ "$n" -lt 50 ] && kill -s 0 -- "-$3" 2>/dev/null; do sleep 0.1; n=$((n + 1)); done
kill -s KILL -- "-$3" 2>/dev/null"#;

/// Holds one child. Dropping it releases the child.
#[derive(Debug)]
pub struct Leash(Child);

impl Leash {
    /// From now on the shell ends `pid`, which leads its own process group, in this way
    /// if this program is killed.
    ///
    /// # Errors
    /// There is no shell.
    pub fn hold(pid: u32, ending: Ending) -> io::Result<Self> {
        let (signal, whom) = match ending {
            Ending::Terminate => ("TERM", format!("-{pid}")),
            Ending::Interrupt => ("INT", pid.to_string()),
            Ending::Kill => ("KILL", format!("-{pid}")),
        };
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "leash", signal, &whom, &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The terminal's Ctrl-C must not reach it.
            .process_group(0)
            .spawn()?;
        Ok(Self(shell))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        signal::kill(self.0.id());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// Runs for long, in a group of its own. It reads what never comes, so it
    /// ends with this process if a test fails.
    fn waiter(script: &str) -> Child {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        shell.process_group(0).spawn().unwrap()
    }

    fn end_of(mut child: Child, ending: Ending) -> Option<i32> {
        let mut leash = Leash::hold(child.id(), ending).unwrap();
        // `wait` would close it, and end the child by that.
        let _open = child.stdin.take();
        drop(leash.0.stdin.take());
        child.wait().unwrap().signal()
    }

    #[test]
    fn the_child_is_ended_as_it_wants_to_be_when_the_pipe_ends() {
        for (ending, signal) in [(Ending::Terminate, 15), (Ending::Interrupt, 2), (Ending::Kill, 9)]
        {
            assert_eq!(end_of(waiter("exec cat"), ending), Some(signal));
        }
    }

    #[test]
    fn a_child_that_does_not_listen_is_killed() {
        let mut child = waiter("trap '' TERM; echo deaf; cat");
        let mut word = [0; 4];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
        assert_eq!(end_of(child, Ending::Terminate), Some(9));
    }

    #[test]
    fn a_dropped_leash_lets_go() {
        let mut child = waiter("exec cat");
        drop(Leash::hold(child.id(), Ending::Terminate).unwrap());
        assert!(child.try_wait().unwrap().is_none());
        signal::kill(child.id());
        child.wait().unwrap();
    }
}
