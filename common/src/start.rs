//! The steps of a start that can fail for external reasons: each error names
//! the variable to correct, its value, and what to do.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use url::Url;

use crate::address_file;
use crate::db::{DbError, Pool};
use crate::redis::Redis;
use crate::shutdown::Shutdown;

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be bound.
    #[error("{variable}: cannot listen on {address}: {}", advice(*.address, .problem))]
    Listen {
        /// The setting of the address.
        variable: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        problem: io::Error,
    },
    /// The file of `ADDRESS_FILE` cannot be written.
    #[error(
        "ADDRESS_FILE: cannot write {}: {problem}; name a file in a folder that exists and that \
         this user may write to", path.display()
    )]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        problem: io::Error,
    },
    /// Threads cannot be started.
    #[error(
        "cannot start threads: {0}; raise the limit on processes of this user or container \
         (ulimit -u, pids.max)"
    )]
    Threads(io::Error),
    /// Signal handlers cannot be installed.
    #[error("cannot listen for SIGTERM and SIGINT: {0}; raise the limit on open files (ulimit -n)")]
    Signals(io::Error),
}

/// The advice for an address that cannot be bound.
fn advice(address: SocketAddr, problem: &io::Error) -> String {
    let port = address.port();
    match problem.kind() {
        ErrorKind::AddrInUse => format!(
            "another process has port {port} ({problem}); end it (`ss -ltnp` names it) or set \
             another port"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {} ({problem}); use one of its own, or 0.0.0.0:{port} \
             for all of them",
            address.ip()
        ),
        ErrorKind::PermissionDenied => format!(
            "this user may not use port {port} ({problem}); set a port above 1023, or give the \
             process the right to it (CAP_NET_BIND_SERVICE)"
        ),
        _ => format!("{problem}; set an address of this machine and a free port"),
    }
}

/// Listens on the address of `variable`.
///
/// # Errors
/// The address cannot be bound.
pub async fn listen(
    variable: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|problem| StartError::Listen { variable, address, problem })
}

/// Writes the bound addresses to the file of `ADDRESS_FILE`.
///
/// # Errors
/// The file cannot be written.
pub fn tell_address(path: &Path, entries: &[(&str, String)]) -> Result<(), StartError> {
    address_file::write(path, entries)
        .map_err(|problem| StartError::AddressFile { path: path.to_owned(), problem })
}

/// Starts to listen for the process's signals.
///
/// # Errors
/// The system refuses.
pub fn signals() -> Result<Shutdown, StartError> {
    Shutdown::on_signals().map_err(StartError::Signals)
}

/// A database error, in the terms of `DATABASE_URL`.
///
/// The error of a statement is returned unchanged.
pub fn of_database(url: &SecretString, problem: DbError) -> Box<dyn Error> {
    let Some(advice) = database_advice(&problem) else { return problem.into() };
    let place = place(url);
    format!("DATABASE_URL: cannot use {place}: {problem}; {advice}").into()
}

fn database_advice(problem: &DbError) -> Option<&'static str> {
    let code = problem.code().map(|code| code.code());
    Some(match (code, problem) {
        // Its message says what to do.
        (_, DbError::TransactionPooler) => return None,
        (Some("28P01" | "28000"), _) => {
            "correct the user and the password, with special characters percent-encoded, or what \
             the server's pg_hba.conf allows"
        }
        (Some("3D000"), _) => "create the database or correct its name",
        (Some("53300"), _) => {
            "the server takes no more connections: lower DATABASE_POOL_SIZE or raise its limit"
        }
        (_, DbError::Url | DbError::SslMode { .. } | DbError::RootCertificates { .. }) => {
            "correct it and start again"
        }
        (None | Some(_), problem) if problem.is_unavailable() => {
            "start the server, or correct host, port and sslmode; a firewall or a pause of the \
             project looks the same"
        }
        _ => return None,
    })
}

/// The server of a URL, without credentials.
fn place(url: &SecretString) -> String {
    let url = Url::parse(url.expose_secret()).ok();
    let place = url.and_then(|url| {
        let port = url.port().unwrap_or(5432);
        Some(format!("the database {} at {}:{port}", url.path().trim_matches('/'), url.host_str()?))
    });
    place.unwrap_or_else(|| "the database it names".to_owned())
}

/// Logs what is wrong with the stores, if anything. The process continues, because a
/// store that is away comes back.
pub async fn look_at_stores(url: SecretString, db: Pool, redis: Redis) {
    if let Err(error) = db.get().await {
        let problem = of_database(&url, error);
        tracing::error!(%problem, "started without the database; trying again with each request");
    }
    let ping: Result<String, _> = redis.query(&redis::cmd("PING")).await;
    if let Err(error) = ping {
        tracing::error!(
            problem = %error,
            "started without the Redis of REDIS_URL; start it or correct host, port, user and \
             password; going on without it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_that_cannot_be_had_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let text = listen("LISTEN_ADDR", address).await.unwrap_err().to_string();
        assert!(text.starts_with(&format!("LISTEN_ADDR: cannot listen on {address}: ")), "{text}");
        assert!(text.contains("another process has port"), "{text}");
        let foreign = "192.0.2.1:8080".parse().unwrap();
        let text = listen("METRICS_ADDR", foreign).await.unwrap_err().to_string();
        assert!(
            text.contains("has no address 192.0.2.1") && text.contains("0.0.0.0:8080"),
            "{text}"
        );
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        assert!(advice("0.0.0.0:80".parse().unwrap(), &denied).contains("above 1023"));
    }

    #[test]
    fn a_place_says_nothing_of_users_and_passwords() {
        let place = |url: &str| place(&SecretString::from(url));
        let told = place("postgres://ada:s3cret@db.example.test:6000/app?sslmode=require");
        assert_eq!(told, "the database app at db.example.test:6000");
        assert_eq!(place("host=h password=s3cret"), "the database it names");
    }
}
