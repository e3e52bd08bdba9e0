//! A private pgbouncer for one test, in front of a Postgres.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use url::Url;

use super::private_postgres::account;
use super::process::{DEADLINE, LOOK_EVERY, Process};

/// A running pooler. Dropping the value ends it.
#[derive(Debug)]
pub struct Pgbouncer {
    url: String,
    _process: Process,
    _folder: TempDir,
}

impl Pgbouncer {
    /// Starts one in front of the database that `url` names. `settings` are
    /// lines of its file, such as `pool_mode = transaction`.
    pub async fn start(url: &str, settings: &[&str]) -> Self {
        let target = Url::parse(url).expect("the URL of a database");
        let part = |part: Option<&str>| part.expect("a complete URL of a database").to_owned();
        let (host, port) = (part(target.host_str()), target.port().expect("a port"));
        let database = target.path().trim_start_matches('/').to_owned();
        // An empty password is a syntax error.
        let password = target.password().map(|password| format!(" password={password}"));
        let password = password.unwrap_or_default();
        let folder = tempfile::tempdir().expect("a temporary folder for pgbouncer");
        let own_port = regimen_devtools::free_port().expect("a free port");
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{database} = host={host} port={port} user={}{password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own_port}\nauth_type = any\n\
             unix_socket_dir =\n{}\n",
            target.username(),
            settings.join("\n"),
        );
        std::fs::write(&file, text).expect("writing pgbouncer's file");
        let mut command = Command::new(program());
        command.arg(&file);
        // Like PostgreSQL, it refuses to run as root.
        if let Some(account) = account() {
            for path in [folder.path(), &file] {
                account.take(path).expect("handing pgbouncer its folder");
            }
            account.run(&mut command);
        }
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("its file's mode");
        let mut process = Process::start("pgbouncer", command);
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", own_port)).await.is_err() {
            assert!(process.is_running(), "pgbouncer ended\n{}", process.tail());
            assert!(Instant::now() < deadline, "pgbouncer does not answer\n{}", process.tail());
            sleep(LOOK_EVERY).await;
        }
        let mut own = target.clone();
        own.set_host(Some("127.0.0.1")).expect("a URL that takes a host");
        own.set_port(Some(own_port)).expect("a URL that takes a port");
        Self { url: own.into(), _process: process, _folder: folder }
    }

    /// The database's URL through the pooler.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// `REGIMEN_TEST_PGBOUNCER_BIN`, or Debian's path, or one in `PATH`.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("REGIMEN_TEST_PGBOUNCER_BIN") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("pgbouncer")).find(|path| path.is_file()).expect(
        "this test starts a pgbouncer of its own: install it, set REGIMEN_TEST_PGBOUNCER_BIN to its \
         path, or run the tests through `cargo xtask test`, which installs it",
    )
}
