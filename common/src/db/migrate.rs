//! Applies the embedded migrations, one process at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::SqlState;

use super::app_indexes::{self, APP_INDEXES, AppIndex, OWN_INDEXES};
use super::error::describe;
use super::{Client, DbError, GenericClient, StatementLimits, pool_with};

/// Session lock that makes concurrent starts queue up; an arbitrary number
/// that nothing else in the database uses.
const LOCK_KEY: i64 = 0x5265_6769_6d65_6e01;

/// How long to wait for another process that is migrating.
pub const TURN: Duration = Duration::from_secs(300);
/// Between two checks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long to wait for tables in use, all tries together.
const TABLES: Duration = Duration::from_secs(120);
/// The time limit of a whole run.
const RUN: Duration = Duration::from_secs(3_600);

/// A migration may rebuild an index for long, but must not wait long for a table, because
/// other statements queue behind it.
const LIMITS: StatementLimits = StatementLimits {
    usual: Duration::from_secs(30),
    longest: Duration::from_secs(4_000),
    lock: Duration::from_secs(5),
};

/// Our record of what was applied. Not in `public`, which PostgREST serves.
const HISTORY_TABLE: &str = "regimen.schema_history";

/// Why the migration failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres could not be reached, or refused a statement around the run.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Another process holds the lock for too long.
    #[error(
        "another migration has been at it for {} s: {holder}; let it end, or end its session with \
         pg_terminate_backend, and migrate again",
        turn.as_secs()
    )]
    Locked {
        /// How long it was waited for.
        turn: Duration,
        /// The holder, as far as Postgres can tell.
        holder: String,
    },
    /// An index could not be built.
    #[error(
        "the index {name} could not be built: {source}; what was built and applied before stays. \
         Correct the cause and migrate again: what is left of it is dropped and built anew"
    )]
    Index {
        /// Which.
        name: &'static str,
        /// What Postgres said.
        source: DbError,
    },
    /// A migration failed in a rehearsal; nothing was changed.
    #[error("{name} would fail: {source}; nothing was changed")]
    Rehearsed {
        /// Which.
        name: String,
        /// What Postgres said.
        source: DbError,
    },
    /// It exceeded its time limit.
    #[error(
        "the migrations did not end within {} min and were broken off; what was applied before stays. \
         Look in pg_stat_activity for what holds them up, and migrate again",
        RUN.as_secs() / 60
    )]
    TooSlow,
    /// A migration failed; it was rolled back, those before it stay.
    #[error("a migration failed and was rolled back: {}", explain(.0))]
    Run(#[from] refinery::Error),
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The indexes that were built before them.
    pub indexes: Vec<&'static str>,
    /// The migrations applied by this run, in order, such as `V3__indexes`.
    pub applied: Vec<String>,
    /// The database's current version.
    pub version: i32,
}

/// Brings the database to this release's schema. Any number of processes may call it at
/// once: they take turns, in a session of their own that is always closed.
///
/// A database that a newer release has migrated is left unchanged: migrations only add to
/// what this release knows, so it keeps working (see `migrations/README.md`).
///
/// # Errors
/// Postgres is away, another process does not finish, or a migration failed. Migrations
/// applied before stay.
pub async fn migrate(url: &SecretString) -> Result<Report, MigrateError> {
    migrate_telling(url, TURN, &|news| tracing::info!("{news}")).await
}

/// The same with progress messages: others get `turn` to finish, and `tell` receives what
/// is waited for.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_telling(
    url: &SecretString,
    turn: Duration,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Report, MigrateError> {
    in_turn(url, turn, tell, async |client| apply(client, tell).await).await
}

/// Does `work` on a session of its own that holds the migration lock.
pub(super) async fn in_turn<T>(
    url: &SecretString,
    turn: Duration,
    tell: &(dyn Fn(&str) + Sync),
    work: impl AsyncFnOnce(&mut Client) -> Result<T, MigrateError>,
) -> Result<T, MigrateError> {
    let mut client = pool_with(url, 1, "regimen-migrate", LIMITS)?.get().await?;
    lock(&client, turn, tell).await?;
    let done = work(&mut client).await;
    // It is released with the session too; a pooler may keep that.
    let unlock = "-- migration_unlock\nselect pg_advisory_unlock($1)";
    if let Err(error) = client.execute(unlock, &[&LOCK_KEY]).await {
        tracing::debug!(%error, "the migration lock falls with its session");
    }
    client.give_up();
    done
}

