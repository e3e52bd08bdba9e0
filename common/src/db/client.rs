//! A pooled connection and a transaction on it: each statement has a time
//! limit, and the errors of a connection decide whether it is used again.
//!
//! A transaction does not wait for its own beginning: `BEGIN` is sent with its first
//! statement, and `COMMIT` can be sent with its last one ([`Transaction::commit_after`]).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures_util::future::{join_all, maybe_done};
use futures_util::{FutureExt, join, poll};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, Row, Statement, ToStatement};

use super::error::{Asked, DbError};
use super::limits::{self, Wait};
use super::pool::{Health, Pooled, Shared};
use crate::telemetry::metrics::Timer;

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection from the pool; it is returned when dropped.
#[derive(Debug)]
pub struct Client {
    pooled: Pooled,
    watch: Watch,
}

/// A transaction that is rolled back unless it is committed. It begins with its first
/// statement.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// Borrowed from a mutable one, so that nobody else uses it meanwhile.
    connection: &'a ClientWrapper,
    watch: &'a Watch,
    /// Between `BEGIN` and the end.
    open: AtomicBool,
}

/// What one user of a connection monitors.
pub(super) struct Watch {
    pub(super) shared: Arc<Shared>,
    pub(super) health: Arc<Health>,
    pub(super) cancel: CancelToken,
    pub(super) limit: Duration,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Watch {
    /// Waits for a statement, up to its limit. After that the connection is discarded,
    /// because its next answer would belong to this statement.
    async fn run<T>(
        &self,
        asked: Asked,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DbError> {
        let limit = limits::left(self.limit);
        if limit.is_zero() {
            return Err(DbError::TimedOut { asked: Asked::Nothing, limit: self.limit });
        }
        let _wait = Wait::begin();
        let _took = Timer::new(&self.shared.took);
        let question = self.health.asked();
        match timeout(limit, work).await {
            Ok(answer) => {
                self.health.answered(question, self.shared.now());
                answer.map_err(|error| {
                    let error = DbError::Postgres(error);
                    self.shared.learn(&self.health, &error);
                    match asked {
                        Asked::Commit if error.code().is_none() => DbError::Unconfirmed,
                        _ => error,
                    }
                })
            }
            Err(_) => {
                self.health.give_up();
                self.shared.doubt();
                self.shared.cancel(self.cancel.clone());
                metrics::counter!("regimen_postgres_timeouts_total").increment(1);
                Err(DbError::TimedOut { asked, limit })
            }
        }
    }
}

impl Client {
    pub(super) fn new(pooled: Pooled, watch: Watch) -> Self {
        Self { pooled, watch }
    }

    /// A transaction, which begins with its first statement.
    pub fn transaction(&mut self) -> Transaction<'_> {
        let (connection, watch) = (&self.pooled.client, &self.watch);
        Transaction { connection, watch, open: AtomicBool::new(false) }
    }

    /// The driver's own client, for a library that requires it. The caller sets the time
    /// limit.
    pub(super) fn driver(&mut self) -> &mut tokio_postgres::Client {
        &mut self.pooled.client
    }

    /// Discards the connection instead of returning it.
    pub(super) fn give_up(self) {
        self.watch.health.give_up();
    }
}

impl Transaction<'_> {
    /// Sends `BEGIN` before the first statement, and waits for the answers of both together.
    async fn begun<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        if self.open.swap(true, Ordering::Relaxed) {
            return statement.await;
        }
        // Polled in this order, and so sent in this order.
        let (begun, done) = join!(self.connection.batch_execute("BEGIN"), statement);
        begun?;
        done
    }

    /// Commits it.
    ///
    /// # Errors
    /// Nothing was changed; or, if [`DbError::is_uncertain`], perhaps everything.
    pub async fn commit(self) -> Result<(), DbError> {
        self.end(Asked::Commit, "COMMIT").await
    }

    /// Undoes everything done in it.
    ///
    /// # Errors
    /// Postgres failed; nothing was committed.
    pub async fn rollback(self) -> Result<(), DbError> {
        self.end(Asked::Step, "ROLLBACK").await
    }

    async fn end(&self, asked: Asked, sql: &str) -> Result<(), DbError> {
        let ended = async {
            if !self.open.swap(false, Ordering::Relaxed) {
                return Ok(());
            }
            self.connection.batch_execute(sql).await
        };
        self.watch.run(asked, ended).await
    }

    /// Executes a statement with each of these parameters and commits, all sent without
    /// waiting for an answer in between; returns the rows of each. If one of them is refused,
    /// nothing is committed. The statement is prepared already: to prepare it here would let
    /// the `COMMIT` overtake it.
    ///
    /// # Errors
    /// Nothing was changed; or, if [`DbError::is_uncertain`], perhaps everything.
    pub async fn commit_after(
        &self,
        statement: &Statement,
        of_each: &[Params<'_>],
    ) -> Result<Vec<Vec<Row>>, DbError> {
        let executed = of_each.iter().map(|params| self.query(statement, params));
        let mut executed: Vec<_> = executed.map(|one| Box::pin(maybe_done(one))).collect();
        for one in &mut executed {
            // Sent by its first poll, unless that ends it.
            let _ = poll!(one.as_mut());
            if matches!(one.as_mut().output_mut(), Some(Err(_)))
                && let Some(Err(unsent)) = one.as_mut().take_output()
            {
                return Err(unsent);
            }
        }
        let committed = self.end(Asked::Commit, "COMMIT");
        let (_, committed) = join!(join_all(executed.iter_mut().map(Pin::as_mut)), committed);
        let rows = executed.iter_mut().filter_map(|one| one.as_mut().take_output());
        match rows.collect() {
            Ok(rows) => committed.map(|()| rows),
            // The server undoes a transaction in which it has refused something.
            Err(refused) if refused.code().is_some() => Err(refused),
            Err(_) => Err(DbError::Unconfirmed),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if *self.open.get_mut() {
            // Sent by its first poll; what comes next on this connection comes behind it.
            let _ = self.connection.batch_execute("ROLLBACK").now_or_never();
        }
    }
}

/// The statements of a connection, in a transaction or not.
pub trait GenericClient: Send + Sync {
    /// Prepares a statement once per connection.
    ///
    /// # Errors
    /// Postgres failed.
    fn prepare_cached(&self, sql: &str) -> impl Future<Output = Result<Statement, DbError>> + Send;

    /// All rows.
    ///
    /// # Errors
    /// Postgres failed.
    fn query<T>(
        &self,
        statement: &T,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Vec<Row>, DbError>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// The only row.
    ///
    /// # Errors
    /// Postgres failed, or there is not exactly one.
    fn query_one<T>(
        &self,
        statement: &T,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Row, DbError>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// The only row, if there is one.
    ///
    /// # Errors
    /// Postgres failed, or there are more.
    fn query_opt<T>(
        &self,
        statement: &T,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Option<Row>, DbError>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// The number of affected rows.
    ///
    /// # Errors
    /// Postgres failed.
    fn execute<T>(
        &self,
        statement: &T,
        params: Params<'_>,
    ) -> impl Future<Output = Result<u64, DbError>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// Statements without parameters, one after another.
    ///
    /// # Errors
    /// Postgres failed.
    fn batch_execute(&self, sql: &str) -> impl Future<Output = Result<(), DbError>> + Send;
}

/// Inherent methods, and the trait for code that takes either type.
macro_rules! statements {
    ($type:ty, $asked:expr, |$self:ident| $raw:expr, |$statement:ident| $sent:expr) => {
        impl $type {
            /// Prepares a statement once per connection.
            ///
            /// # Errors
            /// Postgres failed.
            pub async fn prepare_cached(&$self, sql: &str) -> Result<Statement, DbError> {
                $self.watch.run(Asked::Step, $raw.prepare_cached(sql)).await
            }

            /// All rows.
            ///
            /// # Errors
            /// Postgres failed.
            pub async fn query<T>(&$self, statement: &T, params: Params<'_>) -> Result<Vec<Row>, DbError>
            where
                T: ?Sized + ToStatement + Sync,
            {
                let $statement = $raw.query(statement, params);
                $self.watch.run($asked, $sent).await
            }

            /// The only row.
            ///
            /// # Errors
            /// Postgres failed, or there is not exactly one.
            pub async fn query_one<T>(&$self, statement: &T, params: Params<'_>) -> Result<Row, DbError>
            where
                T: ?Sized + ToStatement + Sync,
            {
                let $statement = $raw.query_one(statement, params);
                $self.watch.run($asked, $sent).await
            }

            /// The only row, if there is one.
            ///
            /// # Errors
            /// Postgres failed, or there are more.
            pub async fn query_opt<T>(
                &$self,
                statement: &T,
                params: Params<'_>,
            ) -> Result<Option<Row>, DbError>
            where
                T: ?Sized + ToStatement + Sync,
            {
                let $statement = $raw.query_opt(statement, params);
                $self.watch.run($asked, $sent).await
            }

            /// The number of affected rows.
            ///
            /// # Errors
            /// Postgres failed.
            pub async fn execute<T>(&$self, statement: &T, params: Params<'_>) -> Result<u64, DbError>
            where
                T: ?Sized + ToStatement + Sync,
            {
                let $statement = $raw.execute(statement, params);
                $self.watch.run($asked, $sent).await
            }

            /// Statements without parameters, one after another.
            ///
            /// # Errors
            /// Postgres failed.
            pub async fn batch_execute(&$self, sql: &str) -> Result<(), DbError> {
                let $statement = $raw.batch_execute(sql);
                $self.watch.run($asked, $sent).await
            }
        }

        impl GenericClient for $type {
            async fn prepare_cached(&self, sql: &str) -> Result<Statement, DbError> {
                self.prepare_cached(sql).await
            }

            async fn query<T>(&self, statement: &T, params: Params<'_>) -> Result<Vec<Row>, DbError>
            where
                T: ?Sized + ToStatement + Sync,
            {
                self.query(statement, params).await
            }

            async fn query_one<T>(&self, statement: &T, params: Params<'_>) -> Result<Row, DbError>
            where
                T: ?Sized + ToStatement + Sync,
            {
                self.query_one(statement, params).await
            }

            async fn query_opt<T>(
                &self,
                statement: &T,
                params: Params<'_>,
            ) -> Result<Option<Row>, DbError>
            where
                T: ?Sized + ToStatement + Sync,
            {
                self.query_opt(statement, params).await
            }

            async fn execute<T>(&self, statement: &T, params: Params<'_>) -> Result<u64, DbError>
            where
                T: ?Sized + ToStatement + Sync,
            {
                self.execute(statement, params).await
            }

            async fn batch_execute(&self, sql: &str) -> Result<(), DbError> {
                self.batch_execute(sql).await
            }
        }
    };
}

statements!(Client, Asked::Statement, |self| self.pooled.client, |statement| statement);
statements!(Transaction<'_>, Asked::Step, |self| self.connection, |statement| self
    .begun(statement));
