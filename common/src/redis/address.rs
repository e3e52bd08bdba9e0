//! The address of Redis, and how connections to it are made: one server, the
//! master that sentinels name, or a cluster. Every connection uses the same
//! credentials, TLS settings and database number.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::io::tcp::{TcpSettings, socket2};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult,
    TlsMode, Value,
};
use tokio::time::timeout;

use super::RESPONSE_TIMEOUT;
use super::wire::Wire;

/// The time limit of one step of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of connecting with preceding look-ups.
const WAY_TIMEOUT: Duration = Duration::from_secs(4);
/// Where a cluster client requires a timeout.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// After this time without traffic the kernel probes the connection,
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
/// in this interval,
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
/// and this many times before the connection is dead.
const KEEPALIVE_TRIES: u32 = 3;
/// How long sent data may stay unacknowledged before the connection is dead.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Connects to the server of `REDIS_URL`.
pub(super) enum Address {
    Single(Box<Client>),
    Sentinel(Box<SentinelAddress>),
    Cluster(Box<ClusterAddress>),
}

/// A service whose master the sentinels name.
pub(super) struct SentinelAddress {
    sentinels: Vec<ConnectionInfo>,
    service: String,
    /// Credentials and database of the master.
    master: redis::RedisConnectionInfo,
}

/// A cluster, given by some of its nodes.
pub(super) struct ClusterAddress {
    client: ClusterClient,
    /// Connects without a response timeout.
    blocking: ClusterClient,
    /// The connection settings of a node; others differ in host and port.
    node: ConnectionInfo,
    /// The node of the next subscription.
    turn: AtomicUsize,
}

impl Address {
    /// Parses a URL in one of the forms of `.env.example`.
    pub(super) fn parse(url: &str) -> RedisResult<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Ok(Self::Single(Box::new(Client::open(url)?)));
        };
        let (plain, kind) = match scheme {
            "redis-sentinel" => ("redis", "sentinel"),
            "rediss-sentinel" => ("rediss", "sentinel"),
            "redis-cluster" => ("redis", "cluster"),
            "rediss-cluster" => ("rediss", "cluster"),
            _ => {
                let info = url.into_connection_info()?.set_tcp_settings(tcp());
                return Ok(Self::Single(Box::new(Client::open(info)?)));
            }
        };
        let parts = Parts::of(rest);
        let nodes = parts.nodes(plain)?;
        Ok(match kind {
            "sentinel" => Self::Sentinel(Box::new(SentinelAddress::new(nodes, &parts)?)),
            _ => Self::Cluster(Box::new(ClusterAddress::new(nodes)?)),
        })
    }

    /// A connection for commands that are answered at once.
    pub(super) async fn connect(&self) -> RedisResult<Wire> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        match self {
            Self::Cluster(cluster) => in_time(cluster.client.get_async_connection()).await,
            _ => return Ok(Wire::Server(self.server(&config).await?)),
        }
        .map(Wire::Cluster)
    }

    /// A connection for commands that block.
    pub(super) async fn connect_blocking(&self) -> RedisResult<Wire> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        match self {
            Self::Cluster(cluster) => in_time(cluster.blocking.get_async_connection()).await,
            _ => return Ok(Wire::Server(self.server(&config).await?)),
        }
        .map(Wire::Cluster)
    }

    async fn server(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let client = self.client().await?;
        client.get_multiplexed_async_connection_with_config(config).await
    }

    /// A connection that subscribes to `channel`. In a cluster every node relays every
    /// message.
    pub(super) async fn subscribe(&self, channel: &str) -> RedisResult<PubSub> {
        let client = self.client().await?;
        in_time(async {
            let mut subscription = client.get_async_pubsub().await?;
            subscription.subscribe(channel).await?;
            Ok(subscription)
        })
        .await
    }

    /// The current server.
    async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Single(client) => Ok(Client::clone(client)),
            // A new client each time, so that a silent sentinel is not used forever.
            Self::Sentinel(address) => {
                in_time(async { address.client()?.async_get_client().await }).await
            }
            Self::Cluster(cluster) => in_time(cluster.some_node()).await,
        }
    }
}

