//! Errors of Postgres, and whether a retry can help.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use deadpool::managed::BuildError;
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
    /// No connection could be opened: nobody there, no room, not let in.
    #[error("cannot connect to Postgres: {}", describe(.0))]
    Unreachable(#[source] tokio_postgres::Error),
    /// The pool is closed because the process ends.
    #[error("the Postgres pool is closed")]
    Closed,
    /// Nothing came back in time.
    #[error("no answer from Postgres within {limit:?} to {asked}")]
    TimedOut {
        /// To what.
        asked: Asked,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection broke while a transaction was being committed.
    #[error("the connection to Postgres broke during a commit")]
    Unconfirmed,
    /// The server takes no writes.
    #[error(
        "Postgres is read-only, as a standby is or a primary during a failover; \
         DATABASE_URL must lead to the primary"
    )]
    ReadOnly,
    /// A pooler hands the sessions of one connection out by turns.
    #[error(
        "DATABASE_URL leads through a connection pooler in transaction mode, where prepared \
         statements and session settings of one client reach another; use the pooler's session \
         mode (Supabase: port 5432 of the pooler; pgbouncer: pool_mode=session) or the database's \
         own address"
    )]
    TransactionPooler,
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

/// What Postgres was asked when it did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing yet: the time was used up before.
    Nothing,
    /// For a connection.
    Connection,
    /// A statement that takes effect by itself.
    Statement,
    /// A statement within a transaction, or one that changes nothing.
    Step,
    /// A commit.
    Commit,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "what was asked before",
            Self::Connection => "the wish for a connection",
            Self::Statement | Self::Step => "a statement",
            Self::Commit => "a commit",
        })
    }
}

impl DbError {
    /// Whether the database cannot be reached or used right now, or had no
    /// time or room for this, so that the same call may succeed later: answer
    /// 503, keep the work. False for a statement that would fail again.
    pub fn is_unavailable(&self) -> bool {
        match self {
            // Whatever keeps a connection from being opened is no fault of what
            // was to be done with it; a password may be in the middle of its change.
            Self::Unreachable(_)
            | Self::Closed
            | Self::TimedOut { .. }
            | Self::Unconfirmed
            | Self::ReadOnly
            | Self::TransactionPooler => true,
            Self::Postgres(error) => passes(error),
            Self::Url
            | Self::SslMode { .. }
            | Self::RootCertificates { .. }
            | Self::Tls(_)
            | Self::Build(_)
            | Self::Rows { .. }
            | Self::Value { .. } => false,
        }
    }

