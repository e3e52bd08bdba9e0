//! A job's events, appended by its holder; `watch` reads them.

use crate::db::GenericClient;
use serde_json::Value;
use tokio_postgres::types::Json;

use super::Held;
use crate::db::DbError;
use crate::job::JobEventKind;

/// Appends an event and sets the stage, if the holder still holds the job. Returns the
/// event's number, or `None` if it does not.
///
/// # Errors
/// Nothing was written.
pub async fn append_event<C: GenericClient>(
    client: &C,
    held: Held,
    kind: JobEventKind,
    stage: &str,
    data: &Value,
) -> Result<Option<i32>, DbError> {
    let statement = client
        .prepare_cached(
            "-- append event
             with job as (
                 update regimen.jobs
                 set last_seq = last_seq + 1, stage = $4, updated_at = now()
                 where id = $1 and fence = $2 and worker_id is not null
                 returning last_seq
             )
             insert into regimen.job_events (job_id, seq, at, kind, data)
             select $1, last_seq, now(), $3, $5 from job
             returning seq",
        )
        .await?;
    let row = client
        .query_opt(&statement, &[&held.id, &held.fence, &kind.as_str(), &stage, &Json(data)])
        .await?;
    if row.is_none() {
        super::count_refused_write();
    }
    Ok(row.map(|row| row.get("seq")))
}
