//! SQL of the retention run: the lease of the worker that runs it, and pages of
//! expired rows along an index.
//!
//! One statement reads a page, and another deletes it after checking each row
//! again. Rows that are still needed (a callback not delivered, an event not
//! applied) are skipped, and the next page begins after them, so that they do
//! not block others.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::batch::{self, Batch, Outcome};
use super::planner::by_index;
use super::{Client, DbError, GenericClient, Transaction, elapsed};
use crate::named::named;

/// Data with a retention period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// The providers' raw replies of ended jobs.
    Replies,
    /// Events and attempts of ended jobs.
    Events,
    /// Ended jobs.
    Jobs,
    /// The counts of generations of earlier months, as long as ended jobs.
    Generations,
    /// Processed Stripe events.
    StripeEvents,
    /// Notices to users about payments.
    Notices,
    /// The audit log of operators' actions.
    Audit,
}

named!(Kept, "thing that is kept", {
    Replies => "replies",
    Events => "events",
    Jobs => "jobs",
    Generations => "generations",
    StripeEvents => "stripe_events",
    Notices => "notices",
    Audit => "audit",
});

/// The levels of `regimen.jobs.kept`, the fullest first.
const REPLIES_KEPT: i16 = 2;
const EVENTS_KEPT: i16 = 1;

/// The jobs of one level, ordered by their ends. Only one index has this order, and both
/// bounds apply to it, so younger jobs of the level are not read.
const PAGE_OF_LEVEL: &str = "-- page of ended jobs by what is kept
    select id::text as key, finished_at as at from regimen.jobs
    where finished_at is not null and kept > 0 and kept = $4::smallint
      and timezone('UTC', finished_at) > timezone('UTC', $1::timestamptz)
      and timezone('UTC', finished_at) <= timezone('UTC', now() - make_interval(secs => $2))
    order by timezone('UTC', finished_at) limit $3";

const PAGE_OF_JOBS: &str = "-- page of ended jobs
    select id::text as key, finished_at as at from regimen.jobs
    where finished_at > $1 and finished_at <= now() - make_interval(secs => $2)
    order by finished_at limit $3";

/// [`first_id`](super::jobs::first_id) in SQL, where a time is by the server's clock.
macro_rules! first_id {
    ($time:literal) => {
        concat!(
            "rpad(lpad(to_hex((extract(epoch from ",
            $time,
            ") * 1000)::bigint), 12, '0'), 32, '0')::uuid"
        )
    };
}

