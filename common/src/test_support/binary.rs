//! The workspace's real binaries as child processes, for black-box tests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::time::{Instant, sleep};

use super::process::{DEADLINE, LOOK_EVERY, Process};

/// What a child inherits from the test's environment. The test sets everything else, so
/// that a developer's settings have no effect.
const PASSED_ON: [&str; 4] = ["PATH", "TMPDIR", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// One of our binaries, ready, with the addresses it listens on.
#[derive(Debug)]
pub struct Binary {
    /// Its process.
    pub process: Process,
    addresses: BTreeMap<String, String>,
}

impl Binary {
    /// Starts `name` (such as `regimen-ingress`) with these variables and waits until it
    /// is ready, which it reports through `ADDRESS_FILE`.
    pub async fn start<K, V>(name: &str, env: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let process = Process::spawn(name, env);
        Self::when_ready(process).await
    }

    /// Waits until a process that [`Process::spawn`] started is ready.
    pub async fn when_ready(mut process: Process) -> Self {
        let file = process.address_file();
        let deadline = Instant::now() + DEADLINE;
        // The file appears by a rename, so it is complete.
        while !file.exists() {
            if !process.is_running() {
                let status = process.wait_exit().await;
                panic!("{} ended before it was ready: {status}", process.name());
            }
            assert!(Instant::now() < deadline, "{} does not become ready", process.name());
            sleep(LOOK_EVERY).await;
        }
        let text = std::fs::read_to_string(&file).expect("the address file");
        let addresses = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Self { process, addresses }
    }

    /// The value it wrote under `key`, such as `INGRESS_URL` or `METRICS_URL`.
    pub fn address(&self, key: &str) -> &str {
        self.addresses.get(key).unwrap_or_else(|| {
            let known: Vec<_> = self.addresses.keys().collect();
            panic!("{} told no {key}, only {known:?}", self.process.name())
        })
    }
}

impl Process {
    /// Starts one of the workspace's binaries with these variables and no
    /// others, without waiting for it.
    pub fn spawn<K, V>(name: &str, env: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::spawn_with(name, &[], env)
    }

    /// The same with arguments, for commands such as `regimen-worker migrate`.
    pub fn spawn_with<K, V>(
        name: &str,
        args: &[&str],
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::spawn_through(
            name,
            |program| {
                let mut command = Command::new(program);
                command.args(args);
                command
            },
            env,
        )
    }

    /// The same through the command that `through` makes from the binary's path, such as
    /// a shell that sets limits.
    pub fn spawn_through<K, V>(
        name: &str,
        through: impl FnOnce(&Path) -> Command,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let mut command = through(&find(name));
        command.env_clear();
        for variable in PASSED_ON {
            if let Some(value) = std::env::var_os(variable) {
                command.env(variable, value);
            }
        }
        command.envs(env);
        Self::start_with(name, command, |command, folder| {
            command.env("ADDRESS_FILE", folder.join("addresses"));
        })
    }

    fn address_file(&self) -> PathBuf {
        self.file("addresses")
    }
}

/// The binary of the running test's build: tests are in `target/<profile>/deps`.
fn find(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let path = test.parent().and_then(|deps| deps.parent()).map(|profile| profile.join(name));
    path.filter(|path| path.exists()).unwrap_or_else(|| {
        panic!("there is no binary {name} beside this test; run `cargo build --workspace --bins`")
    })
}
