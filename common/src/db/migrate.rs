//! Applies the embedded migrations, one process at a time.

use secrecy::SecretString;
use tokio_postgres::Client;

use super::error::describe;
use super::{DbError, connect};

/// Session lock that makes concurrent starts queue up; an arbitrary number
/// that nothing else in the database uses.
const LOCK_KEY: i64 = 0x5265_6769_6d65_6e01;

/// Our record of what was applied. Not in `public`, which PostgREST serves.
const HISTORY_TABLE: &str = "regimen.schema_history";

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres could not be reached, or refused a statement around the run.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A migration failed; it was rolled back, those before it stay.
    #[error("a migration failed and was rolled back: {}", explain(.0))]
    Run(#[from] refinery::Error),
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Db(error.into())
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The migrations applied by this run, in order, such as `V3__indexes`.
    pub applied: Vec<String>,
    /// The newest version the database has now.
    pub version: i32,
}

/// Brings the database to this release's schema. Safe to call from any number
/// of processes at once: they take turns. Needs a session of its own, so the
/// URL must not lead through a pooler in transaction mode.
///
/// A database that a newer release has migrated is left as it is: migrations
/// only expand what this release knows, so it keeps working (see
/// `migrations/README.md`).
///
/// # Errors
/// Postgres is away or a migration failed. What was applied before stays.
pub async fn migrate(url: &SecretString) -> Result<Report, MigrateError> {
    let mut client = connect(url, "regimen-migrate").await?;
    lock(&client).await?;
    // The lock falls with the session, also when the run fails.
    client.batch_execute("-- create_schema\ncreate schema if not exists regimen").await?;
    let embedded_version = embedded().last().map_or(0, |(version, _)| *version);
    let found = if history_exists(&client).await? { newest(&client).await? } else { 0 };
    if found > embedded_version {
        tracing::warn!(found, embedded_version, "a newer release has migrated this database");
        return Ok(Report { applied: Vec::new(), version: found });
    }
    let report = runner().run_async(&mut client).await?;
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    Ok(Report { applied, version: newest(&client).await? })
}

/// The embedded migrations this database has not seen yet, in order.
///
/// # Errors
/// Postgres is away, or the role may not read the history.
pub async fn pending(client: &Client) -> Result<Vec<String>, DbError> {
    let applied = if history_exists(client).await? { versions(client).await? } else { Vec::new() };
    let missing = embedded().into_iter().filter(|(version, _)| !applied.contains(version));
    Ok(missing.map(|(_, name)| name).collect())
}

/// The migrations built into this binary, by version, each with its full name.
pub fn embedded() -> Vec<(i32, String)> {
    let mut all: Vec<_> = runner()
        .get_migrations()
        .iter()
        .map(|migration| (migration.version(), migration.to_string()))
        .collect();
    all.sort();
    all
}

/// Names exactly this set of migrations, their text included.
pub fn fingerprint() -> String {
    use sha2::{Digest, Sha256};
    let mut all = runner().get_migrations().clone();
    all.sort();
    let mut hash = Sha256::new();
    for migration in all {
        hash.update(format!("{migration}\0{}\0", migration.checksum()));
    }
    hex::encode(hash.finalize())
}

/// The driver's own message is only "db error"; the server's says what to do.
fn explain(error: &refinery::Error) -> String {
    let refinery::error::Kind::Connection(what, source) = error.kind() else {
        return error.to_string();
    };
    match source.downcast_ref::<tokio_postgres::Error>() {
        Some(error) => {
            let hint = error.as_db_error().and_then(|db| db.hint()).unwrap_or_default();
            format!("{what}: {} {hint}", describe(error)).trim_end().to_owned()
        }
        None => format!("{what}: {source}"),
    }
}

fn runner() -> refinery::Runner {
    let mut runner = embed::migrations::runner();
    runner.set_migration_table_name(HISTORY_TABLE);
    runner
}

async fn lock(client: &Client) -> Result<(), tokio_postgres::Error> {
    let sql = "-- try_migration_lock\nselect pg_try_advisory_lock($1)";
    if client.query_one(sql, &[&LOCK_KEY]).await?.get(0) {
        return Ok(());
    }
    tracing::info!("another process is migrating; waiting for it");
    client.execute("-- migration_lock\nselect pg_advisory_lock($1)", &[&LOCK_KEY]).await?;
    Ok(())
}

async fn history_exists(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let sql = "-- migration_history_exists\nselect to_regclass($1) is not null";
    Ok(client.query_one(sql, &[&HISTORY_TABLE]).await?.get(0))
}

async fn newest(client: &Client) -> Result<i32, tokio_postgres::Error> {
    Ok(versions(client).await?.last().copied().unwrap_or(0))
}

async fn versions(client: &Client) -> Result<Vec<i32>, tokio_postgres::Error> {
    let sql = "-- migration_versions\nselect version from regimen.schema_history order by version";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

mod embed {
    //! What the macro writes; `runner` above is the only door to it.
    refinery::embed_migrations!("../migrations");
}