/// The run itself, under the lock.
async fn apply(client: &mut Client, tell: &(dyn Fn(&str) + Sync)) -> Result<Report, MigrateError> {
    client.batch_execute("-- create_schema\ncreate schema if not exists regimen").await?;
    let embedded_version = embedded().last().map_or(0, |(version, _)| *version);
    let found = if history_exists(client).await? { newest(client).await? } else { 0 };
    if found > embedded_version {
        tracing::warn!(found, embedded_version, "a newer release has migrated this database");
        return Ok(Report { indexes: Vec::new(), applied: Vec::new(), version: found });
    }
    let indexes = timeout(RUN, build_indexes(client, tell)).await;
    let indexes = indexes.map_err(|_| MigrateError::TooSlow)??;
    // An index may take longer than the role's statement_timeout.
    client.batch_execute("set statement_timeout = 0").await?;
    let applied = timeout(RUN, run(client, tell)).await.map_err(|_| MigrateError::TooSlow)??;
    Ok(Report { indexes, applied, version: newest(client).await? })
}

/// The indexes that are built by themselves, before the migrations.
pub(super) async fn indexes(
    client: &impl GenericClient,
) -> Result<Vec<&'static AppIndex>, DbError> {
    let found = if history_exists(client).await? { newest(client).await? } else { 0 };
    let all = APP_INDEXES.iter().chain(&OWN_INDEXES);
    Ok(all.filter(|index| index.is_due(found)).collect())
}

/// Builds what is missing on tables that are there.
async fn build_indexes(
    client: &mut Client,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Vec<&'static str>, MigrateError> {
    // It waits for whoever uses the table, and nobody waits for it.
    let limit = app_indexes::LONGEST.as_secs();
    let set = format!("-- index_limits\nset statement_timeout = '{limit}s'; set lock_timeout = 0");
    let usual = "-- lock_timeout\nselect current_setting('lock_timeout')";
    let usual: String = client.query_one(usual, &[]).await?.get(0);
    client.batch_execute(&set).await?;
    let mut built = Vec::new();
    for index in indexes(&*client).await? {
        let done = index.build(client, tell).await;
        let done = done.map_err(|source| MigrateError::Index { name: index.name, source })?;
        if done {
            built.push(index.name);
        }
    }
    let reset = "-- usual_lock_timeout\nselect set_config('lock_timeout', $1, false)";
    client.query_one(reset, &[&usual]).await?;
    Ok(built)
}

