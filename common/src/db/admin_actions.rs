//! SQL of the record of what operators did.

use deadpool_postgres::GenericClient;
use serde_json::Value;
use tokio_postgres::types::Json;

use super::DbError;

/// Something an operator does.
#[derive(Debug, Clone, Copy)]
pub struct Action<'a> {
    /// Who: a user's id, or the trusted backend.
    pub actor: &'a str,
    /// What.
    pub name: &'a str,
    /// To what.
    pub target: &'a str,
    /// With which parameters.
    pub detail: &'a Value,
}

/// Records what is about to be done; returns the record's number. When nothing
/// outside of this transaction is changed, `outcome` may be given at once.
///
/// # Errors
/// Nothing was recorded, so nothing may be done.
pub async fn begin(
    client: &impl GenericClient,
    action: &Action<'_>,
    outcome: Option<&str>,
) -> Result<i64, DbError> {
    let statement = client
        .prepare_cached(
            "-- begin admin action
             insert into regimen.admin_actions (actor, action, target, detail, outcome)
             values ($1, $2, $3, $4, $5) returning id",
        )
        .await?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&action.actor, &action.name, &action.target, &Json(action.detail), &outcome];
    Ok(client.query_one(&statement, &parameters).await?.try_get("id")?)
}

/// Completes a record.
///
/// # Errors
/// The record stays without an outcome.
pub async fn end(client: &impl GenericClient, id: i64, outcome: &str) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- end admin action
             update regimen.admin_actions set outcome = $2 where id = $1 and outcome is null",
        )
        .await?;
    match client.execute(&statement, &[&id, &outcome]).await? {
        1 => Ok(()),
        found => Err(DbError::Rows { statement: "end admin action", expected: 1, found }),
    }
}
