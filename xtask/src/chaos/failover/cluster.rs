//! A Redis Cluster of three masters. All our keys share one slot, so one of the
//! masters has them all; it has a replica.

use super::node::Node;
use super::{FailoverError, Pair, until};
use crate::resp::RespError;
use crate::servers::Servers;
use crate::session::Session;
use regimen_devtools::redis::Role;

/// The slots of the masters, first and last.
const SLOTS: [[&str; 2]; 3] = [["0", "5460"], ["5461", "10921"], ["10922", "16383"]];
/// The width of all but the last.
const WIDTH: usize = 5_461;
/// After this time without an answer a node counts as failed, milliseconds.
const NODE_TIMEOUT: [&str; 4] = ["CONFIG", "SET", "cluster-node-timeout", "2000"];

/// The nodes.
pub(super) struct Cluster {
    nodes: Vec<Node>,
    /// Which has our keys, and which is its replica.
    owner: usize,
    replica: usize,
    url: String,
}

impl Cluster {
    /// Starts it; returns when the replica follows.
    ///
    /// # Errors
    /// A node does not start, or they do not find each other.
    pub(super) fn start(session: &Session, servers: &Servers) -> Result<Self, FailoverError> {
        let password = servers.redis_password();
        let node = |number| {
            let name = format!("redis-node-{number}");
            Node::start(session, servers, &name, Role::InCluster(None), password)
        };
        let nodes = (0..=SLOTS.len()).map(node).collect::<Result<Vec<_>, _>>()?;
        for (number, node) in nodes.iter().enumerate() {
            node.ask(&NODE_TIMEOUT)?;
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        }
        for (node, [first, last]) in nodes.iter().zip(SLOTS) {
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last])?;
        }
        let (Some(one), Some(spare)) = (nodes.first(), nodes.last()) else {
            return Err(FailoverError::NotInTime { what: "a cluster had nodes" });
        };
        for node in nodes.iter().skip(1) {
            let (port, bus_port) = (node.port().to_string(), node.bus_port().to_string());
            one.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port])?;
        }
        for node in &nodes {
            until(session, "the cluster's nodes found each other", || {
                node.says(&["CLUSTER", "INFO"], &["cluster_state:ok", "cluster_known_nodes:4"])
            })?;
        }
        let slot = one.ask(&["CLUSTER", "KEYSLOT", "regimen"])?;
        let slot: usize = slot.parse().map_err(|_| RespError::Unexpected(slot))?;
        let (owner, replica) = ((slot / WIDTH).min(SLOTS.len() - 1), SLOTS.len());
        if let Some(owner) = nodes.get(owner) {
            spare.ask(&["CLUSTER", "REPLICATE", &owner.ask(&["CLUSTER", "MYID"])?])?;
        }
        spare.until_replica(session)?;
        let hosts: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let url = format!("redis-cluster://:{password}@{}", hosts.join(","));
        Ok(Self { nodes, owner, replica, url })
    }
}

impl Pair for Cluster {
    fn url(&self) -> &str {
        &self.url
    }

    fn port(&self, _: &Servers) -> u16 {
        self.nodes.get(self.owner).map_or(0, Node::port)
    }

    fn fail_over(&mut self, session: &Session, _: &mut Servers) -> Result<(), FailoverError> {
        if let Some(owner) = self.nodes.get_mut(self.owner) {
            owner.kill(session)?;
        }
        if let Some(replica) = self.nodes.get(self.replica) {
            replica.until_primary(session)?;
        }
        std::mem::swap(&mut self.owner, &mut self.replica);
        Ok(())
    }

    fn mend(&mut self, session: &Session, _: &mut Servers) -> Result<(), FailoverError> {
        let Some(replica) = self.nodes.get_mut(self.replica) else { return Ok(()) };
        replica.restart(session)?;
        replica.ask(&NODE_TIMEOUT)?;
        replica.until_replica(session)
    }
}
