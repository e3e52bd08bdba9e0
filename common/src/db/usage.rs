//! What has been spent on AI calls: the ledger, and what runs at the moment.

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::DbError;

/// Millionths of a US dollar spent since `since`, by `user` or by everybody.
/// Calls of running jobs that are not in the ledger yet count too; one without
/// an answer counts with the most it can cost.
///
/// # Errors
/// Postgres failed.
pub async fn spent_micros<C: GenericClient>(
    client: &C,
    user: Option<Uuid>,
    since: DateTime<Utc>,
) -> Result<i64, DbError> {
    let statement = client
        .prepare_cached(
            "-- spent micros
             select coalesce(sum(cost_micros), 0)::bigint as spent from (
                 select cost_micros from regimen.ai_usage
                 where at >= $2 and ($1::uuid is null or user_id = $1)
                 union all
                 select a.cost_micros
                 from regimen.jobs j join regimen.job_attempts a on a.job_id = j.id
                 where j.state = 'running' and ($1::uuid is null or j.user_id = $1)
                   and coalesce(a.finished_at, a.started_at) >= $2
                   and not exists (select 1 from regimen.ai_usage u where u.attempt_id = a.id)
             ) spending",
        )
        .await?;
    Ok(client.query_one(&statement, &[&user, &since]).await?.try_get("spent")?)
}
