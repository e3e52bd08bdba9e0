//! Keeps statements bounded by their shape, whatever the planner assumes about
//! the tables.
//!
//! Postgres caches the plan of a prepared statement. A plan made while a table
//! was small, or its statistics outdated, reads the whole table and stays in
//! use when the table has grown. So our sessions disable the plan nodes that
//! read whole tables ([`SESSION`]), and a statement that reads the head of a
//! long queue ([`by_index`]) can only use the index that has its order.

use crate::db::{Client, Transaction};

use super::DbError;

/// For every session of ours. Tables are read along their indexes, and rows
/// are found one by one: an index is not merged, hashed or kept as a whole to
/// find some of its rows, as pays while it is one page. Compiling plans would
/// take longer than any of our statements; it is tempted to where there is no
/// other way than a closed one.
pub(super) const SESSION: &str = "set enable_seqscan = off;
    set enable_mergejoin = off;
    set enable_hashjoin = off;
    set enable_material = off;
    set jit = off";

const BY_INDEX: &str = "set local enable_sort = off;
    set local enable_incremental_sort = off;
    set local enable_bitmapscan = off";

const ANY_WAY: &str = "set local enable_sort = on";

/// A transaction for statements that read along one index each: nothing is
/// sorted in it. Its statements must ask for an order that only their index
/// gives, and must not be prepared elsewhere under the same text.
///
/// # Errors
/// Postgres cannot be reached.
pub(super) async fn by_index(client: &mut Client) -> Result<Transaction<'_>, DbError> {
    let tx = client.transaction().await?;
    tx.batch_execute(BY_INDEX).await?;
    Ok(tx)
}

/// Lets the rest of a transaction sort again what it found.
///
/// # Errors
/// Postgres failed.
pub(super) async fn any_way(tx: &Transaction<'_>) -> Result<(), DbError> {
    tx.batch_execute(ANY_WAY).await
}