/// Applies missing migrations; restarts while a table is in use.
async fn run(
    client: &mut Client,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Vec<String>, MigrateError> {
    let give_up = Instant::now() + TABLES;
    let mut applied = Vec::new();
    loop {
        match runner().run_async(client.driver()).await {
            Ok(report) => {
                applied.extend(report.applied_migrations().iter().map(ToString::to_string));
                return Ok(applied);
            }
            Err(error) if is_lock(&error) && Instant::now() < give_up => {
                if let Some(report) = error.report() {
                    applied.extend(report.applied_migrations().iter().map(ToString::to_string));
                }
                let error = explain(&error);
                tell(&format!("a table is in use by somebody else; trying again: {error}"));
                sleep(LOOK_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a migration failed because of another session's lock, or because each waited
/// for the other. It was rolled back, so the next try finds the tables free or waits again.
fn is_lock(error: &refinery::Error) -> bool {
    let refinery::error::Kind::Connection(_, source) = error.kind() else { return false };
    let error = source.downcast_ref::<tokio_postgres::Error>();
    let code = error.and_then(tokio_postgres::Error::code);
    [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::T_R_DEADLOCK_DETECTED]
        .into_iter()
        .any(|lock| code == Some(lock))
}

/// The embedded migrations that this database lacks, in order.
///
/// # Errors
/// Postgres is away, or the role may not read the history.
pub async fn pending(client: &impl GenericClient) -> Result<Vec<String>, DbError> {
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

/// The migrations this database has not seen yet, by name, each with its text.
pub(super) async fn pending_texts(
    client: &impl GenericClient,
) -> Result<Vec<(String, String)>, DbError> {
    let pending = pending(client).await?;
    let mut all = runner().get_migrations().clone();
    all.sort();
    let texts = all.into_iter().map(|one| (one.to_string(), one.sql().unwrap_or("").to_owned()));
    Ok(texts.filter(|(name, _)| pending.contains(name)).collect())
}

/// The indexes of our own tables that the migrations leave behind, by name.
pub fn own_indexes() -> BTreeSet<String> {
    let mut all = runner().get_migrations().clone();
    all.sort();
    let mut indexes = BTreeSet::new();
    for migration in all {
        let text = migration.sql().unwrap_or_default();
        let lines = text.lines().map(|line| line.split("--").next().unwrap_or_default());
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        for (at, pair) in words.windows(2).enumerate() {
            let rest = words.get(at + 2..).unwrap_or_default();
            match pair {
                ["create" | "unique", "index"] => {
                    let (name, place) = match rest {
                        ["if", "not", "exists", name, "on", place, ..] => (name, place),
                        [name, "on", place, ..] => (name, place),
                        _ => continue,
                    };
                    if place.starts_with("regimen.") {
                        indexes.insert((*name).to_owned());
                    }
                }
                ["drop", "index"] => {
                    let name = match rest {
                        ["if", "exists", name, ..] | [name, ..] => name.trim_end_matches(';'),
                        [] => continue,
                    };
                    indexes.remove(name.strip_prefix("regimen.").unwrap_or(name));
                }
                _ => {}
            }
        }
    }
    indexes
}

/// Identifies exactly this set of migrations, their text included.
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

/// Takes the lock, in turn with others.
async fn lock(
    client: &Client,
    turn: Duration,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(), MigrateError> {
    let sql = "-- try_migration_lock\nselect pg_try_advisory_lock($1)";
    let give_up = Instant::now() + turn;
    let mut told = false;
    while !client.query_one(sql, &[&LOCK_KEY]).await?.get::<_, bool>(0) {
        if Instant::now() >= give_up {
            return Err(MigrateError::Locked { holder: holder(client).await?, turn });
        }
        if !told {
            let holder = holder(client).await?;
            let seconds = turn.as_secs();
            tell(&format!("{holder} is migrating; waiting for it, {seconds} s at most"));
            told = true;
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// The holder of the lock, for people.
async fn holder(client: &Client) -> Result<String, DbError> {
    // A key of 64 bits stands in two halves.
    let sql = "-- migration_lock_holder
         select format('%s, process %s, since %s', coalesce(nullif(a.application_name, ''), 'somebody'),
                       l.pid, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'))
         from pg_locks l left join pg_stat_activity a using (pid)
         where l.locktype = 'advisory' and l.granted and l.objsubid = 1
           and l.database = (select oid from pg_database where datname = current_database())
           and l.classid::bigint = $1::bigint >> 32 and l.objid::bigint = $1::bigint & 4294967295";
    let row = client.query_opt(sql, &[&LOCK_KEY]).await?;
    Ok(row.map_or_else(|| "nobody any more".to_owned(), |row| row.get(0)))
}

pub(super) async fn history_exists(client: &impl GenericClient) -> Result<bool, DbError> {
    let sql = "-- migration_history_exists\nselect to_regclass($1) is not null";
    Ok(client.query_one(sql, &[&HISTORY_TABLE]).await?.get(0))
}

async fn newest(client: &impl GenericClient) -> Result<i32, DbError> {
    Ok(versions(client).await?.last().copied().unwrap_or(0))
}

async fn versions(client: &impl GenericClient) -> Result<Vec<i32>, DbError> {
    let sql = "-- migration_versions\nselect version from regimen.schema_history order by version";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

mod embed {
    //! What the macro writes; `runner` above is the only door to it.
    refinery::embed_migrations!("../migrations");
}
