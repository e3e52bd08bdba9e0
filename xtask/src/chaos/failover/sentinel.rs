//! A master and its replica, watched by three sentinels. The servers have one
//! password and the sentinels another.

use super::node::Node;
use super::{FailoverError, Pair, until};
use crate::servers::{Servers, secret};
use crate::session::Session;
use regimen_devtools::redis::Role;

const SENTINELS: usize = 3;

/// The servers and their sentinels.
pub(super) struct Watched {
    master: Node,
    replica: Node,
    sentinels: Vec<Node>,
    url: String,
}

impl Watched {
    /// Starts all; returns when the sentinels know each other and the replica.
    ///
    /// # Errors
    /// A server does not start, or they do not find each other.
    pub(super) fn start(session: &Session, servers: &Servers) -> Result<Self, FailoverError> {
        let (password, of_sentinels) = (servers.redis_password(), secret());
        let server = |name| Node::start(session, servers, name, Role::Alone, password);
        let (master, replica) = (server("redis-master")?, server("redis-replica")?);
        let port = master.port().to_string();
        replica.ask(&["REPLICAOF", "127.0.0.1", &port])?;
        replica.until_replica(session)?;
        let watching = |number| {
            let role =
                Role::Sentinel { of: master.port(), its_password: Some(password.to_owned()) };
            let name = format!("sentinel-{number}");
            let sentinel = Node::start(session, servers, &name, role, &of_sentinels)?;
            sentinel.ask(&["SENTINEL", "CONFIG", "SET", "sentinel-pass", &of_sentinels])?;
            for (name, value) in
                [("quorum", "2"), ("down-after-milliseconds", "2000"), ("failover-timeout", "6000")]
            {
                sentinel.ask(&["SENTINEL", "SET", "main", name, value])?;
            }
            Ok(sentinel)
        };
        let sentinels = (1..=SENTINELS).map(watching).collect::<Result<Vec<_>, FailoverError>>()?;
        for sentinel in &sentinels {
            until(session, "the sentinels found each other", || {
                sentinel.says(&["INFO", "sentinel"], &["slaves=1,sentinels=3"])
            })?;
        }
        let hosts: Vec<_> =
            sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let url = format!(
            "redis-sentinel://:{password}@{}/main?sentinel_password={of_sentinels}",
            hosts.join(",")
        );
        Ok(Self { master, replica, sentinels, url })
    }
}

impl Pair for Watched {
    fn url(&self) -> &str {
        &self.url
    }

    fn port(&self, _: &Servers) -> u16 {
        self.master.port()
    }

    fn fail_over(&mut self, session: &Session, _: &mut Servers) -> Result<(), FailoverError> {
        self.master.kill(session)?;
        self.replica.until_primary(session)?;
        std::mem::swap(&mut self.master, &mut self.replica);
        let address = format!("address=127.0.0.1:{}", self.master.port());
        until(session, "a sentinel named the new master", || {
            let told =
                self.sentinels.iter().map(|node| node.says(&["INFO", "sentinel"], &[&address]));
            Ok::<_, FailoverError>(told.flatten().any(|told| told))
        })
    }

    /// The sentinels make a replica of it by themselves.
    fn mend(&mut self, session: &Session, _: &mut Servers) -> Result<(), FailoverError> {
        self.replica.restart(session)?;
        self.replica.until_replica(session)
    }
}
