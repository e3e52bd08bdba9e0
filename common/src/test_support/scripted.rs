//! A server written in another language, run for one test, that writes its port
//! to a file.

use std::path::Path;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::languages::Language;
use super::process::{DEADLINE, LOOK_EVERY, Process};

/// A running server. Dropping the value ends it.
#[derive(Debug)]
pub struct Scripted {
    folder: TempDir,
    /// Its port on 127.0.0.1.
    pub port: u16,
    process: Process,
}

impl Scripted {
    /// Starts a script of the language's suite with its folder and `args` as arguments.
    pub async fn start(language: &Language, script: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder for a script");
        let mut command = language.script(script);
        command.arg(folder.path()).args(args);
        let mut server = Self { folder, port: 0, process: Process::start(script, command) };
        server.port = server.when_there("port").await.parse().expect("the port of a script");
        server
    }

    /// The text of a file the server wrote.
    pub fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }

    /// The same, waiting until it exists. The test fails if the server ends without
    /// having written it, or takes too long.
    pub async fn when_there(&mut self, name: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            // Checked before the file: what an ended server wrote is complete.
            let running = self.process.is_running();
            if let Some(text) = self.file(name) {
                return text;
            }
            let script = self.process.name();
            assert!(running, "{script} ended without writing {name}");
            assert!(
                Instant::now() < deadline,
                "{script} wrote no {name} within {} s",
                DEADLINE.as_secs()
            );
            sleep(LOOK_EVERY).await;
        }
    }

    /// The folder it was given.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
