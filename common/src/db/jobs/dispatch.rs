//! Which waiting jobs are dispatched to Redis.
//!
//! At most as many of a user's jobs are dispatched or running as may run at
//! once, so that one user's backlog does not delay other users' first jobs. The
//! mark is `dispatched_at`; Redis only mirrors it. [`super::redispatch_lost`]
//! finds ids that a crash or Redis lost between the mark and the push.

use crate::db::{GenericClient, Transaction};
use chrono::{DateTime, Utc};
use futures_util::join;
use tokio_postgres::Row;
use uuid::Uuid;

use super::read::named;
use crate::db::DbError;
use crate::job::JobClass;
use crate::telemetry::UserHash;

/// A dispatched job, to be pushed after the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextJob {
    /// The job.
    pub id: Uuid,
    /// Its list.
    pub class: JobClass,
    /// The time in its message: when it was dispatched, by the database's clock.
    pub at: DateTime<Utc>,
    /// The job ran before and was requeued: it goes to the head of the list, because it
    /// is older than the others.
    pub returned: bool,
}

impl NextJob {
    pub(super) fn from_row(row: &Row) -> Result<Self, DbError> {
        let class: JobClass = named(row, "class")?;
        let at = row.try_get("at")?;
        Ok(Self { id: row.try_get("id")?, class, at, returned: false })
    }
}

const DISPATCH_NEXT: &str = "-- dispatch next
    update regimen.jobs j set dispatched_at = now()
    from (select distinct unnest($1::uuid[]) as user_id) u
    cross join lateral (
        select id from regimen.jobs
        where user_id = u.user_id and state = 'queued' and dispatched_at is null
          and run_at <= now()
        order by run_at, created_at, id
        limit greatest(0, $2 - (
            select count(*) from regimen.jobs
            where user_id = u.user_id
              and (state = 'running' or (state = 'queued' and dispatched_at is not null))))
        for update skip locked
    ) next
    where j.id = next.id
    returning j.id, j.class, j.dispatched_at as at";

/// Picks each user's next waiting jobs within the cap, and marks them as dispatched. Push
/// them after the commit; the reconciler finds those that are not pushed.
///
/// # Errors
/// Nothing was marked.
pub async fn dispatch_next<C: GenericClient>(
    client: &C,
    users: &[Uuid],
    per_user: i64,
) -> Result<Vec<NextJob>, DbError> {
    let statement = client.prepare_cached(DISPATCH_NEXT).await?;
    let rows = client.query(&statement, &[&users, &per_user]).await?;
    rows.iter().map(NextJob::from_row).collect()
}

/// The same as a part of the end of other jobs, which must not fail because of the next
/// jobs' rows: those then wait for [`super::dispatch_ready`]. A row that cannot be changed
/// holds up its own user's next jobs only.
///
/// # Errors
/// The transaction cannot continue.
pub(super) async fn dispatch_next_or_later(
    tx: &Transaction<'_>,
    users: &[Uuid],
    per_user: i64,
) -> Result<Vec<NextJob>, DbError> {
    let refused = match dispatch_or_roll_back(tx, users, per_user).await? {
        Ok(next) => return Ok(next),
        Err(refused) => refused,
    };
    if let [user] = users {
        wait_for_another_look(*user, &refused);
        return Ok(Vec::new());
    }
    let mut next = Vec::new();
    for user in users {
        match dispatch_or_roll_back(tx, &[*user], per_user).await? {
            Ok(of_user) => next.extend(of_user),
            Err(refused) => wait_for_another_look(*user, &refused),
        }
    }
    Ok(next)
}

/// The inner error is the refusal of a row; nothing was marked, and the transaction goes on.
async fn dispatch_or_roll_back(
    tx: &Transaction<'_>,
    users: &[Uuid],
    per_user: i64,
) -> Result<Result<Vec<NextJob>, DbError>, DbError> {
    tx.prepare_cached(DISPATCH_NEXT).await?;
    // Polled together, they are sent in this order.
    let (saved, next, released) = join!(
        tx.batch_execute("savepoint next"),
        dispatch_next(tx, users, per_user),
        tx.batch_execute("release savepoint next"),
    );
    saved?;
    match next {
        Err(error) if error.may_blame_a_row() => {
            tx.batch_execute("rollback to savepoint next; release savepoint next").await?;
            Ok(Err(error))
        }
        next => {
            // Its error is the cause of the one of the release.
            let next = next?;
            released?;
            Ok(Ok(next))
        }
    }
}

fn wait_for_another_look(user: Uuid, error: &DbError) {
    metrics::counter!("regimen_poison_rows_total", "step" => "dispatch_next").increment(1);
    let user = UserHash::of(user);
    tracing::error!(%error, %user, "the next jobs of this user wait for another look");
}