impl SentinelAddress {
    fn new(nodes: Vec<ConnectionInfo>, parts: &Parts<'_>) -> RedisResult<Self> {
        let mut master =
            nodes.first().map(|node| node.redis_settings().clone()).unwrap_or_default();
        let mut path = parts.path.split('/');
        let service = path.next().filter(|name| !name.is_empty()).unwrap_or("mymaster").to_owned();
        if let Some(db) = path.next().filter(|db| !db.is_empty()) {
            let db = db.parse().map_err(|_| invalid("the database is not a number"))?;
            master = master.set_db(db);
        }
        let mut of_sentinel = redis::RedisConnectionInfo::default();
        for (name, value) in url::form_urlencoded::parse(parts.query.as_bytes()) {
            of_sentinel = match &*name {
                "sentinel_username" => of_sentinel.set_username(value),
                "sentinel_password" => of_sentinel.set_password(value),
                _ => return Err(invalid("an unknown parameter")),
            };
        }
        let sentinel = |node: ConnectionInfo| node.set_redis_settings(of_sentinel.clone());
        let address =
            Self { sentinels: nodes.into_iter().map(sentinel).collect(), service, master };
        // Built only for its errors.
        address.client()?;
        Ok(address)
    }

    fn client(&self) -> RedisResult<SentinelClient> {
        let addresses = self.sentinels.iter().map(|sentinel| sentinel.addr().clone());
        let mut builder =
            SentinelClientBuilder::new(addresses, &self.service, SentinelServerType::Master)?
                .set_client_to_redis_db(self.master.db())
                .set_client_to_redis_tcp_settings(tcp())
                .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(user) = self.master.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = self.master.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        let sentinel = self.sentinels.first();
        if let Some(user) = sentinel.and_then(|sentinel| sentinel.redis_settings().username()) {
            builder = builder.set_client_to_sentinel_username(user);
        }
        let settings = sentinel.map(ConnectionInfo::redis_settings);
        if let Some(password) = settings.and_then(redis::RedisConnectionInfo::password) {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(ConnectionAddr::TcpTls { insecure, .. }) = sentinel.map(ConnectionInfo::addr) {
            let mode = if *insecure { TlsMode::Insecure } else { TlsMode::Secure };
            builder = builder.set_client_to_redis_tls_mode(mode);
        }
        builder.build()
    }
}

impl ClusterAddress {
    fn new(nodes: Vec<ConnectionInfo>) -> RedisResult<Self> {
        let node = nodes.first().cloned().ok_or_else(|| invalid("no node"))?;
        let client = |response: Duration, overall: Option<Duration>| {
            ClusterClient::builder(nodes.clone())
                .response_timeout(response)
                .overall_response_timeout(overall)
                .connection_timeout(CONNECT_TIMEOUT)
                .tcp_settings(tcp())
                .build()
        };
        Ok(Self {
            client: client(RESPONSE_TIMEOUT, Some(RESPONSE_TIMEOUT))?,
            blocking: client(NEVER, None)?,
            node,
            turn: AtomicUsize::new(0),
        })
    }

    /// A plain connection to one of the masters, to another one each time.
    async fn some_node(&self) -> RedisResult<Client> {
        let mut cluster = self.client.get_async_connection().await?;
        let slots: Vec<(u16, u16, Vec<Value>)> =
            redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut cluster).await?;
        let mut masters: Vec<(String, u16)> = Vec::new();
        for (_, _, nodes) in &slots {
            let Some((host, port)) = nodes.first().zip(nodes.get(1)) else { continue };
            masters.push((redis::from_redis_value_ref(host)?, redis::from_redis_value_ref(port)?));
        }
        masters.sort();
        masters.dedup();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match masters.get(turn.checked_rem(masters.len()).unwrap_or_default()) {
            Some((host, port)) => Client::open(self.reached_at(host, *port)),
            None => Err(std::io::Error::other("the cluster serves no slots").into()),
        }
    }

