//! The connection pool of a process, and which connections it keeps.
//!
//! A connection is discarded when a statement on it timed out, when its error
//! shows that it is unusable (read-only, shutting down, out of sync), and when
//! it is old. After a timeout or a read-only answer, the other connections are
//! checked before their next use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, PoolError, QueueMode, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use metrics::Histogram;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::CancelToken;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Watch};
use super::connect::Endpoint;
use super::error::{Asked, DbError};
use super::limits::{self, PROBE, StatementLimits, Wait};
use super::pooler::{self, Sessions};
use crate::telemetry::metrics::Timer;

/// The lifetime of a connection, randomised a little so that they do not all close at
/// once.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// A connection that was idle for this long is tested before its use.
const QUIET: Duration = Duration::from_secs(5);
/// The time limit of that test.
const ECHO: Duration = Duration::from_secs(1);
/// The same for a connection that was abandoned during a statement.
const LAST_WORD: Duration = Duration::from_millis(250);
/// The time limit of cancelling a statement on the server.
const CANCEL: Duration = Duration::from_secs(2);
/// Between two tries to inspect the server of the URL.
const RETRY: Duration = Duration::from_secs(1);

pub(super) type Pooled = managed::Object<Manager>;

/// Connections to one database, with their time limits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: managed::Pool<Manager>,
    limits: StatementLimits,
}

impl Pool {
    pub(super) fn new(
        url: &SecretString,
        size: usize,
        application_name: &str,
        limits: StatementLimits,
        name: &'static str,
    ) -> Result<Self, DbError> {
        let endpoint = Endpoint::read(url, application_name)?.limited(&limits);
        let connections = managed::Pool::builder(Manager(Arc::new(Shared::new(endpoint, name))))
            .max_size(size)
            // The most recently used connection has its statements prepared and its
            // caches warm.
            .queue_mode(QueueMode::Lifo)
            .build()?;
        Ok(Self { connections, limits })
    }

    /// The same connections, with `limit` for getting one and for each statement.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let usual = limit.min(self.limits.longest);
        Self {
            connections: self.connections.clone(),
            limits: StatementLimits { usual, ..self.limits },
        }
    }

    /// The most connections it opens.
    pub fn max_size(&self) -> usize {
        self.connections.status().max_size
    }

    /// A connection.
    ///
    /// # Errors
    /// None is free in time, or none can be opened.
    pub async fn get(&self) -> Result<Client, DbError> {
        let limit = limits::left(self.limits.usual);
        let _wait = Wait::begin();
        let waited = Timer::new(&self.shared().waited);
        let pooled = match timeout(limit, self.connections.get()).await {
            Ok(Ok(pooled)) => pooled,
            Ok(Err(PoolError::Backend(error))) => return Err(error),
            // Only closing is left: there are no hooks, and no timeouts of the pool
            // library.
            Ok(Err(_)) => return Err(DbError::Closed),
            Err(_) => return Err(DbError::TimedOut { asked: Asked::Connection, limit }),
        };
        drop(waited);
        if managed::Object::metrics(&pooled).recycle_count == 0 {
            self.close_when_old();
        }
        let watch = Watch {
            shared: Arc::clone(self.shared()),
            health: Arc::clone(&pooled.health),
            cancel: pooled.client.cancel_token(),
            limit: self.limits.usual,
        };
        Ok(Client::new(pooled, watch))
    }

    /// Whether writes can be accepted: Postgres answers, it is not read-only, and the
    /// tables of a submission are not locked.
    ///
    /// # Errors
    /// The reason.
    pub async fn ready(&self) -> Result<(), DbError> {
        limits::within(PROBE, async {
            let client = self.within(PROBE).get().await?;
            let sql = "-- readiness
                 select current_setting('transaction_read_only')::bool,
                        exists (select from regimen.jobs), exists (select from regimen.job_events),
                        exists (select from regimen.idempotency_keys),
                        exists (select from public.profiles)";
            if client.query_one(sql, &[]).await?.get(0) {
                self.shared().condemn();
                client.give_up();
                return Err(DbError::ReadOnly);
            }
            Ok(())
        })
        .await
    }

    /// Refuses a URL that leads through a pooler in transaction mode. While Postgres is
    /// away nothing is refused; [`Pool::refused`] continues to test.
    ///
    /// # Errors
    /// [`DbError::TransactionPooler`].
    pub async fn inspect(&self) -> Result<(), DbError> {
        match self.get().await {
            Err(refused @ DbError::TransactionPooler) => Err(refused),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "Postgres cannot be used yet; going on without it");
                Ok(())
            }
        }
    }

    /// Resolves when the URL turns out to lead through a pooler in transaction mode.
    pub async fn refused(&self) -> DbError {
        let shared = Arc::clone(self.shared());
        while !shared.settled.load(Ordering::Relaxed) && !shared.refused.is_cancelled() {
            let known = timeout(self.limits.usual, shared.inspect()).await;
            if !matches!(known, Ok(Ok(()))) || !shared.settled.load(Ordering::Relaxed) {
                sleep(RETRY).await;
            }
        }
        shared.refused.cancelled().await;
        DbError::TransactionPooler
    }

    /// Closes a new connection when it is old, also if it is idle.
    fn close_when_old(&self) {
        let connections = self.connections.weak();
        tokio::spawn(async move {
            sleep(LIFETIME).await;
            if let Some(connections) = connections.upgrade() {
                connections.retain(|connection, _| !connection.is_old());
            }
        });
    }

    /// Closes idle connections, and the others on their return.
    pub fn close(&self) {
        self.connections.close();
    }

    /// Sets the gauges of its connections.
    pub fn report(&self) {
        let (status, pool) = (self.connections.status(), self.shared().name);
        let used = status.size.saturating_sub(status.available);
        for (state, connections) in [("used", used), ("idle", status.available)] {
            metrics::gauge!("regimen_postgres_connections", "pool" => pool, "state" => state)
                .set(connections as f64);
        }
        metrics::gauge!("regimen_postgres_connections_max", "pool" => pool)
            .set(status.max_size as f64);
        metrics::gauge!("regimen_postgres_waiting", "pool" => pool).set(status.waiting as f64);
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.connections.manager().0
    }
}

