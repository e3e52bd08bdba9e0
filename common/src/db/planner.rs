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

/// For every session. A statement is planned once: to plan one that writes a batch takes
/// longer than to run it, and Postgres would plan it anew each time if its first batches
/// were small. Tables are read along their indexes, and rows are found one by one:
/// an index is not merged, hashed or materialised to find some of its rows, which pays
/// only while it is one page. JIT compilation would take longer than any of our
/// statements, and the planner chooses it when only a disabled node remains.
pub(super) const SESSION: &str = "set plan_cache_mode = force_generic_plan;
    set enable_seqscan = off;
    set enable_mergejoin = off;
    set enable_hashjoin = off;
    set enable_material = off;
    set jit = off";

const BY_INDEX: &str = "set local enable_sort = off;
    set local enable_incremental_sort = off;
    set local enable_bitmapscan = off";

const ANY_WAY: &str = "set local enable_sort = on";

/// A transaction for statements that each read along one index: nothing is sorted in it.
/// Its statements must request an order that only their index provides, and must not be
/// prepared elsewhere with the same text.
///
/// # Errors
/// Postgres cannot be reached.
pub(super) async fn by_index(client: &mut Client) -> Result<Transaction<'_>, DbError> {
    let tx = client.transaction();
    tx.batch_execute(BY_INDEX).await?;
    Ok(tx)
}

/// Allows sorting in the rest of a transaction.
///
/// # Errors
/// Postgres failed.
pub(super) async fn any_way(tx: &Transaction<'_>) -> Result<(), DbError> {
    tx.batch_execute(ANY_WAY).await
}
