//! Statements that look rows up by an array of keys, under a plan made once.
//!
//! Postgres takes an array it does not know to be ten long. A plan for the one
//! key that usually stands there looks cheaper than the general one, so it plans
//! such a statement anew at every run, which takes longer than to run it. The
//! general plan is as good as long as the keys alone choose the rows: a limit or
//! a range among the parameters wants a plan of its own.

use deadpool_postgres::GenericClient;
use futures_util::try_join;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

/// For the rest of a transaction.
pub(super) const PLAN_ONCE_LOCALLY: &str = "set local plan_cache_mode = force_generic_plan";

const PLAN_ONCE: &str = "set plan_cache_mode = force_generic_plan";
const PLAN_AS_BEFORE: &str = "reset plan_cache_mode";

/// Runs `statement` under its general plan, in one round trip.
pub(super) async fn query_by_keys<C: GenericClient>(
    client: &C,
    statement: &Statement,
    keys: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    // Polled together, the three go out as one pipeline, and none without the others.
    let (_, rows, _) = try_join!(
        client.batch_execute(PLAN_ONCE),
        client.query(statement, keys),
        client.batch_execute(PLAN_AS_BEFORE),
    )?;
    Ok(rows)
}
