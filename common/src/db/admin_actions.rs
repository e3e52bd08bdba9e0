//! SQL of the audit log of operators' actions.

use crate::db::{GenericClient, Transaction};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::types::Json;

use super::DbError;

/// An action of an operator.
#[derive(Debug, Clone, Copy)]
pub struct Action<'a> {
    /// The operator: a user's id, or the trusted backend.
    pub actor: &'a str,
    /// The name of the action.
    pub name: &'a str,
    /// Its target.
    pub target: &'a str,
    /// Its parameters.
    pub detail: &'a Value,
}

/// Records an action before it is carried out; returns the record's number. If only this
/// transaction changes data, `outcome` may be given at once.
///
/// # Errors
/// Nothing was recorded, so the action must not be carried out.
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

/// An operator, and why they act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name in the audit log.
    pub actor: String,
    /// The reason, if one was given.
    pub reason: Option<String>,
}

impl Operator {
    /// Records an action that `tx` itself carries out.
    ///
    /// # Errors
    /// Nothing was recorded, so the action must not be carried out.
    pub async fn record(
        &self,
        tx: &Transaction<'_>,
        name: &str,
        target: &str,
        mut detail: Value,
    ) -> Result<(), DbError> {
        if let Some(reason) = &self.reason {
            detail["reason"] = json!(reason);
        }
        let action = Action { actor: &self.actor, name, target, detail: &detail };
        begin(tx, &action, Some("done")).await?;
        tracing::info!(actor = self.actor, action = name, target, "an operator acted");
        Ok(())
    }
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

/// The records to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only actions of this operator.
    pub actor: Option<String>,
    /// Only this action.
    pub name: Option<String>,
    /// Only this target.
    pub target: Option<String>,
    /// Only records with a smaller number.
    pub before: Option<i64>,
    /// The highest number of records.
    pub limit: i64,
}

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its number.
    pub id: i64,
    /// When the action began.
    pub at: DateTime<Utc>,
    /// The operator.
    pub actor: String,
    /// The action.
    pub name: String,
    /// Its target.
    pub target: String,
    /// Its parameters.
    pub detail: Value,
    /// Its outcome; none while it is running, or if it was interrupted.
    pub outcome: Option<String>,
}

/// The most records that one statement reads.
pub const WINDOW: i64 = 10_000;

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The records, newest first.
    pub actions: Vec<Recorded>,
    /// The record at which the search stopped before it had found enough; none at the end.
    pub stopped_at: Option<i64>,
}

/// Up to `filter.limit` of the next [`WINDOW`] records that are as the filter says, newest
/// first.
///
/// # Errors
/// Postgres failed.
pub async fn list(client: &impl GenericClient, filter: &Filter) -> Result<Found, DbError> {
    let Filter { actor, name, target, before, limit } = filter;
    let is_sieve = actor.is_some() || name.is_some() || target.is_some();
    // Of records that are all wanted, no more than are wanted are read.
    let size = if is_sieve { WINDOW } else { (*limit).min(WINDOW) };
    let statement = client
        .prepare_cached(
            "-- list admin actions
             select id, at, actor, action, target, detail, outcome from (
                 select * from regimen.admin_actions
                 where id < coalesce($4, 9223372036854775807) order by id desc limit $5) a
             where ($1::text is null or actor = $1) and ($2::text is null or action = $2)
               and ($3::text is null or target = $3)
             order by id desc limit $6",
        )
        .await?;
    let rows = client.query(&statement, &[actor, name, target, before, &size, limit]).await?;
    let actions = rows
        .iter()
        .map(|row| {
            let Json(detail) = row.try_get("detail")?;
            Ok(Recorded {
                id: row.try_get("id")?,
                at: row.try_get("at")?,
                actor: row.try_get("actor")?,
                name: row.try_get("action")?,
                target: row.try_get("target")?,
                detail,
                outcome: row.try_get("outcome")?,
            })
        })
        .collect::<Result<Vec<_>, DbError>>()?;
    if i64::try_from(actions.len()).is_ok_and(|found| found >= *limit) {
        return Ok(Found { actions, stopped_at: None });
    }
    let statement = client
        .prepare_cached(
            "-- end of admin actions
             select id from (
                 select id from regimen.admin_actions
                 where id < coalesce($1, 9223372036854775807) order by id desc limit $2) a
             offset $2 - 1",
        )
        .await?;
    let last = client.query_opt(&statement, &[before, &size]).await?;
    Ok(Found { actions, stopped_at: last.map(|row| row.try_get("id")).transpose()? })
}
