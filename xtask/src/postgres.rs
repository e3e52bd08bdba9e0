//! A private PostgreSQL: its own data, its own port on the loopback address,
//! its own password, fully durable, gone with its owner.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::{Account, AccountError, reachable_folder};
use crate::process::{Output, Process, ProcessError};
use crate::provision::PostgresPrograms;
use crate::session::Session;
use crate::signal::{Ending, Interrupted};
use crate::workspace::free_port;

/// A port seen free can be taken by another before we listen on it; one more
/// failure than this means something else.
const PORT_TRIES: u32 = 3;

/// Room for the pools of several workers, the ingress and a suite of tests.
const MAX_CONNECTIONS: u32 = 400;

/// Why there is no PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostgresError {
    /// It lacks a user to run as, or a folder.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A program of it failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its files cannot be prepared.
    #[error("cannot prepare PostgreSQL's data in {}: {source}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no port to listen on.
    #[error("cannot find a free port on 127.0.0.1: {0}")]
    Port(#[source] io::Error),
    /// We were asked to stop meanwhile.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What a private PostgreSQL is made of.
pub(crate) struct PostgresPlan<'a> {
    /// The programs to run.
    pub(crate) programs: &'a PostgresPrograms,
    /// The user to run them as, where that is not ours.
    pub(crate) account: Option<&'a Account>,
    /// Where its data goes; data found there is used again.
    pub(crate) folder: &'a Path,
    /// Where it logs.
    pub(crate) log: &'a Path,
    /// The superuser's password. Data found in the folder keeps the one it was made with.
    pub(crate) password: &'a str,
    /// Where it is to listen; on a free port when none is named.
    pub(crate) port: Option<u16>,
}

/// A running private PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// Its process.
    pub(crate) process: Process,
    /// Where it listens on the loopback address.
    pub(crate) port: u16,
}

impl PostgresPlan<'_> {
    /// Starts it and returns when it accepts connections.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub(crate) fn start(&self, session: &Session) -> Result<Postgres, PostgresError> {
        let folder = reachable_folder(self.folder, self.account)?;
        if folder != self.folder {
            session.say(format_args!(
                "the user {} cannot get to {}; PostgreSQL's data goes to {}",
                self.account.map_or("", |account| &account.name),
                session.workspace.show(self.folder),
                folder.display()
            ));
        }
        let data = folder.join(format!("data-{}", self.programs.major));
        if !data.join("PG_VERSION").exists() {
            self.create(session, &folder, &data)?;
        }
        let mut tries = 1;
        loop {
            match self.serve(session, &data) {
                Ok((process, port)) => return Ok(Postgres { process, port }),
                Err(PostgresError::Process(ProcessError::Ended { tail, .. }))
                    if tries < PORT_TRIES && tail.contains("Address already in use") =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the data under a passing name first: an interrupted initdb leaves
    /// nothing that looks complete.
    fn create(&self, session: &Session, folder: &Path, data: &Path) -> Result<(), PostgresError> {
        session.say("creating the PostgreSQL data");
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| PostgresError::Files { path, source }
        };
        let unfinished = folder.join("unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(failed(&unfinished))?;
        }
        let password_file = folder.join("password");
        write_private(&password_file, self.password).map_err(failed(&password_file))?;
        if let Some(account) = self.account {
            account.take(&password_file)?;
        }
        let mut initdb = self.command("initdb", folder);
        initdb.arg("--pgdata").arg(&unfinished).arg("--pwfile").arg(&password_file);
        // Password authentication even on loopback: other users of this machine
        // can connect to the port too.
        initdb.args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--no-locale"]);
        let made = Process::run(session, "initdb", initdb, Output::Log(self.log));
        std::fs::remove_file(&password_file).map_err(failed(&password_file))?;
        made?;
        std::fs::rename(&unfinished, data).map_err(failed(data))
    }

    fn serve(&self, session: &Session, data: &Path) -> Result<(Process, u16), PostgresError> {
        let port = self.port.map_or_else(free_port, Ok).map_err(PostgresError::Port)?;
        let mut postgres = self.command("postgres", data);
        postgres.arg("-D").arg(data).arg("-p").arg(port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=on",
            "synchronous_commit=on",
            "log_line_prefix=%m [%p] ",
            &format!("max_connections={MAX_CONNECTIONS}"),
        ] {
            postgres.arg("-c").arg(setting);
        }
        let log = Output::Log(self.log);
        let mut process = Process::start(session, "postgres", postgres, log, Ending::Interrupt)?;
        while !accepts_connections(data, process.id()) {
            process.must_run()?;
            session.pause()?;
        }
        Ok((process, port))
    }

    /// A program of PostgreSQL, as the right user, standing where that user may stand.
    fn command(&self, program: &str, stand: &Path) -> Command {
        let mut command = Command::new(self.programs.folder.join(program));
        command.current_dir(stand).env("LC_ALL", "C");
        if let Some(account) = self.account {
            account.run(&mut command);
        }
        command
    }
}

impl Postgres {
    /// The URL to connect with.
    pub(crate) fn url(&self, password: &str) -> String {
        url(self.port, password)
    }
}

/// The URL to connect with through `port`, its own or that of a proxy.
pub(crate) fn url(port: u16, password: &str) -> String {
    format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")
}

/// Whether the server with this process id says so itself: `postmaster.pid`
/// opens with the id, and its eighth line becomes `ready` (PostgreSQL's
/// `utils/pidfile.h`).
fn accepts_connections(data: &Path, pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return false;
    };
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::File::options();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}
