//! The private PostgreSQL and Redis of a run, started together.

use std::path::{Path, PathBuf};

use crate::provision::Programs;
use crate::psql::Psql;
use crate::resp::{Connection, RespError};
use crate::session::Session;
use regimen_devtools::account::{Account, AccountError, stand_in};
use regimen_devtools::postgres::{self, Postgres, PostgresError, PostgresPlan};
use regimen_devtools::redis::{self, Redis, RedisError, RedisPlan, Role};
use regimen_devtools::signal;

/// Enough for the pools of several workers, the ingress and the test suites.
const MAX_CONNECTIONS: u32 = 400;

/// The folder of further Redis servers in that of a run.
pub(crate) const MORE_REDIS: &str = "more-redis";

/// Why the servers did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServersError {
    /// There is no account for PostgreSQL.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// PostgreSQL does not start.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Redis does not start.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Redis refuses to become a master or a replica.
    #[error(transparent)]
    Roles(#[from] RespError),
}

/// The passwords of the servers.
#[derive(Clone)]
pub(crate) struct Passwords {
    /// That of PostgreSQL's superuser.
    pub(crate) postgres: String,
    /// That of Redis.
    pub(crate) redis: String,
}

/// Both servers, running. PostgreSQL ends after Redis.
pub(crate) struct Servers {
    /// Redis.
    pub(crate) redis: Redis,
    /// PostgreSQL.
    pub(crate) postgres: Postgres,
    /// Their programs.
    pub(crate) programs: Programs,
    /// The account of PostgreSQL, if it is another one.
    pub(crate) account: Option<Account>,
    passwords: Passwords,
    folder: PathBuf,
}

impl Servers {
    /// Starts both with their data and logs in `folder`.
    ///
    /// # Errors
    /// See [`ServersError`].
    pub(crate) fn start(
        session: &Session,
        programs: Programs,
        folder: &Path,
        passwords: Passwords,
    ) -> Result<Self, ServersError> {
        let account = Account::for_postgres()?;
        let parts =
            Parts { programs: &programs, account: account.as_ref(), folder, passwords: &passwords };
        session.say("starting PostgreSQL");
        let postgres = parts.postgres(session, None)?;
        session.say("starting Redis");
        let redis = parts.redis(session, RedisHome::First, None)?;
        let folder = folder.to_owned();
        Ok(Self { redis, postgres, programs, account, passwords, folder })
    }

    /// Separate handles of the two servers, which can crash and restart them.
    pub(crate) fn keepers(&mut self) -> (RedisKeeper<'_>, PostgresKeeper<'_>) {
        let parts = Parts {
            programs: &self.programs,
            account: self.account.as_ref(),
            folder: &self.folder,
            passwords: &self.passwords,
        };
        let home = RedisHome::First;
        let redis = RedisKeeper { redis: &mut self.redis, parts, home };
        (redis, PostgresKeeper { postgres: &mut self.postgres, parts })
    }

    /// The URL of the database.
    pub(crate) fn database_url(&self) -> String {
        postgres::url(self.postgres.port, &self.passwords.postgres)
    }

    /// A connection to Redis.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn redis(&self) -> Result<Connection, RespError> {
        Connection::open(self.redis.port, &self.passwords.redis)
    }

    /// The superuser's client of the database.
    pub(crate) fn psql(&self) -> Psql {
        Psql::new(&self.programs.postgres.folder, self.postgres.port, &self.passwords.postgres)
    }

    /// The password of Redis.
    pub(crate) fn redis_password(&self) -> &str {
        &self.passwords.redis
    }

    /// The plan of another standalone Redis.
    pub(crate) fn redis_plan(&self, name: &str) -> RedisPlan {
        self.parts().redis_plan(self.folder.join(MORE_REDIS).join(name), None)
    }

    /// Starts a streaming replica of PostgreSQL; the `number`th, so that each has data of
    /// its own.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn copy_postgres(
        &self,
        session: &Session,
        number: u32,
        port: Option<u16>,
    ) -> Result<Postgres, ServersError> {
        let mut plan = self.parts().postgres_plan(port);
        plan.data = format!("{}-copy-{number}", plan.data);
        plan.standby_of = Some(self.postgres.port);
        Ok(plan.start(session)?)
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            programs: &self.programs,
            account: self.account.as_ref(),
            folder: &self.folder,
            passwords: &self.passwords,
        }
    }

    /// The URL of Redis.
    pub(crate) fn redis_url(&self) -> String {
        redis::url(self.redis.port, &self.passwords.redis)
    }
}

/// The handle of Redis, separate from PostgreSQL's.
pub(crate) struct RedisKeeper<'a> {
    redis: &'a mut Redis,
    parts: Parts<'a>,
    home: RedisHome,
}

/// The handle of PostgreSQL.
pub(crate) struct PostgresKeeper<'a> {
    postgres: &'a mut Postgres,
    parts: Parts<'a>,
}