/// By their ids, which begin with the times of their making: no other index has that order.
const PAGE_OF_GENERATIONS: &str = concat!(
    "-- page of generations
    select id::text as key, to_timestamp(
        ('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0) as at
    from regimen.generations
    where id >= ",
    first_id!("$1::timestamptz + interval '1 ms'"),
    " and id < ",
    first_id!("now() - make_interval(secs => $2)"),
    " and at <= now() - make_interval(secs => $2)
    order by id limit $3"
);

const PAGE_OF_STRIPE_EVENTS: &str = "-- page of stripe events
    select id as key, received_at as at from regimen.stripe_events
    where received_at > $1 and received_at <= now() - make_interval(secs => $2)
    order by received_at limit $3";

const PAGE_OF_NOTICES: &str = "-- page of notices
    select event_id as key, created_at as at from regimen.billing_notices
    where created_at > $1 and created_at <= now() - make_interval(secs => $2)
    order by created_at limit $3";

const PAGE_OF_AUDIT: &str = "-- page of admin actions
    select id::text as key, at from regimen.admin_actions
    where at > $1 and at <= now() - make_interval(secs => $2)
    order by at limit $3";

/// Here and below rows are found by id alone, whatever the planner estimates.
const FORGET_REPLIES: &str = "-- forget raw replies
    with named as materialized (
        select id, kept, finished_at from regimen.jobs
        where id = any((select $1::text[])::uuid[]) for update skip locked
    ), over as materialized (
        select id from named where kept = 2 and finished_at <= now() - make_interval(secs => $2)
    ), replies as (
        update regimen.job_attempts set raw_reply = null
        where job_id = any(array(select id from over)) and raw_reply is not null
    )
    update regimen.jobs set kept = 1 where id = any(array(select id from over))
    returning id::text as key";

const FORGET_EVENTS: &str = "-- forget events and attempts
    with named as materialized (
        select id, kept, finished_at from regimen.jobs
        where id = any((select $1::text[])::uuid[]) for update skip locked
    ), over as materialized (
        select id from named where kept > 0 and finished_at <= now() - make_interval(secs => $2)
    ), events as (
        delete from regimen.job_events where job_id = any(array(select id from over))
    ), attempts as (
        delete from regimen.job_attempts where job_id = any(array(select id from over))
    )
    update regimen.jobs set kept = 0 where id = any(array(select id from over))
    returning id::text as key";

/// Their events, attempts and callbacks are deleted with them.
const FORGET_JOBS: &str = "-- forget jobs
    with named as materialized (
        select id, finished_at from regimen.jobs
        where id = any((select $1::text[])::uuid[]) for update skip locked
    ), over as materialized (
        select id from named
        where finished_at <= now() - make_interval(secs => $2) and not exists (
            select from regimen.callbacks c
            where c.job_id = named.id and c.state = 'waiting' offset 0)
    )
    delete from regimen.jobs where id = any(array(select id from over))
    returning id::text as key";

/// Those of this month count for its limit.
const FORGET_GENERATIONS: &str = "-- forget generations
    with named as materialized (
        select id, at from regimen.generations
        where id = any((select $1::text[])::uuid[]) for update skip locked
    )
    delete from regimen.generations where id = any(array(
        select id from named
        where at <= now() - make_interval(secs => $2)
            and at < date_trunc('month', now() at time zone 'utc') at time zone 'utc'))
    returning id::text as key";

const FORGET_STRIPE_EVENTS: &str = "-- forget stripe events
    with named as materialized (
        select id, state, received_at from regimen.stripe_events
        where id = any((select $1::text[])::text[]) for update skip locked
    )
    delete from regimen.stripe_events where id = any(array(
        select id from named
        where state <> 'received' and received_at <= now() - make_interval(secs => $2)))
    returning id as key";

const FORGET_NOTICES: &str = "-- forget notices
    with named as materialized (
        select event_id, mail_state, created_at from regimen.billing_notices
        where event_id = any((select $1::text[])::text[]) for update skip locked
    )
    delete from regimen.billing_notices where event_id = any(array(
        select event_id from named
        where mail_state <> 'waiting' and created_at <= now() - make_interval(secs => $2)))
    returning event_id as key";

const FORGET_AUDIT: &str = "-- forget admin actions
    with named as materialized (
        select id, at from regimen.admin_actions
        where id = any((select $1::text[])::bigint[]) for update skip locked
    )
    delete from regimen.admin_actions where id = any(array(
        select id from named where at <= now() - make_interval(secs => $2)))
    returning id::text as key";

impl Kept {
    /// The walks over expired rows: the query of a page, and the level of jobs it
    /// selects. Jobs without raw replies still have events; if raw replies are kept
    /// longer than events, they are deleted with the attempts.
    fn walks(self) -> &'static [Walk] {
        const fn walk(page: &'static str, level: Option<i16>) -> Walk {
            Walk { page, level }
        }
        match self {
            Self::Replies => const { &[walk(PAGE_OF_LEVEL, Some(REPLIES_KEPT))] },
            Self::Events => {
                const {
                    &[
                        walk(PAGE_OF_LEVEL, Some(EVENTS_KEPT)),
                        walk(PAGE_OF_LEVEL, Some(REPLIES_KEPT)),
                    ]
                }
            }
            Self::Jobs => const { &[walk(PAGE_OF_JOBS, None)] },
            Self::Generations => const { &[walk(PAGE_OF_GENERATIONS, None)] },
            Self::StripeEvents => const { &[walk(PAGE_OF_STRIPE_EVENTS, None)] },
            Self::Notices => const { &[walk(PAGE_OF_NOTICES, None)] },
            Self::Audit => const { &[walk(PAGE_OF_AUDIT, None)] },
        }
    }

    fn forget(self) -> &'static str {
        match self {
            Self::Replies => FORGET_REPLIES,
            Self::Events => FORGET_EVENTS,
            Self::Jobs => FORGET_JOBS,
            Self::Generations => FORGET_GENERATIONS,
            Self::StripeEvents => FORGET_STRIPE_EVENTS,
            Self::Notices => FORGET_NOTICES,
            Self::Audit => FORGET_AUDIT,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Walk {
    page: &'static str,
    level: Option<i16>,
}

/// The position of a run.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    walk: usize,
    after: DateTime<Utc>,
}

impl Default for Place {
    fn default() -> Self {
        Self { walk: 0, after: DateTime::UNIX_EPOCH }
    }
}

/// Expired rows, oldest first.
#[derive(Debug)]
pub struct Page {
    /// Their keys.
    pub keys: Vec<String>,
    /// The start of the next page; none after the last one.
    pub next: Option<Place>,
}

/// Up to `limit` rows older than `age`, starting at `place`.
///
/// # Errors
/// Postgres failed.
pub async fn page(
    client: &mut Client,
    kept: Kept,
    age: Duration,
    place: Place,
    limit: i64,
) -> Result<Page, DbError> {
    let Some(walk) = kept.walks().get(place.walk) else {
        return Ok(Page { keys: Vec::new(), next: None });
    };
    let tx = by_index(client).await?;
    let statement = tx.prepare_cached(walk.page).await?;
    let age = age.as_secs_f64();
    let rows = match walk.level {
        Some(level) => tx.query(&statement, &[&place.after, &age, &limit, &level]).await?,
        None => tx.query(&statement, &[&place.after, &age, &limit]).await?,
    };
    tx.rollback().await?;
    let full = i64::try_from(rows.len()).is_ok_and(|found| found >= limit);
    let next = match rows.last().filter(|_| full) {
        // Rows with the same time as the page's last row wait for the next run.
        Some(last) => Some(Place { after: last.try_get("at")?, ..place }),
        None if place.walk + 1 < kept.walks().len() => {
            Some(Place { walk: place.walk + 1, ..Place::default() })
        }
        None => None,
    };
    let keys = rows.iter().map(|row| Ok(row.try_get("key")?));
    Ok(Page { keys: keys.collect::<Result<_, DbError>>()?, next })
}

/// Deletes those of the rows that are still expired and not needed.
///
/// # Errors
/// Nothing was deleted.
pub async fn forget(
    client: &mut Client,
    kept: Kept,
    age: Duration,
    keys: &[String],
) -> Result<Outcome<String, String>, DbError> {
    batch::change(client, &Over { kept, age }, keys).await
}

struct Over {
    kept: Kept,
    age: Duration,
}

impl Batch for Over {
    type Key = String;
    type Done = String;

    async fn pick(&self, _: &Transaction<'_>) -> Result<Vec<String>, DbError> {
        Ok(Vec::new())
    }

    async fn change(&self, tx: &Transaction<'_>, keys: &[String]) -> Result<Vec<String>, DbError> {
        let statement = tx.prepare_cached(self.kept.forget()).await?;
        let rows = tx.query(&statement, &[&keys, &self.age.as_secs_f64()]).await?;
        rows.iter().map(|row| Ok(row.try_get("key")?)).collect()
    }
}

/// Gives `holder` the lease of the retention run for `hold`; false if the last complete
/// run began less than `every` ago, or another worker holds the lease.
///
/// # Errors
/// Postgres failed.
pub async fn begin(
    client: &impl GenericClient,
    holder: &str,
    every: Duration,
    hold: Duration,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- begin retention
             update regimen.retention
             set holder = $1, held_until = now() + make_interval(secs => $2), started_at = now()
             where (held_until is null or held_until <= now())
                 and coalesce(complete_at <= now() - make_interval(secs => $3), true)",
        )
        .await?;
    let (hold, every) = (hold.as_secs_f64(), every.as_secs_f64());
    Ok(client.execute(&statement, &[&holder, &hold, &every]).await? == 1)
}

/// Extends the lease by `hold`; false if another worker has taken it.
///
/// # Errors
/// Postgres failed.
pub async fn hold_on(
    client: &impl GenericClient,
    holder: &str,
    hold: Duration,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- hold on to retention
             update regimen.retention set held_until = now() + make_interval(secs => $2)
             where holder = $1",
        )
        .await?;
    Ok(client.execute(&statement, &[&holder, &hold.as_secs_f64()]).await? == 1)
}

/// Releases the lease. After a `complete` run the next one waits for its time.
///
/// # Errors
/// Postgres failed; the lease expires by itself.
pub async fn end(client: &impl GenericClient, holder: &str, complete: bool) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- end retention
             update regimen.retention
             set holder = null, held_until = null,
                 complete_at = case when $2 then started_at else complete_at end
             where holder = $1",
        )
        .await?;
    client.execute(&statement, &[&holder, &complete]).await?;
    Ok(())
}

/// The time since the start of the last complete run; none before the first.
///
/// # Errors
/// Postgres failed.
pub async fn age(client: &impl GenericClient) -> Result<Option<Duration>, DbError> {
    let statement = client
        .prepare_cached(
            "-- age of retention
             select extract(epoch from now() - complete_at)::float8 as age from regimen.retention",
        )
        .await?;
    let age: Option<f64> = client.query_one(&statement, &[]).await?.try_get("age")?;
    Ok(age.map(elapsed))
}
