//! A private PostgreSQL with its own data and its own port on the loopback
//! address. It ends with its owner.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::account::{Account, AccountError, reachable_folder};
use crate::process::{Output, Process, ProcessError};
use crate::signal::Ending;
use crate::{Interrupted, PORT_TRIES, Supervisor, free_port};

/// How long the children of a killed server may take to end.
const LINGERING: Duration = Duration::from_secs(30);

/// Why PostgreSQL did not start.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// There is no account or folder for it.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// One of its programs failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its files cannot be prepared.
    #[error("cannot prepare PostgreSQL's data in {}: {source}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is no free port.
    #[error("cannot find a free port on 127.0.0.1: {0}")]
    Port(#[source] io::Error),
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The settings of a private PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresPlan {
    /// The folder with `postgres` and `initdb`.
    pub programs: PathBuf,
    /// The account to run them as, if it is another one.
    pub account: Option<Account>,
    /// The folder of its data.
    pub folder: PathBuf,
    /// The data's name there; existing data is used again.
    pub data: String,
    /// Its log.
    pub log: PathBuf,
    /// The superuser's password; without one, no password is needed. Existing data keeps
    /// its password.
    pub password: Option<String>,
    /// Whether commits survive a failure of the machine, not only of the process.
    pub durable: bool,
    /// Most connections.
    pub max_connections: u32,
    /// Its port; a free one unless set.
    pub port: Option<u16>,
    /// The port of the primary of which it is a streaming replica, if it has no data yet.
    pub standby_of: Option<u16>,
}

/// A running private PostgreSQL.
#[derive(Debug)]
pub struct Postgres {
    /// Its process.
    pub process: Process,
    /// Its port on the loopback address.
    pub port: u16,
}

impl PostgresPlan {
    /// Starts it and returns when it accepts connections.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub fn start(&self, supervisor: &impl Supervisor) -> Result<Postgres, PostgresError> {
        let folder = reachable_folder(&self.folder, self.account.as_ref())?;
        if folder != self.folder {
            supervisor.say(format_args!(
                "the user {} cannot get to {}; PostgreSQL's data goes to {}",
                self.account.as_ref().map_or("", |account| &account.name),
                self.folder.display(),
                folder.display()
            ));
        }
        let data = folder.join(&self.data);
        if !data.join("PG_VERSION").exists() {
            match self.standby_of {
                None => self.create(supervisor, &folder, &data)?,
                Some(primary) => self.copy(supervisor, primary, &folder, &data)?,
            }
        }
        let (mut tries, lingering_until) = (1, Instant::now() + LINGERING);
        loop {
            match self.serve(supervisor, &data) {
                Ok((process, port)) => return Ok(Postgres { process, port }),
                Err(PostgresError::Process(ProcessError::Ended { tail, .. }))
                    if tries < PORT_TRIES && tail.contains("Address already in use") =>
                {
                    tries += 1;
                }
                Err(PostgresError::Process(ProcessError::Ended { tail, .. }))
                    if is_in_use(&tail) && Instant::now() < lingering_until =>
                {
                    supervisor.pause()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Creates the data under a temporary name first, so that an interrupted initdb
    /// leaves nothing that looks complete.
    fn create(
        &self,
        supervisor: &impl Supervisor,
        folder: &Path,
        data: &Path,
    ) -> Result<(), PostgresError> {
        supervisor.say("creating the PostgreSQL data");
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| PostgresError::Files { path, source }
        };
        let unfinished = folder.join("unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(failed(&unfinished))?;
        }
        let mut initdb = self.command("initdb", folder);
        initdb.arg("--pgdata").arg(&unfinished);
        initdb.args(["--username=postgres", "--encoding=UTF8", "--no-locale"]);
        if !self.durable {
            initdb.arg("--no-sync");
        }
        let password_file = folder.join("password");
        if let Some(password) = &self.password {
            write_private(&password_file, password).map_err(failed(&password_file))?;
            if let Some(account) = &self.account {
                account.take(&password_file)?;
            }
            // Needed on loopback, too: other users of this machine can connect to the
            // port.
            initdb.arg("--auth=password").arg("--pwfile").arg(&password_file);
        } else {
            initdb.arg("--auth=trust");
        }
        let made = Process::run(supervisor, "initdb", initdb, Output::Log(&self.log));
        if self.password.is_some() {
            std::fs::remove_file(&password_file).map_err(failed(&password_file))?;
        }
        made?;
        std::fs::rename(&unfinished, data).map_err(failed(data))
    }

    /// Copies the data of the primary, with the settings that make a standby of it.
    fn copy(
        &self,
        supervisor: &impl Supervisor,
        primary: u16,
        folder: &Path,
        data: &Path,
    ) -> Result<(), PostgresError> {
        let mut copy = self.command("pg_basebackup", folder);
        copy.arg("--pgdata").arg(data).args(["--host=127.0.0.1", "--username=postgres"]);
        copy.arg(format!("--port={primary}"));
        copy.args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf"]);
        if let Some(password) = &self.password {
            copy.env("PGPASSWORD", password);
        }
        Process::run(supervisor, "pg_basebackup", copy, Output::Log(&self.log))?;
        Ok(())
    }

    fn serve(
        &self,
        supervisor: &impl Supervisor,
        data: &Path,
    ) -> Result<(Process, u16), PostgresError> {
        let port = self.port.map_or_else(free_port, Ok).map_err(PostgresError::Port)?;
        let mut postgres = self.command("postgres", data);
        postgres.arg("-D").arg(data).arg("-p").arg(port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "synchronous_commit=on",
            "log_line_prefix=%m [%p] ",
            &format!("fsync={}", if self.durable { "on" } else { "off" }),
            &format!("max_connections={}", self.max_connections),
        ] {
            postgres.arg("-c").arg(setting);
        }
        let log = Output::Log(&self.log);
        let mut process = Process::start("postgres", postgres, log, Ending::Interrupt)?;
        while !accepts_connections(data, process.id()) {
            process.must_run()?;
            supervisor.pause()?;
        }
        Ok((process, port))
    }

    /// One of PostgreSQL's programs, run by the right account in a directory that the
    /// account can access.
    fn command(&self, program: &str, stand: &Path) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(stand).env("LC_ALL", "C");
        if let Some(account) = &self.account {
            account.run(&mut command);
        }
        command
    }
}

/// The URL to connect through `port`, the server's or a proxy's.
pub fn url(port: u16, password: &str) -> String {
    format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")
}

/// Whether a server ended because the children of a killed server are still running.
fn is_in_use(tail: &str) -> bool {
    tail.contains("is still in use") || tail.contains("lock file \"postmaster.pid\" already exists")
}

/// Whether the server with this process id reports that it is ready: `postmaster.pid`
/// begins with the id, and its eighth line becomes `ready`, or `standby` (PostgreSQL's
/// `utils/pidfile.h`).
fn accepts_connections(data: &Path, pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return false;
    };
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str())
        && matches!(lines.nth(6), Some("ready" | "standby"))
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::File::options();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}
