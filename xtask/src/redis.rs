//! A private Redis (or Valkey): its own data, its own port on the loopback
//! address, its own password, append-only file, and never evicting a key.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Output, Process, ProcessError};
use crate::session::Session;
use crate::signal::{Ending, Interrupted};
use crate::workspace::free_port;

/// A port seen free can be taken by another before we listen on it; one more
/// failure than this means something else.
const PORT_TRIES: u32 = 3;

/// How long Redis may take to answer on loopback before it is asked anew.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Why there is no Redis.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedisError {
    /// The program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its files cannot be prepared.
    #[error("cannot prepare Redis's files in {}: {source}", path.display())]
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

/// What a private Redis is made of.
pub(crate) struct RedisPlan<'a> {
    /// The program to run.
    pub(crate) program: &'a Path,
    /// Where its data goes; data found there is used again.
    pub(crate) folder: &'a Path,
    /// Where it logs.
    pub(crate) log: &'a Path,
    /// The password it asks for.
    pub(crate) password: &'a str,
    /// Where it is to listen; on a free port when none is named.
    pub(crate) port: Option<u16>,
}

/// A running private Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    /// Its process.
    pub(crate) process: Process,
    /// Where it listens on the loopback address.
    pub(crate) port: u16,
}

impl RedisPlan<'_> {
    /// Starts it and returns when it answers.
    ///
    /// # Errors
    /// See [`RedisError`].
    pub(crate) fn start(&self, session: &Session) -> Result<Redis, RedisError> {
        let mut tries = 1;
        loop {
            match self.serve(session) {
                Err(RedisError::Process(ProcessError::Ended { tail, .. }))
                    if tries < PORT_TRIES && tail.contains("Address already in use") =>
                {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn serve(&self, session: &Session) -> Result<Redis, RedisError> {
        let port = self.port.map_or_else(free_port, Ok).map_err(RedisError::Port)?;
        let settings = self.write_settings(port)?;
        let mut redis = Command::new(self.program);
        redis.arg(settings).current_dir(self.folder);
        let log = Output::Log(self.log);
        let mut process = Process::start(session, "redis", redis, log, Ending::Terminate)?;
        while server_process(port, self.password).ok().flatten() != Some(process.id()) {
            process.must_run()?;
            session.pause()?;
        }
        Ok(Redis { process, port })
    }

    /// A file and not arguments, which every user of the machine can read.
    fn write_settings(&self, port: u16) -> Result<PathBuf, RedisError> {
        let path = self.folder.join("redis.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nrequirepass {}\n\
             appendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\n",
            self.password
        );
        let write = || {
            std::fs::create_dir_all(self.folder)?;
            let mut options = std::fs::File::options();
            options.create(true).truncate(true).write(true).mode(0o600);
            options.open(&path)?.write_all(text.as_bytes())
        };
        write().map_err(|source| RedisError::Files { path: path.clone(), source })?;
        Ok(path)
    }
}

impl Redis {
    /// The URL to connect with.
    pub(crate) fn url(&self, password: &str) -> String {
        url(self.port, password)
    }
}

/// The URL to connect with through `port`, its own or that of a proxy.
pub(crate) fn url(port: u16, password: &str) -> String {
    format!("redis://:{password}@127.0.0.1:{port}/0")
}

/// The process id of the server that answers on `port`: tells ours from one
/// that took the port before us. None while it still loads its data.
fn server_process(port: u16, password: &str) -> io::Result<Option<u32>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    // QUIT makes the server close, so that the reading ends.
    let ask = format!("AUTH {password}\r\nINFO server\r\nINFO persistence\r\nQUIT\r\n");
    stream.write_all(ask.as_bytes())?;
    let mut process = None;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if let Some(pid) = line.strip_prefix("process_id:") {
            process = pid.trim().parse().ok();
        }
        // It says who it is while it still loads, and refuses everything else.
        if line.trim() == "loading:0" {
            return Ok(process);
        }
    }
    Ok(None)
}
