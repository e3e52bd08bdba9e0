//! What the writes of many jobs at once share: their order, and whose row is whose.

use std::collections::HashMap;

use tokio_postgres::Row;
use uuid::Uuid;

use crate::db::DbError;

/// All of them in the order of their jobs' ids, in which their rows are taken, so that two
/// writes of many jobs cannot deadlock.
pub(super) fn in_order<W>(of: &[W], job: impl Fn(&W) -> Uuid) -> Vec<&W> {
    let mut sorted: Vec<&W> = of.iter().collect();
    sorted.sort_unstable_by_key(|one| job(one));
    sorted
}

/// What was returned for each job, by its `job_id`.
///
/// # Errors
/// A column is missing or of another type.
pub(super) fn by_job<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<HashMap<Uuid, T>, DbError> {
    rows.iter().map(|row| Ok((row.try_get("job_id")?, read(row)?))).collect()
}
