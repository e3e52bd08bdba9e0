//! The connection to Redis: standalone, Sentinel or Cluster behind one small
//! type.
//!
//! The URL decides: `redis://` and `rediss://` are one server,
//! `redis-sentinel://host:port,host:port/service[/db]` asks the sentinels for
//! the master, `redis-cluster://host:port,host:port` is a cluster. All keys of
//! a deployment share one hash tag, so that scripts with several keys work on a
//! cluster too.
//!
//! All commands share one connection. It is replaced when it breaks, when a
//! reply says that the server became a replica, and when it is silent; its
//! pending commands fail at once. [`watch`] tests whether Redis is available.

mod address;
mod health;
mod keys_of_users;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use metrics::Histogram;
use redis::aio::ConnectionLike;
use redis::{Cmd, FromRedisValue, Pipeline, RedisFuture, RedisResult, ScriptInvocation, Value};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use address::Address;
use health::Health;
use wire::{Sign, Wire};

use crate::config::Env;
use crate::telemetry::metrics::Timer;

pub use health::{Trouble, watch};
pub use keys_of_users::{forget_users, keys_of_users};

/// How long a command may take before it counts as failed.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// What `REDIS_URL` may be.
const FORMS: &str = "must be redis://host, redis-sentinel://host,host/service or \
     redis-cluster://host,host, or the same with rediss for TLS";

/// The address of Redis. Mistakes are recorded in `env`.
pub fn url_from_env(env: &mut Env) -> Option<SecretString> {
    const NAME: &str = "REDIS_URL";
    let url = env.required::<String>(NAME).map(SecretString::from)?;
    if Address::parse(url.expose_secret()).is_err() {
        env.error(NAME, FORMS);
        return None;
    }
    Some(url)
}

/// Why Redis could not be used. Never shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The URL has none of the supported forms.
    #[error("REDIS_URL {FORMS}")]
    Url(#[source] redis::RedisError),
    /// A command failed, or the server is away.
    #[error("Redis: {0}")]
    Command(#[from] redis::RedisError),
    /// Not tried: Redis is known to be away.
    #[error("{0}")]
    Away(Trouble),
}

impl RedisError {
    /// What it means.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Url(error) | Self::Command(error) => Trouble::of(error),
            Self::Away(trouble) => *trouble,
        }
    }
}

/// A shared connection that is replaced automatically. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    server: Arc<Server>,
    prefix: Arc<str>,
}

struct Server {
    address: Address,
    connection: Mutex<Option<Connection>>,
    /// The number of replaced connections.
    given_up: channel::Sender<u64>,
    health: Health,
    /// How long commands take.
    took: Histogram,
}

/// A connection, or one that is being made.
#[derive(Clone)]
struct Connection {
    wire: Shared<BoxFuture<'static, RedisResult<Wire>>>,
    given_up: CancellationToken,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Redis {
    /// Prepares the connection. It is made at the first command and again whenever it
    /// breaks, so that a process starts while Redis is away.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(url: &SecretString, prefix: &str) -> Result<Self, RedisError> {
        let address = Address::parse(url.expose_secret()).map_err(RedisError::Url)?;
        let server = Server {
            address,
            connection: Mutex::default(),
            given_up: channel::Sender::new(0),
            health: Health::default(),
            took: metrics::histogram!("regimen_redis_command_seconds"),
        };
        Ok(Self { server: Arc::new(server), prefix: prefix.into() })
    }

