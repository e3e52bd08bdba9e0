//! Ends a child when the test process cannot: a shell that waits for the end
//! of a pipe we hold, and then kills the child's group. The pipe ends with this
//! process, however that ends.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::signal;

/// Waits until its input ends, then kills the group it was given.
const SCRIPT: &str = r#"cat >/dev/null; kill -s KILL -- "-$1" 2>/dev/null"#;

/// Holds one child's process group. Dropped, it lets go.
#[derive(Debug)]
pub(super) struct Leash(Child);

impl Leash {
    /// From now on the group that `pid` leads ends with this process.
    pub(super) fn hold(pid: u32) -> Self {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "leash", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0)
            .spawn();
        Self(shell.expect("a shell to hold the child"))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        signal::kill_group(self.0.id());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().unwrap()
    }

    #[test]
    fn the_child_ends_when_the_pipe_does() {
        let mut child = sleeper();
        let mut leash = Leash::hold(child.id());
        drop(leash.0.stdin.take());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_dropped_leash_lets_go() {
        let mut child = sleeper();
        drop(Leash::hold(child.id()));
        assert!(child.try_wait().unwrap().is_none());
        signal::kill_group(child.id());
        child.wait().unwrap();
    }
}
