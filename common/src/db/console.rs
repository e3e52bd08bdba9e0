//! SQL of the operators' console: sessions, and links that sign in once. Secrets are
//! stored as hashes only.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::jobs::read::named as read_name;
use super::{DbError, GenericClient};
use crate::named::named;

/// What an operator may do in the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsoleRole {
    /// Everything.
    Admin,
    /// Look, at anything but health data.
    Viewer,
}

named!(ConsoleRole, "console role", { Admin => "admin", Viewer => "viewer" });

/// A session ends this long after its sign-in, whatever happens.
pub const SESSION_HOURS: i32 = 8;
/// And this long after its last request.
pub const IDLE_MINUTES: i32 = 60;
/// Sessions and links removed with each new one.
const SWEPT: i64 = 100;

/// A session to store.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its name.
    pub id: Uuid,
    /// The operator.
    pub actor: String,
    /// The signed-in user, if it is one.
    pub user_id: Option<Uuid>,
    /// The role.
    pub role: ConsoleRole,
    /// Whether the app's table of operators says so.
    pub by_table: bool,
}

/// A session that is valid now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: Uuid,
    /// The operator.
    pub actor: String,
    /// The signed-in user, if it is one.
    pub user_id: Option<Uuid>,
    /// The role.
    pub role: ConsoleRole,
    /// Whether the app's table of operators says so.
    pub by_table: bool,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// Its latest request, to the minute.
    pub seen_at: DateTime<Utc>,
}

const COLUMNS: &str = "id, actor, user_id, role, by_table, created_at, seen_at";
const VALID: &str = "created_at > now() - make_interval(hours => $1)
    and seen_at > now() - make_interval(mins => $2)";

fn session(row: &tokio_postgres::Row) -> Result<Session, DbError> {
    Ok(Session {
        id: row.try_get("id")?,
        actor: row.try_get("actor")?,
        user_id: row.try_get("user_id")?,
        role: read_name(row, "role")?,
        by_table: row.try_get("by_table")?,
        created_at: row.try_get("created_at")?,
        seen_at: row.try_get("seen_at")?,
    })
}

/// Stores a new session in place of the one with the hash `replaced`, and removes some
/// that are over.
///
/// # Errors
/// Nothing was stored.
pub async fn open(
    client: &impl GenericClient,
    secret_hash: &[u8],
    new: &NewSession,
    replaced: Option<&[u8]>,
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- open console session
             with over as (
                 delete from regimen.console_sessions where secret_hash = any(array(
                     select secret_hash from regimen.console_sessions
                     where created_at <= now() - make_interval(hours => $7)
                     order by created_at limit $8))
             ), replaced as (
                 delete from regimen.console_sessions where secret_hash = $9
             )
             insert into regimen.console_sessions
                 (secret_hash, id, actor, user_id, role, by_table)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .await?;
    let NewSession { id, actor, user_id, role, by_table } = new;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] = [
        &secret_hash,
        id,
        actor,
        user_id,
        &role.as_str(),
        by_table,
        &SESSION_HOURS,
        &SWEPT,
        &replaced,
    ];
    client.execute(&statement, &values).await?;
    Ok(())
}

/// The valid session of a secret, renewed by this use.
///
/// # Errors
/// Postgres failed.
pub async fn find(
    client: &impl GenericClient,
    secret_hash: &[u8],
) -> Result<Option<Session>, DbError> {
    let statement = client
        .prepare_cached(&format!(
            "-- console session
             with renewed as (
                 update regimen.console_sessions set seen_at = now()
                 where secret_hash = $3 and seen_at < now() - interval '1 minute' and {VALID}
             )
             select {COLUMNS} from regimen.console_sessions where secret_hash = $3 and {VALID}"
        ))
        .await?;
    let row = client.query_opt(&statement, &[&SESSION_HOURS, &IDLE_MINUTES, &secret_hash]).await?;
    row.as_ref().map(session).transpose()
}

/// Ends the session of a secret; false if there is none.
///
/// # Errors
/// Nothing was changed.
pub async fn close(client: &impl GenericClient, secret_hash: &[u8]) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- close console session
             delete from regimen.console_sessions where secret_hash = $1",
        )
        .await?;
    Ok(client.execute(&statement, &[&secret_hash]).await? == 1)
}

/// Ends a session by its name; false if there is none.
///
/// # Errors
/// Nothing was changed.
pub async fn revoke(client: &impl GenericClient, id: Uuid) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- revoke console session
             delete from regimen.console_sessions where id = $1",
        )
        .await?;
    Ok(client.execute(&statement, &[&id]).await? == 1)
}

/// The valid sessions, the newest first; at most `limit`.
///
/// # Errors
/// Postgres failed.
pub async fn sessions(client: &impl GenericClient, limit: i64) -> Result<Vec<Session>, DbError> {
    let statement = client
        .prepare_cached(&format!(
            "-- console sessions
             select {COLUMNS} from regimen.console_sessions where {VALID}
             order by created_at desc limit $3"
        ))
        .await?;
    let rows = client.query(&statement, &[&SESSION_HOURS, &IDLE_MINUTES, &limit]).await?;
    rows.iter().map(session).collect()
}

/// Stores a link that signs `actor` in once, within `seconds`.
///
/// # Errors
/// Nothing was stored.
pub async fn make_link(
    client: &impl GenericClient,
    secret_hash: &[u8],
    actor: &str,
    role: ConsoleRole,
    seconds: f64,
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- make console link
             with over as (
                 delete from regimen.console_links where secret_hash = any(array(
                     select secret_hash from regimen.console_links where expires_at <= now()
                     order by expires_at limit $5))
             )
             insert into regimen.console_links (secret_hash, actor, role, expires_at)
             values ($1, $2, $3, now() + make_interval(secs => $4))",
        )
        .await?;
    client.execute(&statement, &[&secret_hash, &actor, &role.as_str(), &seconds, &SWEPT]).await?;
    Ok(())
}

/// Uses up a link: whom it signs in, and as what.
///
/// # Errors
/// Nothing was changed.
pub async fn use_link(
    client: &impl GenericClient,
    secret_hash: &[u8],
) -> Result<Option<(String, ConsoleRole)>, DbError> {
    let statement = client
        .prepare_cached(
            "-- use console link
             delete from regimen.console_links where secret_hash = $1
             returning actor, role, expires_at > now() as valid",
        )
        .await?;
    let Some(row) = client.query_opt(&statement, &[&secret_hash]).await? else { return Ok(None) };
    let valid: bool = row.try_get("valid")?;
    Ok(valid.then_some((row.try_get("actor")?, read_name(&row, "role")?)))
}