impl RedisKeeper<'_> {
    /// Its present port.
    pub(crate) fn port(&self) -> u16 {
        self.redis.port
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn connect(&self) -> Result<Connection, RespError> {
        self.connect_to(self.redis)
    }

    /// A connection to another of our Redis servers.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn connect_to(&self, redis: &Redis) -> Result<Connection, RespError> {
        Connection::open(redis.port, &self.parts.passwords.redis)
    }

    /// Kills it and starts it again on its port, with what it had on disk.
    ///
    /// # Errors
    /// It does not start again.
    pub(crate) fn crash(&mut self, session: &Session) -> Result<(), ServersError> {
        signal::kill(self.redis.process.id());
        self.redis.process.wait(session).map_err(RedisError::from)?;
        *self.redis = self.parts.redis(session, self.home, Some(self.redis.port))?;
        Ok(())
    }

    /// Starts a second server with the same data, makes it the master, and makes this one
    /// its replica. Returns the replica, which ends with the value.
    ///
    /// # Errors
    /// The second server does not start, or does not get the data.
    pub(crate) fn fail_over(&mut self, session: &Session) -> Result<Redis, ServersError> {
        let home = self.home.other();
        let new = self.parts.redis(session, home, None)?;
        let password = &self.parts.passwords.redis;
        let follow = |redis: &Redis, master: u16| -> Result<Connection, RespError> {
            let mut connection = self.connect_to(redis)?;
            connection.command(&["CONFIG", "SET", "masterauth", password])?;
            connection.command(&["REPLICAOF", "127.0.0.1", &master.to_string()])?;
            Ok(connection)
        };
        let mut promoted = follow(&new, self.redis.port)?;
        while !promoted.command(&["INFO", "replication"])?.contains("master_link_status:up") {
            session.pause().map_err(RedisError::from)?;
        }
        promoted.command(&["REPLICAOF", "NO", "ONE"])?;
        follow(self.redis, new.port)?;
        self.home = home;
        Ok(std::mem::replace(self.redis, new))
    }
}

impl PostgresKeeper<'_> {
    /// Ends it without a last checkpoint and starts it again on its port.
    ///
    /// # Errors
    /// It does not start again.
    pub(crate) fn crash(&mut self, session: &Session) -> Result<(), ServersError> {
        signal::quit(self.postgres.process.id());
        self.postgres.process.wait(session).map_err(PostgresError::from)?;
        *self.postgres = self.parts.postgres(session, Some(self.postgres.port))?;
        Ok(())
    }
}

/// The folder of a Redis' data: a failover changes to the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RedisHome {
    First,
    Second,
}

impl RedisHome {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Its folder in a run with `folder`.
    fn folder(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::First => "redis",
            Self::Second => "redis-2",
        })
    }
}

/// What is needed to start the servers.
#[derive(Clone, Copy)]
struct Parts<'a> {
    programs: &'a Programs,
    account: Option<&'a Account>,
    folder: &'a Path,
    passwords: &'a Passwords,
}

impl Parts<'_> {
    fn postgres(&self, session: &Session, port: Option<u16>) -> Result<Postgres, PostgresError> {
        self.postgres_plan(port).start(session)
    }

    fn postgres_plan(&self, port: Option<u16>) -> PostgresPlan {
        let programs = &self.programs.postgres;
        PostgresPlan {
            programs: programs.folder.clone(),
            account: self.account.cloned(),
            folder: postgres_folder(self.folder),
            // Data of one major version does not work with another.
            data: format!("data-{}", programs.major),
            log: self.log("postgres.log"),
            password: Some(self.passwords.postgres.clone()),
            durable: true,
            max_connections: MAX_CONNECTIONS,
            port,
            standby_of: None,
        }
    }

    fn redis(
        &self,
        session: &Session,
        home: RedisHome,
        port: Option<u16>,
    ) -> Result<Redis, RedisError> {
        self.redis_plan(home.folder(self.folder), port).start(session)
    }

    fn redis_plan(&self, folder: PathBuf, port: Option<u16>) -> RedisPlan {
        RedisPlan {
            program: self.programs.redis.path.clone(),
            folder,
            log: self.log("redis.log"),
            role: Role::Alone,
            password: Some(self.passwords.redis.clone()),
            port,
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(name)
    }
}

impl Passwords {
    /// New ones that need no escaping in a URL.
    pub(crate) fn random() -> Self {
        Self { postgres: secret(), redis: secret() }
    }
}

/// Removes the data of both servers of a run with `folder`.
///
/// # Errors
/// The system refuses.
pub(crate) fn remove_data(folder: &Path) -> std::io::Result<()> {
    let postgres = postgres_folder(folder);
    let redis = [RedisHome::First, RedisHome::Second].map(|home| home.folder(folder));
    for path in [stand_in(&postgres), postgres].into_iter().chain(redis) {
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// The intended data folder of the PostgreSQL of a run with `folder`.
fn postgres_folder(folder: &Path) -> PathBuf {
    folder.join("postgres")
}

/// A secret of 244 random bits, as 64 hexadecimal digits.
pub(crate) fn secret() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    half() + &half()
}
