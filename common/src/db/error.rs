//! Errors of Postgres, and whether a retry can help.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::BuildError;
use tokio_postgres::error::SqlState;

use crate::job::UnknownName;

/// The classes of SQLSTATE in which Postgres speaks of a statement, a session or the server.
/// The rest are values, triggers, a row's size, and what an application raises under codes of
/// its own.
const ABOUT_NO_ROW: [&str; 28] = [
    "00", "01", "02", "03", "08", "0A", "0B", "0L", "0P", "24", "25", "26", "28", "2B", "2D", "34",
    "3B", "3D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV",
];

/// An error of the database or of a statement.
///
/// Messages contain SQLSTATE and the server's primary message, never the detail line
/// (which quotes row values) and never the URL.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The URL is not a Postgres URL.
    #[error(
        "the Postgres URL cannot be read; write postgres://user:password@host:port/database \
         and percent-encode special characters in the password"
    )]
    Url,
    /// `sslmode` has an unsupported value.
    #[error("sslmode={found} is not supported; use disable, prefer, require or verify-full")]
    SslMode {
        /// The value.
        found: String,
    },
    /// The file of `sslrootcert` holds no usable certificate.
    #[error("cannot use {} as sslrootcert: {problem}", path.display())]
    RootCertificates {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: RootCertificatesProblem,
    },
    /// TLS could not be set up on the client.
    #[error("cannot set up TLS for Postgres")]
    Tls(#[source] rustls::Error),
    /// The pool could not be built.
    #[error("cannot build the Postgres pool")]
    Build(#[from] BuildError),
    /// No connection could be opened.
    #[error("cannot connect to Postgres: {}", describe(.0))]
    Unreachable(#[source] tokio_postgres::Error),
    /// The pool is closed because the process ends.
    #[error("the Postgres pool is closed")]
    Closed,
    /// A timeout.
    #[error("no answer from Postgres within {limit:?} to {asked}")]
    TimedOut {
        /// What was requested.
        asked: Asked,
        /// The time limit.
        limit: Duration,
    },
    /// The connection broke during a commit.
    #[error("the connection to Postgres broke during a commit")]
    Unconfirmed,
    /// The transaction failed that this was written in together with others.
    #[error(transparent)]
    Together(Arc<Self>),
    /// The server accepts no writes.
    #[error(
        "Postgres is read-only, as a standby is or a primary during a failover; \
         DATABASE_URL must lead to the primary"
    )]
    ReadOnly,
    /// A pooler uses several sessions for one connection.
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
    /// A statement affected an unexpected number of rows.
    #[error("statement {statement} touched {found} rows instead of {expected}")]
    Rows {
        /// The name at the start of the SQL text.
        statement: &'static str,
        /// The expected number.
        expected: u64,
        /// The actual number.
        found: u64,
    },
    /// A column holds a value that this release does not know.
    #[error("column {column} holds a value this release does not know")]
    Value {
        /// The column's name.
        column: &'static str,
        /// The value and the known ones.
        #[source]
        source: UnknownName,
    },
}

/// Why a file of root certificates is unusable.
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