/// Opens connections and tests them before they are used again.
#[derive(Debug)]
pub(super) struct Manager(Arc<Shared>);

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: ClientWrapper,
    pub(super) health: Arc<Health>,
    /// The server's process when it was opened.
    process: i32,
    opened: Instant,
    lifetime: Duration,
}

impl Connection {
    fn is_old(&self) -> bool {
        self.opened.elapsed() >= self.lifetime
    }
}

/// The state of one connection. Times are those of [`Shared::now`].
#[derive(Debug)]
pub(super) struct Health {
    asked: AtomicU64,
    answered: AtomicU64,
    heard: AtomicU64,
    given_up: AtomicBool,
    task: AbortHandle,
}

impl Health {
    fn new(task: AbortHandle, now: u64) -> Self {
        Self {
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            heard: AtomicU64::new(now),
            given_up: AtomicBool::new(false),
            task,
        }
    }

    /// Counts a statement; returns its number.
    pub(super) fn asked(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Answers arrive in the order of the statements.
    pub(super) fn answered(&self, question: u64, now: u64) {
        self.answered.fetch_max(question, Ordering::Relaxed);
        self.heard.fetch_max(now, Ordering::Relaxed);
    }

    /// Whether a statement was abandoned before its answer.
    fn is_busy(&self) -> bool {
        self.answered.load(Ordering::Relaxed) < self.asked.load(Ordering::Relaxed)
    }

    /// Closes the connection at once.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

/// What the connections of a pool share.
#[derive(Debug)]
pub(super) struct Shared {
    endpoint: Endpoint,
    /// Its name in metrics.
    name: &'static str,
    /// How long callers wait for a connection.
    waited: Histogram,
    /// How long statements take.
    pub(super) took: Histogram,
    epoch: Instant,
    /// Connections without an answer since then must be tested.
    doubted: AtomicU64,
    /// Connections without an answer since then are unusable.
    condemned: AtomicU64,
    /// Serialises the inspection of sessions.
    inspecting: Mutex<()>,
    /// Sessions belong to their connections.
    settled: AtomicBool,
    /// There was no room for the inspection; [`Pool::refused`] retries.
    unknown: AtomicBool,
    /// Cancelled once it is known that they do not.
    refused: CancellationToken,
}

impl Shared {
    fn new(endpoint: Endpoint, name: &'static str) -> Self {
        Self {
            endpoint,
            name,
            waited: metrics::histogram!("regimen_postgres_wait_seconds", "pool" => name),
            took: metrics::histogram!("regimen_postgres_statement_seconds", "pool" => name),
            epoch: Instant::now(),
            doubted: AtomicU64::new(0),
            condemned: AtomicU64::new(0),
            inspecting: Mutex::default(),
            settled: AtomicBool::new(false),
            unknown: AtomicBool::new(false),
            refused: CancellationToken::new(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A connection timed out; the others may be affected too.
    pub(super) fn doubt(&self) {
        self.doubted.fetch_max(self.now(), Ordering::Relaxed);
    }

    fn condemn(&self) {
        self.condemned.fetch_max(self.now(), Ordering::Relaxed);
    }

    /// Updates the state after a failure.
    pub(super) fn learn(&self, health: &Health, error: &DbError) {
        if error.is_about_writes() {
            // The others were opened to the same server.
            self.condemn();
        }
        if error.is_about_the_connection() {
            health.give_up();
        }
    }

    /// Cancels a connection's statement on the server, in the background.
    pub(super) fn cancel(self: &Arc<Self>, token: CancelToken) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let cancelled = timeout(CANCEL, shared.endpoint.cancel(&token)).await;
            tracing::debug!(?cancelled, "asked Postgres to stop a statement");
        });
    }

    async fn open(self: &Arc<Self>) -> Result<Connection, DbError> {
        let (client, task) = self.endpoint.open().await?;
        let health = Arc::new(Health::new(task.abort_handle(), self.now()));
        let client = ClientWrapper::new(client, task);
        let process = self.endpoint.set_up(&client).await?;
        let lifetime = LIFETIME.mul_f64(rand::random_range(0.8..1.0));
        Ok(Connection { client, health, process, opened: Instant::now(), lifetime })
    }

    /// Inspects once whether sessions belong to their connections.
    async fn inspect(&self) -> Result<(), DbError> {
        let known = || match (self.refused.is_cancelled(), self.settled.load(Ordering::Relaxed)) {
            (true, _) => Some(Err(DbError::TransactionPooler)),
            (false, true) => Some(Ok(())),
            (false, false) => None,
        };
        if let Some(known) = known() {
            return known;
        }
        let _turn = self.inspecting.lock().await;
        if let Some(known) = known() {
            return known;
        }
        match pooler::inspect(&self.endpoint).await? {
            Sessions::Own => self.settled.store(true, Ordering::Relaxed),
            Sessions::Unknown => self.unknown.store(true, Ordering::Relaxed),
            Sessions::Shared => {
                self.refused.cancel();
                return Err(DbError::TransactionPooler);
            }
        }
        Ok(())
    }

    /// Whether the connection answers within `limit`.
    async fn echo(self: &Arc<Self>, connection: &Connection, limit: Duration) -> Result<(), Unfit> {
        let question = connection.health.asked();
        match timeout(limit, self.endpoint.process(&connection.client)).await {
            Ok(Ok(process)) if process == connection.process => {
                connection.health.answered(question, self.now());
                Ok(())
            }
            Ok(Ok(_)) => {
                // Another session answers than the one that was set up.
                self.refused.cancel();
                Err(Unfit("its session is shared"))
            }
            Ok(Err(_)) => Err(Unfit("it fails")),
            Err(_) => Err(Unfit("it is silent")),
        }
    }
}

/// Why a connection is not used again.
struct Unfit(&'static str);

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = DbError;

    async fn create(&self) -> Result<Connection, DbError> {
        // Boxed, because every task that may take a connection would otherwise have room
        // for 16 KiB of connecting.
        Box::pin(async {
            // With a full pooler, not every connection must wait for a second one.
            if self.0.refused.is_cancelled() || !self.0.unknown.load(Ordering::Relaxed) {
                self.0.inspect().await?;
            }
            self.0.open().await
        })
        .await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<DbError> {
        let unfit = match self.look(connection).await {
            Ok(()) => return Ok(()),
            Err(unfit) => unfit,
        };
        connection.health.give_up();
        tracing::debug!(reason = unfit.0, "a Postgres connection is not used again");
        Err(RecycleError::message(unfit.0))
    }
}

impl Manager {
    async fn look(&self, connection: &Connection) -> Result<(), Unfit> {
        let (shared, health) = (&self.0, &connection.health);
        if health.given_up.load(Ordering::Relaxed) {
            return Err(Unfit("it was given up"));
        }
        if connection.client.is_closed() {
            return Err(Unfit("it is closed"));
        }
        if connection.is_old() {
            return Err(Unfit("it is old"));
        }
        let heard = health.heard.load(Ordering::Relaxed);
        if heard < shared.condemned.load(Ordering::Relaxed) {
            return Err(Unfit("others of its time are of no use"));
        }
        if health.is_busy() {
            // The abandoned answer is not needed, and the next user does not wait long
            // for it.
            if let Err(unfit) = shared.echo(connection, LAST_WORD).await {
                shared.doubt();
                shared.cancel(connection.client.cancel_token());
                return Err(unfit);
            }
            return Ok(());
        }
        let quiet = u64::try_from(QUIET.as_micros()).unwrap_or(u64::MAX);
        let doubted = heard < shared.doubted.load(Ordering::Relaxed);
        if doubted || heard.saturating_add(quiet) < shared.now() {
            shared.echo(connection, ECHO).await.inspect_err(|_| shared.condemn())?;
        }
        Ok(())
    }
}
