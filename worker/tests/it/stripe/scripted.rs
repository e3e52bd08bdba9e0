//! A server in Python, run for one test, that tells its port in a file.

use std::path::Path;
use std::time::Duration;

use regimen_common::test_support::{Language, Process};
use tempfile::TempDir;

/// How often a file that another process writes is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A running server. It ends with the value.
pub(crate) struct Scripted {
    folder: TempDir,
    pub(crate) port: u16,
    _process: Process,
}

impl Scripted {
    /// Starts a script of `load-tests/stripe`; its arguments are its folder
    /// and `args`.
    pub(crate) async fn start(python: &Language, script: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = python.script(script);
        command.arg(folder.path()).args(args);
        let mut process = Process::start(script, command.into());
        let port = loop {
            if let Some(port) = read(&folder.path().join("port")) {
                break port.parse().unwrap();
            }
            assert!(process.is_running(), "{script} ended:\n{}", process.output());
            tokio::time::sleep(LOOK_EVERY).await;
        };
        Self { folder, port, _process: process }
    }

    /// The text of a file the server wrote.
    pub(crate) fn file(&self, name: &str) -> Option<String> {
        read(&self.folder.path().join(name))
    }

    /// The same, once it is there.
    pub(crate) async fn when_there(&self, name: &str) -> String {
        loop {
            if let Some(text) = self.file(name) {
                return text;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