    /// Whether what was asked may have been done although nobody said so.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::TimedOut { asked, .. } => matches!(asked, Asked::Statement | Asked::Commit),
            Self::Unconfirmed => true,
            Self::Postgres(error) => error.code().is_none() && passes(error),
            _ => false,
        }
    }

    /// Whether the statement only met another one at a bad moment (deadlock,
    /// serialisation failure), so that the same call succeeds when repeated.
    pub fn is_conflict(&self) -> bool {
        self.code().is_some_and(|code| {
            *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
        })
    }

    /// Whether the server says that it takes no writes.
    pub(super) fn is_about_writes(&self) -> bool {
        self.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether another connection may do better than the one this came from.
    pub(super) fn is_about_the_connection(&self) -> bool {
        match self {
            Self::Postgres(error) => match error.code() {
                None => passes(error),
                Some(_) if self.is_about_writes() => true,
                Some(code) => {
                    ["08", "57P", "XX"].iter().any(|class| code.code().starts_with(class))
                        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                        || is_stale_statement(error)
                }
            },
            _ => false,
        }
    }

    /// Whether it is for what stands in a row that the statement failed, so that
    /// the same statement about other rows may succeed: SQLSTATE classes 22
    /// (data), 23 (constraints), 44 and P0 (raised by a trigger), damaged rows,
    /// and values this release cannot read.
    pub fn blames_a_row(&self) -> bool {
        match (self, self.code().map(SqlState::code)) {
            (Self::Value { .. } | Self::Rows { .. }, _) => true,
            (_, Some(code)) => {
                ["22", "23", "44", "P0"].iter().any(|class| code.starts_with(class))
                    || matches!(code, "XX001" | "XX002")
            }
            (Self::Postgres(_), None) => !self.is_unavailable(),
            _ => false,
        }
    }

    /// What happened and what to do, for operators: no address, no value, nothing
    /// that anybody who may ask for it should not read.
    pub fn trouble(&self) -> &'static str {
        let code = self.code().map(SqlState::code);
        match (self, code) {
            (Self::ReadOnly, _) | (_, Some("25006")) => {
                "Postgres is read-only, as a standby is or a primary during a failover; make \
                 DATABASE_URL lead to the primary, or wait for the failover to end"
            }
            (Self::TransactionPooler, _) => {
                "DATABASE_URL leads through a pooler in transaction mode; use its session mode"
            }
            (Self::Closed, _) => "the connections to Postgres are closed, because the process ends",
            (_, Some("28P01" | "28000")) => {
                "Postgres does not let us in; check user and password in DATABASE_URL"
            }
            (_, Some("53300" | "08P01" | "XX000")) => {
                "Postgres, or a pooler before it, has no room for another connection; lower \
                 DATABASE_POOL_SIZE or raise its limit"
            }
            (_, Some("3D000")) => "the database that DATABASE_URL names does not exist",
            (_, Some("42P01" | "3F000" | "42703")) => {
                "the database has not the tables of this release; run regimen-worker migrate"
            }
            (_, Some("42501")) => "the role of DATABASE_URL may not use our tables",
            (_, Some("55P03" | "57014")) => {
                "a table is locked, or Postgres is too slow; look for long transactions"
            }
            (_, Some("57P01" | "57P02" | "57P03")) => {
                "Postgres is starting or shutting down; it passes by itself"
            }
            (Self::TimedOut { asked: Asked::Connection, .. }, _) => {
                "no connection to Postgres can be had in time; look whether it hangs, is \
                 overloaded, or the network drops connections"
            }
            (Self::TimedOut { .. }, _) => {
                "Postgres does not answer in time; look whether it hangs, is overloaded, or its \
                 tables are locked"
            }
            (Self::Unreachable(_), None) => {
                "Postgres cannot be reached; look whether it runs where DATABASE_URL says"
            }
            _ => "Postgres refuses; its answer stands in our log",
        }
    }

    /// The SQLSTATE of the server's answer, when there was one.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Unreachable(error) | Self::Postgres(error) => error.code(),
            _ => None,
        }
    }
}

/// Whether the connection, the server or the moment, not the statement, is at fault:
/// - classes 08 (connection), 53 (out of connections, memory, disk), 57P
///   (shutdown, start-up) and 58 (the system underneath);
/// - 57014 and 55P03: no time, or a lock in the way;
/// - 25006: what a primary that became a replica answers to writes; 25P03: what
///   a transaction hears that had stood still for too long;
/// - XX000: a fault inside the server; most often a pooler in front of it that
///   has no room, which sends it for want of a better one.
fn passes(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        let by_class = ["08", "53", "57P", "58"].iter().any(|class| code.code().starts_with(class));
        return by_class
            || [
                SqlState::QUERY_CANCELED,
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::READ_ONLY_SQL_TRANSACTION,
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                SqlState::INTERNAL_ERROR,
            ]
            .contains(code)
            || is_stale_statement(error);
    }
    // Sockets fail with any io error; InvalidInput alone means that a parameter
    // could not be encoded.
    let by_io = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() != io::ErrorKind::InvalidInput);
    error.is_closed() || by_io
}

/// Whether the session does not know a statement it had prepared, or not any
/// more in this form: a pooler or a migration came between. A new connection
/// prepares it anew.
fn is_stale_statement(error: &tokio_postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else { return false };
    let code = db.code();
    [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT].contains(code)
        || (*code == SqlState::FEATURE_NOT_SUPPORTED && db.message().contains("cached plan"))
}

/// The server's primary message and SQLSTATE, or why there was none.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
