//! What a migration would do to a database: run there in a transaction that is
//! rolled back, so that its locks are read from the server and not guessed.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::time::timeout;

use super::DbError;
use super::app_indexes::IndexState;
use super::migrate::{self, MigrateError, TURN};

/// How long the locks of a rehearsal are held at most.
const LONGEST: Duration = Duration::from_secs(60);

/// What would run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// The steps; none where the database is up to date.
    pub steps: Vec<Step>,
}

/// One thing that would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The migration or the index.
    pub name: String,
    /// Its SQL.
    pub sql: String,
    /// How long it took in the rehearsal; nothing where it was not rehearsed:
    /// it runs outside of any transaction.
    pub took: Option<Duration>,
    /// What it locks of the tables that are there before the migrations.
    pub locks: Vec<TableLock>,
}

/// A lock on a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableLock {
    /// The table, with its schema.
    pub table: String,
    /// The lock as the server calls it.
    pub mode: String,
}

impl TableLock {
    /// Who has to wait while it is held.
    pub fn meaning(&self) -> &'static str {
        match self.mode.as_str() {
            "AccessExclusiveLock" => "reads and writes wait",
            "ExclusiveLock" | "ShareRowExclusiveLock" | "ShareLock" => "writes wait",
            "ShareUpdateExclusiveLock" => "only changes of the schema and vacuum wait",
            _ => "reads and writes go on",
        }
    }
}

/// Rehearses the pending migrations on the database. Nothing of it stays, but
/// the locks are real while it runs, a minute at most.
///
/// # Errors
/// Postgres is away, another process migrates, or a migration would fail.
pub async fn rehearse(
    url: &SecretString,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Rehearsal, MigrateError> {
    migrate::in_turn(url, TURN, tell, async |client| {
        let mut steps = Vec::new();
        let mut stand_ins = Vec::new();
        for index in migrate::indexes(&*client).await? {
            let state = index.state(client).await?;
            let sql = match state {
                IndexState::Done | IndexState::UnderWay => continue,
                IndexState::Missing => format!("{};", index.statement()),
                IndexState::Invalid => {
                    format!("{};\n{};", index.drop_statement(), index.statement())
                }
            };
            let lock = TableLock {
                table: format!("{}.{}", index.schema, index.table),
                mode: "ShareUpdateExclusiveLock".to_owned(),
            };
            let name = index.name.to_owned();
            steps.push(Step { name, sql, took: None, locks: vec![lock] });
            if state == IndexState::Missing {
                stand_ins.push(index.stand_in());
            }
        }
        let pending = migrate::pending_texts(client).await?;
        let rehearsed = timeout(LONGEST, run(client.driver(), &stand_ins, pending)).await;
        steps.extend(rehearsed.map_err(|_| MigrateError::TooSlow)??);
        Ok(Rehearsal { steps })
    })
    .await
}

async fn run(
    client: &mut tokio_postgres::Client,
    stand_ins: &[String],
    pending: Vec<(String, String)>,
) -> Result<Vec<Step>, MigrateError> {
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    // Rolled back when it is dropped, whatever happens.
    let transaction = client.transaction().await.map_err(DbError::from)?;
    let limit = LONGEST.as_secs();
    let prepare = format!(
        "-- rehearsal\nset local statement_timeout = '{limit}s';
         create schema if not exists regimen"
    );
    transaction.batch_execute(&prepare).await.map_err(DbError::from)?;
    let sql = "-- tables_before
        select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'";
    let rows = transaction.query(sql, &[]).await.map_err(DbError::from)?;
    let before: Vec<u32> = rows.iter().map(|row| row.get(0)).collect();
    for stand_in in stand_ins {
        // A column that a migration brings: the index then comes with it.
        let savepoint = format!("savepoint stand_in; {stand_in}");
        let done = transaction.batch_execute(&savepoint).await;
        if done.is_err() {
            let back = "rollback to savepoint stand_in";
            transaction.batch_execute(back).await.map_err(DbError::from)?;
        }
    }
    let mut known = locks(&transaction, &before).await?;
    let mut steps = Vec::with_capacity(pending.len());
    for (name, sql) in pending {
        let started = Instant::now();
        let ran = transaction.batch_execute(&sql).await;
        let took = Some(started.elapsed());
        ran.map_err(|error| MigrateError::Rehearsed { name: name.clone(), source: error.into() })?;
        let held = locks(&transaction, &before).await?;
        let locks = held.iter().filter(|lock| !known.contains(lock)).cloned().collect();
        steps.push(Step { name, sql, took, locks });
        known = held;
    }
    transaction.rollback().await.map_err(DbError::from)?;
    Ok(steps)
}

async fn locks(
    transaction: &tokio_postgres::Transaction<'_>,
    tables: &[u32],
) -> Result<Vec<TableLock>, DbError> {
    let sql = "-- rehearsed_locks
        select format('%I.%I', n.nspname, c.relname), l.mode
        from pg_locks l
        join pg_class c on c.oid = l.relation
        join pg_namespace n on n.oid = c.relnamespace
        where l.locktype = 'relation' and l.granted and l.pid = pg_backend_pid()
            and l.relation = any($1)
        order by 1, 2";
    let rows = transaction.query(sql, &[&tables]).await?;
    Ok(rows.iter().map(|row| TableLock { table: row.get(0), mode: row.get(1) }).collect())
}
