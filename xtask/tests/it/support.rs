//! A stack in a folder of its own, and a look at its processes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Provider keys a developer may have: with one set there would be no simulator.
const PROVIDER_KEYS: [&str; 3] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"];

/// A folder for one stack.
pub(crate) struct Stack {
    folder: TempDir,
}

impl Stack {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A command of xtask on this stack.
    pub(crate) fn xtask(&self, command: &str, arguments: &[&str]) -> Command {
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        xtask.arg(command).arg("--folder").arg(self.folder.path().join("dev")).args(arguments);
        PROVIDER_KEYS.iter().for_each(|key| {
            xtask.env_remove(key);
        });
        xtask
    }

    /// What the stack tells others; none when it is not running.
    pub(crate) fn env(&self) -> Option<BTreeMap<String, String>> {
        let text = std::fs::read_to_string(self.folder.path().join("dev/env")).ok()?;
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Some(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The ids of its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let env = self.env().unwrap();
        let of = |name: &str| -> Vec<u32> {
            env[name].split(',').map(|pid| pid.parse().unwrap()).collect()
        };
        let roles = ["INGRESS_PID", "WORKER_PIDS", "SIMULATOR_PID", "REDIS_PID", "POSTGRES_PID"];
        roles.into_iter().flat_map(of).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Whatever a failed test left; a stack that has ended is no error.
        let _ = self.xtask("down", &[]).output();
    }
}

/// Runs to the end.
pub(crate) fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts and reads what it says until `wanted` has been said.
pub(crate) fn start_until(mut command: Command, wanted: &str) -> Child {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut found = false;
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        said = format!("{said}{line}\n");
        found = line.contains(wanted);
        if found {
            break;
        }
    }
    if !found {
        child.wait().unwrap();
        panic!("{wanted:?} was not said, but:\n{said}");
    }
    child
}

/// Whether the process runs; one that only waits to be noticed does not.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let state = match stat.as_deref() {
        Ok(stat) => stat.rsplit_once(") ").map_or("", |(_, rest)| rest).to_owned(),
        Err(_) if Path::new("/proc/self").exists() => String::new(),
        Err(_) => stdout(&run(ps(pid))),
    };
    !state.is_empty() && !state.starts_with('Z')
}

/// For systems without /proc.
fn ps(pid: u32) -> Command {
    let mut ps = Command::new("ps");
    ps.args(["-o", "stat=", "-p", &pid.to_string()]);
    ps
}

/// Waits until none of the processes runs.
pub(crate) fn wait_until_gone(pids: &[u32]) {
    let deadline = Instant::now() + DEADLINE;
    while let Some(pid) = pids.iter().find(|pid| runs(**pid)) {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        std::thread::yield_now();
    }
}
