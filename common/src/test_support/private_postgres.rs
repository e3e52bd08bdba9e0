//! A PostgreSQL of one test's own, for tests that kill or restart it.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::process::{DEADLINE, Process};
use super::signal;
use crate::db;

/// How often a starting server is tried.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// How often a port that was free a moment ago may turn out taken.
const PORT_TRIES: u32 = 5;

/// A server with its own data and port, empty but for `postgres`. It keeps
/// both over a restart. Gone with the value.
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: PathBuf,
    account: Option<Account>,
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

/// Whom it runs as when we are root, which PostgreSQL refuses to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl PrivatePostgres {
    /// Creates the data and starts the server; returns when it answers.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder for PostgreSQL");
        let account = account().await;
        if let Some(Account { uid, gid }) = account {
            chown(folder.path(), Some(uid), Some(gid)).expect("handing PostgreSQL its folder");
        }
        let mut server = Self { programs: programs(), account, folder, port: 0, process: None };
        server.create_data().await;
        for _ in 0..PORT_TRIES {
            server.port = super::free_port();
            if server.serve().await {
                return server;
            }
        }
        panic!("every port tried for a private PostgreSQL was taken meanwhile");
    }

    /// Its URL; stays the same over restarts.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Its URL, for our own functions.
    pub fn secret_url(&self) -> SecretString {
        SecretString::from(self.url())
    }

    /// SIGKILL to the server and each of its sessions: as if its machine lost
    /// power, except that what the system had taken to write stays.
    pub async fn kill9(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // Stopped first, so that no session is born meanwhile; they lead groups
        // of their own and would otherwise answer for a moment longer.
        process.stop();
        for session in children(process.id()).await {
            signal::kill(session);
        }
        process.kill9().await;
    }

    /// An orderly stop that throws its clients out ("fast shutdown").
    pub async fn shut_down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.interrupt();
            process.wait_exit().await;
        }
    }

    /// Starts it again after [`Self::kill9`] or [`Self::shut_down`]; first
    /// stops it when it still runs. Returns when it answers.
    pub async fn restart(&mut self) {
        self.shut_down().await;
        assert!(self.serve().await, "somebody took the port of a private PostgreSQL");
    }

    async fn create_data(&self) {
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(self.data()).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        let mut process = Process::start("initdb", initdb);
        let status = process.wait_exit().await;
        assert!(status.success(), "initdb failed: {status}\n{}", process.tail());
    }

    /// Starts the server on its port; false when the port is taken.
    async fn serve(&mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let url = self.secret_url();
        let mut process = self.launch();
        // Ready is who answers a query, not who merely listens.
        while db::connect(&url, "regimen-test").await.is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL does not answer\n{}", process.tail());
            if !process.is_running() {
                let output = process.output();
                if output.contains("Address already in use") {
                    return false;
                }
                // After a SIGKILL its own children take a moment to notice.
                let lingering = output.contains("is still in use")
                    || output.contains("lock file \"postmaster.pid\" already exists");
                assert!(lingering, "PostgreSQL ended\n{}", process.tail());
                process = self.launch();
            }
            sleep(TRY_EVERY).await;
        }
        self.process = Some(process);
        true
    }

    fn launch(&self) -> Process {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        // A killed process loses nothing the system has taken; only a machine
        // that dies would, so syncing to disk is left out.
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"] {
            postgres.arg("-c").arg(setting);
        }
        Process::start("postgres", postgres)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// The processes `parent` has started.
async fn children(parent: u32) -> Vec<u32> {
    let all = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().await;
    let all = all.expect("the list of processes");
    String::from_utf8_lossy(&all.stdout)
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            let (pid, of) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            (of == parent).then_some(pid)
        })
        .collect()
}

/// The folder of `initdb` and `postgres`: `REGIMEN_TEST_POSTGRES_BIN`, or
/// where Debian puts the newest version, or somewhere in `PATH`.
fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("REGIMEN_TEST_POSTGRES_BIN") {
        return folder.into();
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    versions.sort();
    let debian = versions.pop().map(|(_, folder)| folder.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian.into_iter().chain(std::env::split_paths(&path)).find(|folder| has_initdb(folder)).expect(
        "this test starts a PostgreSQL of its own: set REGIMEN_TEST_POSTGRES_BIN to the folder \
         of initdb, or run the tests through `cargo xtask test`, which does",
    )
}

fn has_initdb(folder: &Path) -> bool {
    folder.join("initdb").exists()
}

/// The account to step down to: none when we are not root.
pub(super) async fn account() -> Option<Account> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let name = std::env::var("REGIMEN_TEST_POSTGRES_USER").unwrap_or_default();
    let name = if name.is_empty() { "postgres" } else { &name };
    Some(Account { uid: id("-u", name).await, gid: id("-g", name).await })
}

async fn id(option: &str, name: &str) -> u32 {
    let output = Command::new("id").args([option, name]).output().await.expect("running `id`");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| {
        panic!("there is no user {name} to run PostgreSQL as; set REGIMEN_TEST_POSTGRES_USER")
    })
}
