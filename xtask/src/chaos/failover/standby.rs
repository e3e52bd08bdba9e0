//! A PostgreSQL whose commits wait for its streaming replica, so that the
//! replica has every commit that was confirmed. Clients know both addresses.

use super::{FailoverError, Pair, until};
use crate::chaos::check::count;
use crate::servers::Servers;
use crate::session::Session;
use regimen_devtools::postgres::{Postgres, PostgresError};
use regimen_devtools::signal;

/// The number of replicas whose confirmation commits wait for.
const SYNCHRONOUS: &str = "select count(*) from pg_stat_replication where sync_state = 'sync'";

/// The replica; the primary is the server of the run.
pub(super) struct Standby {
    replica: Option<Postgres>,
    /// The port that the next copy takes.
    free_port: Option<u16>,
    copies: u32,
    url: String,
}

impl Standby {
    /// Copies the server of the run; returns when its commits wait for the copy.
    ///
    /// # Errors
    /// The copy does not start or does not follow.
    pub(super) fn start(session: &Session, servers: &mut Servers) -> Result<Self, FailoverError> {
        let mut standby = Self { replica: None, free_port: None, copies: 0, url: String::new() };
        standby.mend(session, servers)?;
        let second = standby.replica.as_ref().map_or(0, |replica| replica.port);
        let first = servers.postgres.port;
        standby.url = servers
            .database_url()
            .replace(&format!(":{first}/"), &format!(":{first},127.0.0.1:{second}/"));
        Ok(standby)
    }
}

impl Pair for Standby {
    fn url(&self) -> &str {
        &self.url
    }

    fn port(&self, servers: &Servers) -> u16 {
        servers.postgres.port
    }

    fn fail_over(&mut self, session: &Session, servers: &mut Servers) -> Result<(), FailoverError> {
        let Some(replica) = self.replica.take() else { return Ok(()) };
        self.free_port = Some(servers.postgres.port);
        signal::quit(servers.postgres.process.id());
        servers.postgres.process.wait(session).map_err(PostgresError::from)?;
        servers.postgres = replica;
        servers.psql().run("select pg_promote(true, 60)")?;
        let psql = servers.psql();
        until(session, "the replica took over", || {
            count::<u32>(&psql, "select (not pg_is_in_recovery())::int").map(|ours| ours == 1)
        })
    }

    fn mend(&mut self, session: &Session, servers: &mut Servers) -> Result<(), FailoverError> {
        self.copies += 1;
        self.replica = Some(servers.copy_postgres(session, self.copies, self.free_port)?);
        let psql = servers.psql();
        psql.run("alter system set synchronous_standby_names = '*'")?;
        psql.run("select pg_reload_conf()")?;
        until(session, "commits waited for the replica", || {
            count::<u32>(&psql, SYNCHRONOUS).map(|replicas| replicas == 1)
        })
    }
}
