//! The connection to Redis: single, Sentinel or Cluster behind one small type.
//!
//! The URL decides: `redis://` and `rediss://` are one server,
//! `redis-sentinel://host:port,host:port/service[/db]` asks the sentinels for
//! the master, `redis-cluster://host:port,host:port` is a cluster. All keys of
//! a deployment share one hash tag, so that scripts with several keys work on
//! a cluster too.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{
    ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection,
};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo,
    Pipeline, RedisFuture, ScriptInvocation, Value,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

/// How long a command may take before it counts as failed.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Where a cluster's client insists on a timeout.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Why Redis could not be used. Never shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The URL is not one of the three forms.
    #[error(
        "REDIS_URL must be redis://, rediss://, redis-sentinel://host,host/service or redis-cluster://host,host"
    )]
    Url(#[source] redis::RedisError),
    /// A command failed, or the server is away.
    #[error("Redis: {0}")]
    Command(#[from] redis::RedisError),
}

/// A shared, self-healing connection. Cheap to clone.
#[derive(Clone)]
pub struct Kv {
    link: Link,
    prefix: Arc<str>,
}

#[derive(Clone)]
enum Link {
    Single {
        client: Arc<Client>,
        manager: ConnectionManager,
    },
    Cluster {
        client: Arc<ClusterClient>,
        connection: Arc<Mutex<Option<ClusterConnection>>>,
        /// Connects without a response timeout.
        blocking: Arc<ClusterClient>,
    },
    Sentinel(Arc<Sentinel>),
}

struct Sentinel {
    client: Mutex<SentinelClient>,
    master: Mutex<Option<MultiplexedConnection>>,
}

impl std::fmt::Debug for Kv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kv").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Kv {
    /// Prepares the connection. It is made at the first command and again
    /// whenever it breaks, so that a process starts while Redis is away.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(url: &SecretString, prefix: &str) -> Result<Self, KvError> {
        let url = url.expose_secret();
        let link = if let Some(rest) = url.strip_prefix("redis-cluster://") {
            let nodes: Vec<String> =
                rest.split(',').map(|node| format!("redis://{node}")).collect();
            let client = |response: Duration, overall: Option<Duration>| {
                ClusterClient::builder(nodes.clone())
                    .response_timeout(response)
                    .overall_response_timeout(overall)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .build()
                    .map(Arc::new)
                    .map_err(KvError::Url)
            };
            Link::Cluster {
                client: client(RESPONSE_TIMEOUT, Some(RESPONSE_TIMEOUT))?,
                connection: Arc::default(),
                blocking: client(NEVER, None)?,
            }
        } else if let Some(rest) = url.strip_prefix("redis-sentinel://") {
            Link::Sentinel(Arc::new(Sentinel {
                client: Mutex::new(sentinel_client(rest).map_err(KvError::Url)?),
                master: Mutex::default(),
            }))
        } else {
            let client = Client::open(url).map_err(KvError::Url)?;
            let config = ConnectionManagerConfig::new()
                .set_response_timeout(Some(RESPONSE_TIMEOUT))
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_number_of_retries(1)
                .set_max_delay(Duration::from_millis(500));
            let manager = ConnectionManager::new_lazy_with_config(client.clone(), config)
                .map_err(KvError::Url)?;
            Link::Single { client: Arc::new(client), manager }
        };
        Ok(Self { link, prefix: prefix.into() })
    }

    /// The full name of a key. All keys share the prefix as their hash tag.
    pub fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }

    /// Runs one command.
    ///
    /// # Errors
    /// The command failed or Redis is away.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, KvError> {
        Ok(command.query_async(&mut self.clone()).await?)
    }

    /// Runs a script, loading it where the server does not know it yet.
    ///
    /// # Errors
    /// The script failed or Redis is away.
    pub async fn invoke<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, KvError> {
        Ok(invocation.invoke_async(&mut self.clone()).await?)
    }

    /// A connection of its own for commands that block: no response timeout.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn blocking(&self) -> Result<BlockingLink, KvError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        Ok(match &self.link {
            Link::Single { client, .. } => BlockingLink::Server(
                client.get_multiplexed_async_connection_with_config(&config).await?,
            ),
            Link::Sentinel(sentinel) => {
                let mut client = sentinel.client.lock().await;
                BlockingLink::Server(client.get_async_connection_with_config(&config).await?)
            }
            Link::Cluster { blocking, .. } => {
                BlockingLink::Cluster(blocking.get_async_connection().await?)
            }
        })
    }

    /// A subscription connection for `channel`. In a cluster any node relays every message.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn subscribe(&self, channel: &str) -> Result<redis::aio::PubSub, KvError> {
        let client = match &self.link {
            Link::Single { client, .. } => Client::clone(client),
            Link::Sentinel(sentinel) => sentinel.client.lock().await.async_get_client().await?,
            Link::Cluster { .. } => self.cluster_node().await?,
        };
        let mut subscription =
            tokio::time::timeout(CONNECT_TIMEOUT, client.get_async_pubsub()).await.map_err(
                |_| redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)),
            )??;
        subscription.subscribe(channel).await?;
        Ok(subscription)
    }

    /// The address of one live cluster node, for a plain connection to it.
    async fn cluster_node(&self) -> Result<Client, KvError> {
        let slots: Vec<(u16, u16, Vec<Value>)> =
            self.query(redis::cmd("CLUSTER").arg("SLOTS")).await?;
        let node = slots.first().and_then(|(_, _, node)| node.first().zip(node.get(1)));
        let (host, port): (String, u16) = match node {
            Some((host, port)) => (
                redis::from_redis_value_ref(host).map_err(redis::RedisError::from)?,
                redis::from_redis_value_ref(port).map_err(redis::RedisError::from)?,
            ),
            None => {
                let problem = std::io::Error::other("the cluster serves no slots");
                return Err(redis::RedisError::from(problem).into());
            }
        };
        Ok(Client::open((host, port))?)
    }
}

