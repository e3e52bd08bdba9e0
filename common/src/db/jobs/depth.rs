//! How much waits, since when, and how fast it drains. Asked again and again,
//! so each answer reads a bounded part of an index, however much waits.

use std::collections::HashMap;
use std::time::Duration;

use crate::db::Client;
use uuid::Uuid;

use super::read::named;
use crate::db::planner::by_index;
use crate::db::{DbError, elapsed};
use crate::job::JobClass;

/// The pace is that of so many jobs at most, the latest ones.
const PACE_OF: i64 = 2_000;
/// A pace is not told from less time than this.
const SHORTEST_SPAN: f64 = 5.0;

/// A part of a count of everything that waits, by class and id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DepthPage {
    /// How much of each class was counted; classes without any are left out.
    pub counted: HashMap<JobClass, i64>,
    /// Where the count goes on; `None` at its end.
    pub next: Option<Place>,
}

/// How far a count has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    class: String,
    id: Uuid,
}

/// Counts up to `limit` of the jobs that wait, from `after` on.
///
/// # Errors
/// The query failed.
pub async fn count_waiting(
    client: &mut Client,
    after: Option<&Place>,
    limit: i64,
) -> Result<DepthPage, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- count waiting jobs
             with page as materialized (
                 select class, id from regimen.jobs
                 where state = 'queued' and (class, id) > ($1, $2)
                 order by class, id limit $3
             )
             select class, count(*) as n, (array_agg(id order by id desc))[1] as last
             from page group by class",
        )
        .await?;
    let class = after.map_or("", |place| place.class.as_str());
    let id = after.map_or(Uuid::nil(), |place| place.id);
    let rows = tx.query(&statement, &[&class, &id, &limit]).await?;
    tx.rollback().await?;
    let (mut page, mut sum) = (DepthPage::default(), 0);
    for row in &rows {
        let n: i64 = row.try_get("n")?;
        sum += n;
        // A class this release does not know is counted by one that does.
        if let Ok(class) = named::<JobClass>(row, "class") {
            page.counted.insert(class, n);
        }
        let place = Place { class: row.try_get("class")?, id: row.try_get("last")? };
        if page.next.as_ref().is_none_or(|next| next.class < place.class) {
            page.next = Some(place);
        }
    }
    page.next.take_if(|_| sum < limit);
    Ok(page)
}

/// For how long it has been the turn of the job of `class` that has waited
/// longest for a worker.
///
/// # Errors
/// The query failed.
pub async fn oldest_turn(
    client: &mut Client,
    class: JobClass,
) -> Result<Option<Duration>, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- oldest turn
             select extract(epoch from now() - dispatched_at)::float8 as seconds
             from regimen.jobs
             where state = 'queued' and class = $1 and dispatched_at is not null
               and dispatched_at > '-infinity' and dispatched_at < 'infinity'
             order by dispatched_at limit 1",
        )
        .await?;
    let row = tx.query_opt(&statement, &[&class.as_str()]).await?;
    tx.rollback().await?;
    row.map(|row| Ok(elapsed(row.try_get("seconds")?))).transpose()
}

/// How much waits, and how fast it drains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Jobs waiting, counted up to the limit asked for.
    pub queued: i64,
    /// How many jobs end a second, of late; nothing while none does.
    pub pace: Option<f64>,
}

/// Counts what waits, up to `limit`, and tells the pace at which jobs ended
/// within the last `window`: from the first of them until now.
///
/// # Errors
/// The query failed.
pub async fn backlog(
    client: &mut Client,
    limit: i64,
    window: Duration,
) -> Result<Backlog, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- backlog
             with ended as materialized (
                 select finished_at from regimen.jobs
                 where finished_at > now() - make_interval(secs => $2) and finished_at <= now()
                 order by finished_at desc limit $3
             )
             select (select count(*) from (
                         select from regimen.jobs where state = 'queued'
                         order by class, id limit $1) waiting) as queued,
                    (select count(*) from ended) as ended,
                    coalesce(extract(epoch from now() - (select min(finished_at) from ended)), 0)
                        ::float8 as span",
        )
        .await?;
    let row = tx.query_one(&statement, &[&limit, &window.as_secs_f64(), &PACE_OF]).await?;
    tx.rollback().await?;
    let (ended, span): (i64, f64) = (row.try_get("ended")?, row.try_get("span")?);
    let pace = (ended > 0).then(|| ended as f64 / span.max(SHORTEST_SPAN));
    Ok(Backlog { queued: row.try_get("queued")?, pace })
}
