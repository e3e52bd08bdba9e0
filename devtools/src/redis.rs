//! A private Redis (or Valkey) with its own data, its own port on the loopback
//! address, an append-only file and no eviction; standalone, in a cluster, or
//! as a sentinel.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::process::{Output, Process, ProcessError};
use crate::signal::Ending;
use crate::{Interrupted, PORT_TRIES, Supervisor, free_port};

/// How long Redis may take to answer on loopback before the next try.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Why Redis did not start.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its files cannot be prepared.
    #[error("cannot prepare Redis's files in {}: {source}", path.display())]
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

/// The settings of a private Redis.
#[derive(Debug, Clone)]
pub struct RedisPlan {
    /// The program to run.
    pub program: PathBuf,
    /// The folder of its data; existing data is used again.
    pub folder: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its role.
    pub role: Role,
    /// The password it requires and sends to its master.
    pub password: Option<String>,
    /// Its port; a free one unless set.
    pub port: Option<u16>,
}

/// The role of a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Standalone.
    Alone,
    /// A node of a cluster, with this port for the cluster bus; a free one unless set.
    InCluster(Option<u16>),
    /// A sentinel.
    Sentinel {
        /// The port of the server it knows as `main`.
        of: u16,
        /// That server's password.
        its_password: Option<String>,
    },
}

/// A running private Redis.
#[derive(Debug)]
pub struct Redis {
    /// Its process.
    pub process: Process,
    /// Its port on the loopback address.
    pub port: u16,
    /// The port of its cluster bus.
    pub bus_port: Option<u16>,
}

impl RedisPlan {
    /// Starts it and returns when it answers.
    ///
    /// # Errors
    /// See [`RedisError`].
    pub fn start(&self, supervisor: &impl Supervisor) -> Result<Redis, RedisError> {
        let mut tries = 1;
        loop {
            match self.serve(supervisor) {
                Err(RedisError::Process(ProcessError::Ended { tail, .. }))
                    if tries < PORT_TRIES && tail.contains("Address already in use") =>
                {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn serve(&self, supervisor: &impl Supervisor) -> Result<Redis, RedisError> {
        let port = self.port.map_or_else(free_port, Ok).map_err(RedisError::Port)?;
        let bus_port = match self.role {
            // Set explicitly: the default, the port plus 10,000, may exceed the highest
            // port.
            Role::InCluster(port) => {
                Some(port.map_or_else(free_port, Ok).map_err(RedisError::Port)?)
            }
            Role::Alone | Role::Sentinel { .. } => None,
        };
        let mut redis = Command::new(&self.program);
        redis.arg(self.write_settings(port, bus_port)?).current_dir(&self.folder);
        if matches!(self.role, Role::Sentinel { .. }) {
            redis.arg("--sentinel");
        }
        let log = Output::Log(&self.log);
        let mut process = Process::start("redis", redis, log, Ending::Terminate)?;
        while self.server_process(port).ok().flatten() != Some(process.id()) {
            process.must_run()?;
            supervisor.pause()?;
        }
        Ok(Redis { process, port, bus_port })
    }

    /// A file, because every user of the machine can read arguments.
    fn write_settings(&self, port: u16, bus_port: Option<u16>) -> Result<PathBuf, RedisError> {
        let path = self.folder.join("redis.conf");
        let mut lines = vec![format!("port {port}"), "bind 127.0.0.1".to_owned()];
        lines.extend(self.password.as_ref().map(|password| format!("requirepass {password}")));
        if let Role::Sentinel { of, its_password } = &self.role {
            lines.push(format!("sentinel monitor main 127.0.0.1 {of} 1"));
            let said = its_password.as_ref();
            lines.extend(said.map(|password| format!("sentinel auth-pass main {password}")));
        } else {
            lines.extend(self.password.as_ref().map(|password| format!("masterauth {password}")));
            let rest = [
                "appendonly yes",
                "appendfsync everysec",
                "save \"\"",
                "maxmemory-policy noeviction",
            ];
            lines.extend(rest.map(str::to_owned));
        }
        if let Some(port) = bus_port {
            lines.extend(["cluster-enabled yes".to_owned(), format!("cluster-port {port}")]);
        }
        let write = || {
            std::fs::create_dir_all(&self.folder)?;
            let mut options = std::fs::File::options();
            options.create(true).truncate(true).write(true).mode(0o600);
            options.open(&path)?.write_all((lines.join("\n") + "\n").as_bytes())
        };
        write().map_err(|source| RedisError::Files { path: path.clone(), source })?;
        Ok(path)
    }

    /// The process id of the server on `port`, which tells ours from one that took the
    /// port first. None while it loads its data.
    fn server_process(&self, port: u16) -> io::Result<Option<u32>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let login = self.password.as_ref().map(|password| format!("AUTH {password}\r\n"));
        // A sentinel has nothing to load. QUIT makes a loading server close the
        // connection, so that the read ends.
        let loads = !matches!(self.role, Role::Sentinel { .. });
        let loading = if loads { "INFO persistence\r\n" } else { "" };
        let ask = format!("{}INFO server\r\n{loading}QUIT\r\n", login.unwrap_or_default());
        stream.write_all(ask.as_bytes())?;
        let (mut process, mut ready) = (None, !loads);
        for line in BufReader::new(stream).lines() {
            let line = line?;
            if let Some(pid) = line.strip_prefix("process_id:") {
                process = pid.trim().parse().ok();
            }
            // A loading server answers INFO and refuses everything else.
            ready |= line.trim() == "loading:0";
            if ready && process.is_some() {
                break;
            }
        }
        Ok(process.filter(|_| ready))
    }
}

/// The URL to connect through `port`, the server's or a proxy's.
pub fn url(port: u16, password: &str) -> String {
    format!("redis://:{password}@127.0.0.1:{port}/0")
}