    fn reached_at(&self, host: &str, port: u16) -> ConnectionInfo {
        let known = |host: &str| (!host.is_empty() && host != "?").then(|| host.to_owned());
        let addr = match self.node.addr().clone() {
            ConnectionAddr::Tcp(seed, _) => ConnectionAddr::Tcp(known(host).unwrap_or(seed), port),
            ConnectionAddr::TcpTls { host: seed, insecure, tls_params, .. } => {
                let host = known(host).unwrap_or(seed);
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            other => other,
        };
        self.node.clone().set_addr(addr)
    }
}

/// `[user:password@]host:port,host:port[/path][?query][#insecure]`; each host may have
/// its own credentials.
struct Parts<'a> {
    authority: &'a str,
    path: &'a str,
    query: &'a str,
    fragment: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Self { authority, path, query, fragment }
    }

    /// The hosts, each with the first given credentials.
    fn nodes(&self, scheme: &str) -> RedisResult<Vec<ConnectionInfo>> {
        let mut hosts: Vec<&str> = self.authority.split(',').collect();
        let mut credentials = None;
        for host in &mut hosts {
            if let Some((before, after)) = host.rsplit_once('@') {
                credentials = credentials.or(Some(before));
                *host = after;
            }
        }
        let before = credentials.map(|text| format!("{text}@")).unwrap_or_default();
        let after = if self.fragment.is_empty() { "" } else { "/#" };
        let node = |host: &str| {
            format!("{scheme}://{before}{host}{after}{}", self.fragment)
                .into_connection_info()
                .map(|info| info.set_tcp_settings(tcp()))
        };
        hosts.into_iter().map(node).collect()
    }
}

fn tcp() -> TcpSettings {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TRIES);
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(UNACKNOWLEDGED)
}

fn invalid(what: &'static str) -> redis::RedisError {
    (redis::ErrorKind::InvalidClientConfig, what).into()
}

async fn in_time<T>(making: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    timeout(WAY_TIMEOUT, making).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(rest: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let told = |node: ConnectionInfo| {
            let settings = node.redis_settings();
            let text = |text: Option<&str>| text.map(str::to_owned);
            (node.addr().to_string(), text(settings.username()), text(settings.password()))
        };
        Parts::of(rest).nodes("redis").unwrap().into_iter().map(told).collect()
    }

    #[test]
    fn credentials_before_the_hosts_are_for_all_of_them() {
        let node = |addr: &str, user: Option<&str>, password: Option<&str>| {
            (addr.to_owned(), user.map(str::to_owned), password.map(str::to_owned))
        };
        assert_eq!(nodes("a:1,b:2"), [node("a:1", None, None), node("b:2", None, None)]);
        let secret = Some("s3:c@t,/");
        let both = [node("a:1", Some("me"), secret), node("b:2", Some("me"), secret)];
        assert_eq!(nodes("me:s3%3Ac%40t%2C%2F@a:1,b:2/main/3"), both);
        assert_eq!(nodes("me:s3%3Ac%40t%2C%2F@a:1,me:s3%3Ac%40t%2C%2F@b:2"), both);
        assert_eq!(nodes(":pw@a:1"), [node("a:1", None, Some("pw"))]);
    }

    #[test]
    fn a_sentinel_url_tells_service_database_and_both_passwords() {
        let url = "redis-sentinel://me:pw@a:1,b:2/main/3?sentinel_password=o%26k";
        let Address::Sentinel(address) = Address::parse(url).unwrap() else { panic!("{url}") };
        assert_eq!((address.service.as_str(), address.master.db()), ("main", 3));
        assert_eq!(address.master.password(), Some("pw"));
        let of_sentinel = |n: usize| address.sentinels[n].redis_settings().password();
        assert_eq!((of_sentinel(0), of_sentinel(1)), (Some("o&k"), Some("o&k")));
        for wrong in ["redis-sentinel://a:1/main/x", "redis-sentinel://a:1/main?db=1"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tls_and_credentials_reach_every_node_of_a_cluster() {
        let url = "rediss-cluster://me:pw@a:1,b:2#insecure";
        let Address::Cluster(address) = Address::parse(url).unwrap() else { panic!("{url}") };
        let node = address.reached_at("c", 3);
        let ConnectionAddr::TcpTls { host, port, insecure, .. } = node.addr() else {
            panic!("no TLS")
        };
        assert_eq!((host.as_str(), *port, *insecure), ("c", 3, true));
        let settings = node.redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("me"), Some("pw")));
        assert_eq!(address.reached_at("?", 3).addr().to_string(), "a:3");
    }
}