    /// The full name of a key. All keys share the prefix as their hash tag.
    pub fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }

    /// Whether Redis is available, according to [`watch`].
    pub fn works(&self) -> bool {
        self.trouble().is_none()
    }

    /// Why Redis is away.
    pub fn trouble(&self) -> Option<Trouble> {
        self.server.health.trouble()
    }

    /// Requests an immediate test by [`watch`].
    pub fn doubt(&self) {
        self.server.health.doubt();
    }

    /// Changes whenever the shared connection was replaced: older connections may lead to
    /// the same server.
    pub fn connections_given_up(&self) -> channel::Receiver<u64> {
        self.server.given_up.subscribe()
    }

    /// Runs one command.
    ///
    /// # Errors
    /// The command failed or Redis is away.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        Ok(command.query_async(&mut self.clone()).await?)
    }

    /// Runs a script, and loads it if the server does not know it.
    ///
    /// # Errors
    /// The script failed or Redis is away.
    pub async fn invoke<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        Ok(invocation.invoke_async(&mut self.clone()).await?)
    }

    /// A separate connection for blocking commands: no response timeout.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn blocking(&self) -> Result<BlockingLink, RedisError> {
        Ok(BlockingLink(self.server.address.connect_blocking().await?))
    }

    /// A subscription connection for `channel`.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn subscribe(&self, channel: &str) -> Result<redis::aio::PubSub, RedisError> {
        Ok(self.server.address.subscribe(channel).await?)
    }

    fn health(&self) -> &Health {
        &self.server.health
    }

    /// Replaces the connection; its pending commands fail.
    fn give_up_connection(&self) {
        let connection = self.server.lock().clone();
        if let Some(connection) = connection {
            self.server.give_up(&connection);
        }
    }
}

impl Server {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, or the one that is being made.
    fn connection(self: &Arc<Self>) -> Connection {
        self.lock()
            .get_or_insert_with(|| {
                let server = Arc::clone(self);
                let wire = async move { server.address.connect().await }.boxed().shared();
                // On its own task: the caller may be cancelled.
                tokio::spawn(wire.clone());
                Connection { wire, given_up: CancellationToken::new() }
            })
            .clone()
    }

    /// The next command makes a new connection. Only the first caller has an effect.
    fn give_up(&self, connection: &Connection) {
        let mut standing = self.lock();
        if standing.as_ref().is_some_and(|standing| standing.wire.ptr_eq(&connection.wire)) {
            *standing = None;
            drop(standing);
            connection.given_up.cancel();
            self.given_up.send_modify(|count| *count += 1);
        }
    }

    /// Runs `call` on the shared connection, and updates the state by its reply.
    async fn run<T>(
        self: &Arc<Self>,
        call: impl AsyncFnOnce(&mut Wire) -> RedisResult<T>,
        sign: impl FnOnce(&T) -> Sign,
    ) -> RedisResult<T> {
        let _took = Timer::new(&self.took);
        let answer = self.run_now(call, sign).await;
        if answer.is_err() {
            metrics::counter!("regimen_redis_failures_total").increment(1);
        }
        answer
    }

    async fn run_now<T>(
        self: &Arc<Self>,
        call: impl AsyncFnOnce(&mut Wire) -> RedisResult<T>,
        sign: impl FnOnce(&T) -> Sign,
    ) -> RedisResult<T> {
        let connection = self.connection();
        let mut wire = match connection.wire.clone().await {
            Ok(wire) => wire,
            Err(error) => {
                self.health.doubt();
                self.give_up(&connection);
                return Err(error);
            }
        };
        let answer = tokio::select! {
            answer = call(&mut wire) => answer,
            () = connection.given_up.cancelled() => {
                let why = "the connection was given up: it was silent or led to a replica";
                Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, why).into())
            }
        };
        let sign = answer.as_ref().map_or_else(Sign::of_error, sign);
        if sign >= Sign::Doubt {
            self.health.doubt();
        }
        if sign == Sign::Broken {
            self.give_up(&connection);
        }
        answer
    }
}

/// A connection without a response timeout.
pub struct BlockingLink(Wire);

impl std::fmt::Debug for BlockingLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockingLink")
    }
}

impl BlockingLink {
    /// Runs one command, however long it takes.
    ///
    /// # Errors
    /// The command failed or the connection broke; make a new link then.
    pub async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        let value = self.0.command(command).await?.extract_error()?;
        Ok(redis::from_redis_value(value).map_err(redis::RedisError::from)?)
    }
}

impl ConnectionLike for Redis {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let call = async move |wire: &mut Wire| wire.command(cmd).await;
        self.server.run(call, Sign::of_value).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let call = async move |wire: &mut Wire| wire.pipeline(pipeline, offset, count).await;
        self.server.run(call, |values: &Vec<Value>| Sign::of_values(values)).boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}