/// What was requested when Postgres did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing yet: the time budget was used up before.
    Nothing,
    /// A connection.
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
    /// Whether the database is currently unreachable or unusable, or had no time or room
    /// for this, so that the same call may succeed later: answer 503, keep the work.
    /// False for a statement that would fail again.
    pub fn is_unavailable(&self) -> bool {
        match self {
            // Whatever prevents a connection is not a fault of the intended statement; a
            // password may be in the middle of its rotation.
            Self::Unreachable(_)
            | Self::Closed
            | Self::TimedOut { .. }
            | Self::Unconfirmed
            | Self::ReadOnly
            | Self::TransactionPooler => true,
            Self::Postgres(error) => passes(error),
            Self::Together(error) => error.is_unavailable(),
            Self::Url
            | Self::SslMode { .. }
            | Self::RootCertificates { .. }
            | Self::Tls(_)
            | Self::Build(_)
            | Self::Rows { .. }
            | Self::Value { .. } => false,
        }
    }

    /// Whether the statement may have taken effect without an answer.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::TimedOut { asked, .. } => matches!(asked, Asked::Statement | Asked::Commit),
            Self::Unconfirmed => true,
            Self::Postgres(error) => error.code().is_none() && passes(error),
            Self::Together(error) => error.is_uncertain(),
            _ => false,
        }
    }

    /// Whether the statement conflicted with another one (deadlock, serialisation
    /// failure), so that the same call succeeds when repeated.
    pub fn is_conflict(&self) -> bool {
        self.code().is_some_and(|code| {
            *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
        })
    }

    /// Whether the statement waited for a lock, or for something else, for too long.
    pub(super) fn is_a_lock(&self) -> bool {
        self.code().is_some_and(|code| {
            *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::QUERY_CANCELED
        })
    }

    /// Whether an earlier statement of the transaction has failed, whose error is the cause.
    fn is_a_consequence(&self) -> bool {
        self.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
    }

    /// The values of statements that were sent together in a transaction.
    ///
    /// # Errors
    /// The error of the one that was refused, not those that follow from it.
    pub(super) fn all_or_cause<T>(
        answers: impl IntoIterator<Item = Result<T, Self>>,
    ) -> Result<Vec<T>, Self> {
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Ok(value) => values.push(value),
                Err(error) => errors.push(error),
            }
        }
        if let Some(cause) = errors.iter().position(|error| !error.is_a_consequence()) {
            return Err(errors.swap_remove(cause));
        }
        errors.pop().map_or(Ok(values), Err)
    }

    /// Whether the server says that it accepts no writes.
    pub(super) fn is_about_writes(&self) -> bool {
        self.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether another connection may succeed.
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

    /// Whether the statement failed because of a row, so that the same statement on other rows
    /// may succeed: values, constraints, what triggers and functions raise (under codes of the
    /// application's own, too), damaged rows, and values that this release cannot read.
    pub fn blames_a_row(&self) -> bool {
        match (self, self.code().map(SqlState::code)) {
            (Self::Together(error), _) => error.blames_a_row(),
            (Self::Value { .. } | Self::Rows { .. }, _) => true,
            (_, Some("XX001" | "XX002")) => true,
            (_, Some(code)) => {
                !code.starts_with("XX") && !ABOUT_NO_ROW.iter().any(|class| code.starts_with(class))
            }
            (Self::Postgres(_), None) => !self.is_unavailable(),
            _ => false,
        }
    }

    /// Whether a single row may be at fault, though nothing says so: a trigger can raise any
    /// error for it, also the one of a missing privilege. False for what passes by itself.
    pub(super) fn may_blame_a_row(&self) -> bool {
        let refused = self.code().is_some() && !self.is_unavailable() && !self.is_conflict();
        refused || self.blames_a_row()
    }

    /// What happened and what to do, for operators: no address, no value, nothing
    /// confidential.
    pub fn trouble(&self) -> &'static str {
        let code = self.code().map(SqlState::code);
        match (self, code) {
            (Self::Together(error), _) => error.trouble(),
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

    /// The SQLSTATE of the server's error, if there is one.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Unreachable(error) | Self::Postgres(error) => error.code(),
            Self::Together(error) => error.code(),
            _ => None,
        }
    }
}

/// Whether the connection, the server or the load, not the statement, is at fault:
/// - classes 08 (connection), 53 (out of connections, memory, disk), 57P (shutdown,
///   start-up) and 58 (the underlying system);
/// - 57014 and 55P03: a timeout, or a lock;
/// - 25006: the error of a demoted primary for writes; 25P03: the error of a transaction
///   that was idle for too long;
/// - XX000: an internal error of the server; most often sent by a full pooler in front of
///   it.
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
    // Sockets fail with any io error; only InvalidInput means that a parameter could not
    // be encoded.
    let by_io = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() != io::ErrorKind::InvalidInput);
    error.is_closed() || by_io
}

/// Whether the session does not know a prepared statement, or not in this form any more,
/// because of a pooler or a migration. A new connection prepares it again.
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