/// A connection that may wait without a response timeout.
pub enum BlockingLink {
    /// To one server.
    Server(MultiplexedConnection),
    /// To a cluster.
    Cluster(ClusterConnection),
}

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
    pub async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, KvError> {
        Ok(match self {
            Self::Server(connection) => command.query_async(connection).await?,
            Self::Cluster(connection) => command.query_async(connection).await?,
        })
    }
}

impl ConnectionLike for Kv {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            match &mut self.link {
                Link::Single { manager, .. } => manager.req_packed_command(cmd).await,
                Link::Cluster { client, connection, .. } => {
                    cluster_connection(client, connection).await?.req_packed_command(cmd).await
                }
                Link::Sentinel(sentinel) => {
                    let reply = sentinel.master().await?.req_packed_command(cmd).await;
                    sentinel.forget_if_broken(&reply).await;
                    reply
                }
            }
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            match &mut self.link {
                Link::Single { manager, .. } => {
                    manager.req_packed_commands(pipeline, offset, count).await
                }
                Link::Cluster { client, connection, .. } => {
                    let mut connection = cluster_connection(client, connection).await?;
                    connection.req_packed_commands(pipeline, offset, count).await
                }
                Link::Sentinel(sentinel) => {
                    let mut master = sentinel.master().await?;
                    let reply = master.req_packed_commands(pipeline, offset, count).await;
                    sentinel.forget_if_broken(&reply).await;
                    reply
                }
            }
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

async fn cluster_connection(
    client: &ClusterClient,
    slot: &Mutex<Option<ClusterConnection>>,
) -> redis::RedisResult<ClusterConnection> {
    let mut slot = slot.lock().await;
    if let Some(connection) = &*slot {
        return Ok(connection.clone());
    }
    Ok(slot.insert(client.get_async_connection().await?).clone())
}

impl Sentinel {
    async fn master(&self) -> redis::RedisResult<MultiplexedConnection> {
        let mut master = self.master.lock().await;
        if let Some(connection) = &*master {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = self.client.lock().await.get_async_connection_with_config(&config).await?;
        Ok(master.insert(connection).clone())
    }

    /// A broken connection, or one to a demoted master, is asked for anew.
    async fn forget_if_broken<T>(&self, reply: &redis::RedisResult<T>) {
        if let Err(error) = reply {
            let demoted =
                matches!(error.kind(), redis::ErrorKind::Server(redis::ServerErrorKind::ReadOnly));
            if demoted || error.is_unrecoverable_error() || error.is_timeout() {
                *self.master.lock().await = None;
            }
        }
    }
}

/// `host:port,host:port/service[/db]`, with `user:password@` in front for the master.
fn sentinel_client(rest: &str) -> redis::RedisResult<SentinelClient> {
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials), rest),
        None => (None, rest),
    };
    let mut parts = rest.split('/');
    let hosts = parts.next().unwrap_or_default();
    let service = parts.next().filter(|name| !name.is_empty()).unwrap_or("mymaster");
    let addresses = hosts
        .split(',')
        .map(|host| {
            let info = format!("redis://{host}").into_connection_info()?;
            Ok(info.addr().clone())
        })
        .collect::<redis::RedisResult<Vec<ConnectionAddr>>>()?;
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?;
    if let Some(db) = parts.next().and_then(|db| db.parse().ok()) {
        builder = builder.set_client_to_redis_db(db);
    }
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').unwrap_or(("", credentials));
        if !user.is_empty() {
            builder = builder.set_client_to_redis_username(user);
        }
        builder = builder.set_client_to_redis_password(password);
    }
    builder.build()
}
