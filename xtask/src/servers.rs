//! The private pair a run works with: PostgreSQL and Redis, started together.

use std::path::{Path, PathBuf};

use crate::account::{Account, AccountError, stand_in};
use crate::postgres::{Postgres, PostgresError, PostgresPlan};
use crate::provision::Programs;
use crate::redis::{Redis, RedisError, RedisPlan};
use crate::resp::{Connection, RespError};
use crate::session::Session;
use crate::signal;

/// Why the pair is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServersError {
    /// There is nobody to run PostgreSQL as.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// PostgreSQL does not start.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Redis does not start.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// What the pair asks of those who connect.
#[derive(Clone)]
pub(crate) struct Passwords {
    /// PostgreSQL's superuser's.
    pub(crate) postgres: String,
    /// Redis's.
    pub(crate) redis: String,
}

/// A running pair. PostgreSQL ends after Redis.
pub(crate) struct Servers {
    /// Redis.
    pub(crate) redis: Redis,
    /// PostgreSQL.
    pub(crate) postgres: Postgres,
    /// The programs they run.
    pub(crate) programs: Programs,
    /// The user PostgreSQL runs as, where that is not ours.
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
        let redis = parts.redis(session, None)?;
        let folder = folder.to_owned();
        Ok(Self { redis, postgres, programs, account, passwords, folder })
    }

    /// Ends PostgreSQL without a last checkpoint and starts it again where it was.
    ///
    /// # Errors
    /// It does not come back.
    pub(crate) fn crash_postgres(&mut self, session: &Session) -> Result<(), ServersError> {
        signal::quit(self.postgres.process.id());
        self.postgres.process.wait(session).map_err(PostgresError::from)?;
        self.postgres = self.parts().postgres(session, Some(self.postgres.port))?;
        Ok(())
    }

    /// Kills Redis and starts it again where it was, with what it had on disk.
    ///
    /// # Errors
    /// It does not come back.
    pub(crate) fn crash_redis(&mut self, session: &Session) -> Result<(), ServersError> {
        signal::kill(self.redis.process.id());
        self.redis.process.wait(session).map_err(RedisError::from)?;
        self.redis = self.parts().redis(session, Some(self.redis.port))?;
        Ok(())
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            programs: &self.programs,
            account: self.account.as_ref(),
            folder: &self.folder,
            passwords: &self.passwords,
        }
    }

    /// The URL of the database.
    pub(crate) fn database_url(&self) -> String {
        self.postgres.url(&self.passwords.postgres)
    }

    /// A connection to Redis.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn redis(&self) -> Result<Connection, RespError> {
        Connection::open(self.redis.port, &self.passwords.redis)
    }

    /// The URL of Redis.
    pub(crate) fn redis_url(&self) -> String {
        self.redis.url(&self.passwords.redis)
    }
}

/// What the servers are started from.
struct Parts<'a> {
    programs: &'a Programs,
    account: Option<&'a Account>,
    folder: &'a Path,
    passwords: &'a Passwords,
}

impl Parts<'_> {
    fn postgres(&self, session: &Session, port: Option<u16>) -> Result<Postgres, PostgresError> {
        PostgresPlan {
            programs: &self.programs.postgres,
            account: self.account,
            folder: &postgres_folder(self.folder),
            log: &self.log("postgres.log"),
            password: &self.passwords.postgres,
            port,
        }
        .start(session)
    }

    fn redis(&self, session: &Session, port: Option<u16>) -> Result<Redis, RedisError> {
        RedisPlan {
            program: &self.programs.redis.path,
            folder: &redis_folder(self.folder),
            log: &self.log("redis.log"),
            password: &self.passwords.redis,
            port,
        }
        .start(session)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(name)
    }
}

impl Passwords {
    /// New ones that fit into a URL as they are.
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
    for path in [stand_in(&postgres), postgres, redis_folder(folder)] {
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// Where the Redis of a run with `folder` has its data.
fn redis_folder(folder: &Path) -> PathBuf {
    folder.join("redis")
}

/// Where the PostgreSQL of a run with `folder` is meant to have its data.
fn postgres_folder(folder: &Path) -> PathBuf {
    folder.join("postgres")
}

/// A secret of 244 random bits, as 64 hexadecimal digits.
pub(crate) fn secret() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    half() + &half()
}
