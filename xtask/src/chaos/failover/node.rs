//! One Redis of a failover: it is killed and comes back on its port.

use super::{FailoverError, until};
use crate::resp::{Connection, RespError};
use crate::servers::Servers;
use crate::session::Session;
use regimen_devtools::redis::{Redis, RedisError, RedisPlan, Role};
use regimen_devtools::signal;

/// A key that shares the slot of ours.
const PROBE: [&str; 5] = ["SET", "{regimen}:failover", "1", "PX", "1000"];

/// A server and the means to start it again.
pub(super) struct Node {
    plan: RedisPlan,
    password: String,
    server: Redis,
}

impl Node {
    /// Starts one called `name`.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(
        session: &Session,
        servers: &Servers,
        name: &str,
        role: Role,
        password: &str,
    ) -> Result<Self, FailoverError> {
        let mut plan =
            RedisPlan { password: Some(password.to_owned()), ..servers.redis_plan(name) };
        plan.role = role;
        let server = plan.start(session)?;
        plan.port = Some(server.port);
        if let Role::InCluster(bus_port) = &mut plan.role {
            *bus_port = server.bus_port;
        }
        Ok(Self { plan, password: password.to_owned(), server })
    }

    pub(super) fn port(&self) -> u16 {
        self.server.port
    }

    /// The port of its cluster bus.
    pub(super) fn bus_port(&self) -> u16 {
        self.server.bus_port.unwrap_or_default()
    }

    /// Its answer to one command.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub(super) fn ask(&self, command: &[&str]) -> Result<String, RespError> {
        Connection::open(self.server.port, &self.password)?.command(command)
    }

    /// Whether its answer contains all of these.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub(super) fn says(&self, command: &[&str], words: &[&str]) -> Result<bool, RespError> {
        let answer = self.ask(command)?;
        Ok(words.iter().all(|word| answer.contains(word)))
    }

    /// Kills it.
    ///
    /// # Errors
    /// The program was interrupted.
    pub(super) fn kill(&mut self, session: &Session) -> Result<(), FailoverError> {
        signal::kill(self.server.process.id());
        self.server.process.wait(session).map_err(RedisError::from)?;
        Ok(())
    }

    /// Starts it again, with what it had on disk.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn restart(&mut self, session: &Session) -> Result<(), FailoverError> {
        self.server = self.plan.start(session)?;
        Ok(())
    }

    /// Waits until it accepts a write to our keys.
    ///
    /// # Errors
    /// It does not in time.
    pub(super) fn until_primary(&self, session: &Session) -> Result<(), FailoverError> {
        until(session, "the replica took over", || self.says(&PROBE, &["OK"]))
    }

    /// Waits until it is a replica whose data is complete.
    ///
    /// # Errors
    /// It is not in time.
    pub(super) fn until_replica(&self, session: &Session) -> Result<(), FailoverError> {
        until(session, "the former master followed the new one", || {
            self.says(&["INFO", "replication"], &["role:slave", "master_link_status:up"])
        })
    }
}
