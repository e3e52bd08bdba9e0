//! What can go wrong between us and Postgres, and whether waiting helps.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use deadpool_postgres::{BuildError, HookError, PoolError};
use tokio_postgres::error::SqlState;

use crate::job::UnknownName;

/// A failure of the database or of a statement sent to it.
///
/// Messages name SQLSTATE and the server's primary message, never the detail
/// line (which quotes row values) and never the URL.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The URL is not one Postgres clients understand.
    #[error(
        "the Postgres URL cannot be read; write postgres://user:password@host:port/database \
         and percent-encode special characters in the password"
    )]
    Url,
    /// `sslmode` has a value we cannot honour.
    #[error("sslmode={found} is not supported; use disable, prefer, require or verify-full")]
    SslMode {
        /// The value found.
        found: String,
    },
    /// The file named by `sslrootcert` holds no usable certificate.
    #[error("cannot use {} as sslrootcert: {problem}", path.display())]
    RootCertificates {
        /// The file the URL names.
        path: PathBuf,
        /// What is wrong with it.
        problem: RootCertificatesProblem,
    },
    /// TLS could not be set up on our side.
    #[error("cannot set up TLS for Postgres")]
    Tls(#[source] rustls::Error),
    /// The pool could not be built.
    #[error("cannot build the Postgres pool")]
    Build(#[from] BuildError),
    /// No connection came out of the pool.
    #[error("no Postgres connection: {}", describe_pool(.0))]
    Pool(#[from] PoolError),
    /// Postgres refused a statement, or the connection broke.
    #[error("Postgres: {}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// A statement touched another number of rows than its purpose allows.
    #[error("statement {statement} touched {found} rows instead of {expected}")]
    Rows {
        /// The name the SQL text opens with.
        statement: &'static str,
        /// How many it must touch.
        expected: u64,
        /// How many it did touch.
        found: u64,
    },
    /// A column holds a word this release does not know.
    #[error("column {column} holds a value this release does not know")]
    Value {
        /// The column's name.
        column: &'static str,
        /// The word and what would be known.
        #[source]
        source: UnknownName,
    },
}

/// Why a file of root certificates is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RootCertificatesProblem {
    /// Not readable, or not PEM.
    #[error("{0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// PEM, but not a certificate authority.
    #[error("{0}")]
    Certificate(#[from] rustls::Error),
    /// There is no certificate in it.
    #[error("it holds no certificate")]
    Empty,
}

impl DbError {
    /// Whether the database cannot be reached or used at all right now, so
    /// that the same call may succeed later: answer 503, keep the work. False
    /// for a statement that would fail again.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Pool(PoolError::Timeout(_) | PoolError::Closed) => true,
            Self::Pool(
                PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)),
            )
            | Self::Postgres(error) => broken(error),
            Self::Pool(
                PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(HookError::Message(_)),
            )
            | Self::Url
            | Self::SslMode { .. }
            | Self::RootCertificates { .. }
            | Self::Tls(_)
            | Self::Build(_)
            | Self::Rows { .. }
            | Self::Value { .. } => false,
        }
    }

    /// Whether the statement only met another one at a bad moment (deadlock,
    /// serialisation failure), so that the same call succeeds when repeated.
    pub fn is_conflict(&self) -> bool {
        self.code().is_some_and(|code| {
            *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
        })
    }

    /// The SQLSTATE of the server's answer, when there was one.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Pool(PoolError::Backend(error)) | Self::Postgres(error) => error.code(),
            _ => None,
        }
    }
}

/// Whether the connection, not the statement, is at fault. SQLSTATE classes
/// 08 (connection), 53 (out of connections, memory, disk) and 57P (shutdown,
/// start-up) come from the server itself; 25006 is what a primary that became
/// a replica answers to writes, 25P03 what a transaction hears that had stood
/// still for too long.
fn broken(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        let code = code.code();
        return code.starts_with("08")
            || code.starts_with("53")
            || code.starts_with("57P")
            || matches!(code, "25006" | "25P03");
    }
    // Sockets fail with any io error; InvalidInput alone means that a parameter
    // could not be encoded.
    let by_io = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() != io::ErrorKind::InvalidInput);
    error.is_closed() || by_io
}

/// The server's primary message and SQLSTATE, or why there was none.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

fn describe_pool(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            describe(error)
        }
        other => other.to_string(),
    }
}
