//! Detects whether a server session belongs to its connection, or only for the
//! duration of a transaction.
//!
//! Two connections begin and end transactions, in both orders, and each reads
//! the id of its server process. Directly, or through a pooler in session mode,
//! a connection keeps the same process. A pooler in transaction mode gives the
//! process that the first has returned to the next that begins.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::connect::Endpoint;
use super::error::DbError;

/// How often both orders are tried: other clients may take part in the exchange.
const ROUNDS: usize = 2;
/// How long the second connection may wait for the first to make room.
const PATIENCE: Duration = Duration::from_secs(1);

/// The result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sessions {
    /// A connection keeps its session.
    Own,
    /// A connection has a session for a transaction only.
    Shared,
    /// There was no room for two connections.
    Unknown,
}

/// The pid alone is not enough: there may be several servers behind one URL.
const BEGIN: &str = "begin;
    select pid, backend_start from pg_stat_get_activity(pg_backend_pid())";

/// Inspects the server of `endpoint`.
///
/// # Errors
/// Postgres cannot be used at all.
pub(super) async fn inspect(endpoint: &Endpoint) -> Result<Sessions, DbError> {
    let (one, _) = endpoint.open().await?;
    let found = async {
        // As on every connection, because some poolers keep a session together from then
        // on.
        endpoint.set_up(&one).await?;
        let Some(first) = begin(&one).await? else { return Ok(Sessions::Shared) };
        let Ok((other, _)) = endpoint.open().await else { return Ok(Sessions::Unknown) };
        let set_up = async {
            endpoint.set_up(&other).await?;
            begin(&other).await
        };
        let mut waiting = std::pin::pin!(set_up);
        let second = match timeout(PATIENCE, waiting.as_mut()).await {
            Ok(Ok(second)) => second,
            Ok(Err(_)) => return Ok(Sessions::Unknown),
            Err(_) => {
                // One session for both? Then the other gets it when it is free.
                commit(&one).await?;
                return Ok(match timeout(PATIENCE, waiting).await {
                    Ok(Ok(second)) if second.as_ref() == Some(&first) => Sessions::Shared,
                    _ => Sessions::Unknown,
                });
            }
        };
        let Some(second) = second else { return Ok(Sessions::Shared) };
        for _ in 0..ROUNDS {
            for first_ends_first in [true, false] {
                let (earlier, later) =
                    if first_ends_first { (&one, &other) } else { (&other, &one) };
                commit(earlier).await?;
                commit(later).await?;
                if begin(&one).await?.as_ref() != Some(&first)
                    || begin(&other).await?.as_ref() != Some(&second)
                {
                    return Ok(Sessions::Shared);
                }
            }
        }
        Ok(Sessions::Own)
    };
    found.await
}

/// Begins a transaction; returns its process, or none if the pooler does not even have
/// transactions.
async fn begin(client: &Client) -> Result<Option<String>, DbError> {
    let messages = match client.simple_query(BEGIN).await {
        Ok(messages) => messages,
        Err(error) if is_statement_pooling(&error) => return Ok(None),
        Err(error) => return Err(DbError::Unreachable(error)),
    };
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let field = |index| row.and_then(|row| row.get(index)).unwrap_or_default();
    Ok(Some(format!("{} {}", field(0), field(1))))
}

/// pgbouncer's third mode refuses transactions, recognisable only by the text.
fn is_statement_pooling(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| error.message().contains("statement pooling"))
}

async fn commit(client: &Client) -> Result<(), DbError> {
    client.batch_execute("commit").await.map_err(DbError::Unreachable)
}
