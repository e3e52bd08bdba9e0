//! The spend on AI calls: the ledger, and the running calls.

use crate::db::{Client, GenericClient};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::DbError;
use super::planner::by_index;

/// The cap on the cost of one call, as in `regimen.believable_micros`.
pub const MOST_MICROS: i64 = 100_000_000;
/// The cap on tokens of a kind, as in `regimen.believable_tokens`.
pub const MOST_TOKENS: i64 = 10_000_000;

/// Millionths of a US dollar spent since `since`, by `user` or by all users. Calls of
/// running jobs that are not in the ledger yet count too; one without a reply counts with
/// its highest cost.
///
/// The total is stored per day (UTC), so it is not a sum over all calls: for it `since`
/// is the beginning of a day. A user's total is a sum over their own calls.
///
/// # Errors
/// Postgres failed.
pub async fn spent_micros(
    client: &mut Client,
    user: Option<Uuid>,
    since: DateTime<Utc>,
) -> Result<i64, DbError> {
    let tx = by_index(client).await?;
    let settled = match user {
        Some(user) => settled_by(&tx, user, since).await?,
        None => settled_by_all(&tx, since).await?,
    };
    let under_way = under_way(&tx, user, since).await?;
    tx.rollback().await?;
    Ok(settled.saturating_add(under_way))
}

async fn settled_by(
    client: &impl GenericClient,
    user: Uuid,
    since: DateTime<Utc>,
) -> Result<i64, DbError> {
    let statement = client
        .prepare_cached(
            "-- spent by a user
             select coalesce(sum(regimen.believable_micros(cost_micros)), 0)::bigint
             from regimen.ai_usage where user_id = $1 and at >= $2",
        )
        .await?;
    Ok(client.query_one(&statement, &[&user, &since]).await?.try_get(0)?)
}

async fn settled_by_all(client: &impl GenericClient, since: DateTime<Utc>) -> Result<i64, DbError> {
    let statement = client
        .prepare_cached(
            "-- spent by all
             select least(coalesce(sum(micros), 0), 9e15)::bigint from regimen.spent_days
             where day >= $1",
        )
        .await?;
    Ok(client.query_one(&statement, &[&since.date_naive()]).await?.try_get(0)?)
}

/// The cost of the calls since `$1` of the jobs in the CTE `running` that are not in the
/// ledger.
macro_rules! calls_under_way {
    () => {
        " select coalesce(sum(regimen.believable_micros(a.cost_micros)), 0)::bigint
          from running cross join lateral (
              select id, cost_micros, coalesce(finished_at, started_at) as at
              from regimen.job_attempts where job_id = running.id order by n offset 0
          ) a
          where a.at >= $1
            -- One look for each; as a join it might read the whole ledger.
            and (select true from regimen.ai_usage u where u.attempt_id = a.id limit 1) is null"
    };
}

const UNDER_WAY: &str = concat!(
    "-- spending of all
     with running as materialized (
         select id from regimen.jobs where state = 'running' order by lease_expires_at
     )",
    calls_under_way!()
);

const UNDER_WAY_OF_USER: &str = concat!(
    "-- spending of a user
     with running as materialized (
         -- In the words of jobs_user_places, which alone has the order. Those that run have
         -- a worker; to ask for their state would let the indexes of all that runs be read.
         select id from regimen.jobs
         where user_id = $2 and worker_id is not null
           and (state = 'running' or (state = 'queued' and dispatched_at is not null))
         order by dispatched_at
     )",
    calls_under_way!()
);

/// The running jobs, which the slots of the fleet limit.
async fn under_way(
    client: &impl GenericClient,
    user: Option<Uuid>,
    since: DateTime<Utc>,
) -> Result<i64, DbError> {
    let row = match user {
        None => {
            let statement = client.prepare_cached(UNDER_WAY).await?;
            client.query_one(&statement, &[&since]).await?
        }
        Some(user) => {
            let statement = client.prepare_cached(UNDER_WAY_OF_USER).await?;
            client.query_one(&statement, &[&since, &user]).await?
        }
    };
    Ok(row.try_get(0)?)
}
