//! A private PostgreSQL for tests that kill or restart it.

use std::path::Path;
use std::process::Command;

use regimen_devtools::account::Account;
use regimen_devtools::postgres::PostgresPlan;
use regimen_devtools::signal;
use secrecy::SecretString;
use tempfile::TempDir;

use super::process::Process;
use super::{Deadline, blocking, required_variable};

/// The files of a dump.
const ROLES: &str = "roles.sql";
const DUMP: &str = "regimen.dump";

/// A server with its own data and port, with only the database `postgres`. It keeps both
/// over a restart. Dropping the value ends it.
#[derive(Debug)]
pub struct PrivatePostgres {
    plan: PostgresPlan,
    process: Option<Process>,
    _folder: TempDir,
}

impl PrivatePostgres {
    /// Creates the data and starts the server; returns when it answers.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder for PostgreSQL");
        let account = account();
        if let Some(account) = &account {
            account.take(folder.path()).expect("handing PostgreSQL its folder");
        }
        let plan = PostgresPlan {
            programs: required_variable("REGIMEN_TEST_POSTGRES_BIN").into(),
            account,
            folder: folder.path().join("files"),
            data: "data".to_owned(),
            log: folder.path().join("output.log"),
            password: None,
            // A killed process loses nothing that the system has accepted for writing;
            // only a machine failure would.
            durable: false,
            max_connections: 100,
            port: None,
            standby_of: None,
        };
        let mut server = Self { plan, process: None, _folder: folder };
        server.serve().await;
        server
    }

    /// Its URL, the same over restarts.
    pub fn url(&self) -> String {
        let port = self.plan.port.expect("the port of a server that was started");
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    /// Its URL, for our own functions.
    pub fn secret_url(&self) -> SecretString {
        SecretString::from(self.url())
    }

    /// Dumps its database and its roles into `folder`, as docs/runbook.md describes.
    pub async fn dump(&self, folder: &Path) {
        let roles = ["--roles-only", "--no-role-passwords"];
        self.client("pg_dumpall", &roles, &["--file", &file(folder, ROLES)]).await;
        self.client("pg_dump", &["--format=custom"], &["--file", &file(folder, DUMP)]).await;
    }

    /// Restores what [`Self::dump`] wrote into this empty server.
    pub async fn restore(&self, folder: &Path) {
        // Without ON_ERROR_STOP: the superuser exists already.
        self.client("psql", &["--quiet"], &["--file", &file(folder, ROLES)]).await;
        let dump = file(folder, DUMP);
        self.client("pg_restore", &["--exit-on-error", "--no-owner"], &[&dump]).await;
    }

    /// Runs one of PostgreSQL's clients to its end.
    async fn client(&self, name: &str, options: &[&str], files: &[&str]) {
        let mut command = Command::new(self.plan.programs.join(name));
        command.args(options).arg("--dbname").arg(self.url()).args(files);
        let mut process = Process::start(name, command);
        let status = process.wait_exit().await;
        assert!(status.success(), "{name}: {status}\n{}", process.output());
    }

    /// Sends SIGKILL to the server and all its sessions, like a power failure, except
    /// that what the system had accepted for writing stays.
    pub async fn kill9(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // The server is stopped first, so that it starts no new session. Sessions lead
        // their own groups and would otherwise answer a moment longer.
        process.stop();
        for session in signal::children(process.id()) {
            signal::kill(session);
        }
        process.kill9().await;
    }

    /// An orderly stop that disconnects its clients ("fast shutdown").
    pub async fn shut_down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.interrupt();
            process.wait_exit().await;
        }
    }

    /// Starts it again after [`Self::kill9`] or [`Self::shut_down`]; a running server is
    /// stopped first. Returns when it answers.
    pub async fn restart(&mut self) {
        self.shut_down().await;
        self.serve().await;
    }

    async fn serve(&mut self) {
        let plan = self.plan.clone();
        let started = blocking(move || plan.start(&Deadline::new(&plan.log))).await;
        let server = started.unwrap_or_else(|error| panic!("a private PostgreSQL: {error}"));
        self.plan.port = Some(server.port);
        self.process = Some(Process::of(server.process, self.plan.log.clone()));
    }
}

fn file(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// The account for PostgreSQL; none unless the test runs as root.
pub(super) fn account() -> Option<Account> {
    let usual = Account::for_postgres().unwrap_or_else(|error| panic!("{error}"))?;
    let name = std::env::var("REGIMEN_TEST_POSTGRES_USER").unwrap_or_default();
    Some(Account::named(&name).unwrap_or(usual))
}
