//! SQL that repairs the processing of Stripe events and of their mails. It runs
//! periodically, so every statement is bounded by its shape, and a row that
//! cannot be changed does not block the others.

use std::time::Duration;

use crate::db::{Client, Transaction};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome};

/// Events held by several lost workers.
#[derive(Debug, Clone, Copy)]
pub struct Poisoned<'a> {
    /// The number of lost holders, or more.
    pub holders: i32,
    /// The highest number of events.
    pub limit: i64,
    /// Events to leave out.
    pub quarantine: &'a [String],
}

/// Ends events that have lost this many holders. Returns their ids.
///
/// # Errors
/// Nothing was changed.
pub async fn bury_poisoned(
    client: &mut Client,
    poisoned: &Poisoned<'_>,
) -> Result<Outcome<String, String>, DbError> {
    batch::run(client, poisoned).await
}

impl Batch for Poisoned<'_> {
    type Key = String;
    type Done = String;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<String>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find poisoned stripe events
                 select id from regimen.stripe_events
                 where state = 'received' and held and lost >= $1 - 1 and run_at <= now()
                     and id <> all ($3::text[])
                 order by lost desc, run_at desc limit $2 for update skip locked",
            )
            .await?;
        ids(&tx.query(&statement, &[&self.holders, &self.limit, &self.quarantine]).await?)
    }

    async fn change(&self, tx: &Transaction<'_>, keys: &[String]) -> Result<Vec<String>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- bury poisoned stripe events
                 with named as materialized (
                     select id, state, held, lost, run_at from regimen.stripe_events
                     where id = any((select $1::text[])::text[]) for update skip locked
                 )
                 update regimen.stripe_events e
                 set state = 'dead', settled_at = now(), error_code = 'poisoned',
                     error_detail = 'took ' || e.lost + 1 || ' workers down with it'
                 from named
                 where e.id = named.id and named.state = 'received' and named.held
                     and named.lost >= $2 - 1 and named.run_at <= now()
                 returning e.id",
            )
            .await?;
        ids(&tx.query(&statement, &[&keys, &self.holders]).await?)
    }
}

/// Unresolved events whose next try is due.
#[derive(Debug, Clone, Copy)]
pub struct DueUnresolved<'a> {
    /// The highest number of events.
    pub limit: i64,
    /// Events to leave out.
    pub quarantine: &'a [String],
}

/// Retries unresolved events whose next try is due, up to 30 days after they arrived.
/// Older ones wait until their customer's user is known.
///
/// # Errors
/// Nothing was changed.
pub async fn wake_due(
    client: &mut Client,
    due: &DueUnresolved<'_>,
) -> Result<Outcome<String, String>, DbError> {
    batch::run(client, due).await
}

impl Batch for DueUnresolved<'_> {
    type Key = String;
    type Done = String;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<String>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find due unresolved stripe events
                 select id from regimen.stripe_events
                 where state = 'unresolved' and run_at <= now() and id <> all ($2::text[])
                 order by run_at limit $1 for update skip locked",
            )
            .await?;
        ids(&tx.query(&statement, &[&self.limit, &self.quarantine]).await?)
    }

    /// Events that are too old to be retried leave the index permanently.
    async fn change(&self, tx: &Transaction<'_>, keys: &[String]) -> Result<Vec<String>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- wake due unresolved stripe events
                 with named as materialized (
                     select id, state, run_at, received_at from regimen.stripe_events
                     where id = any((select $1::text[])::text[]) for update skip locked
                 ), due as (
                     select id, received_at > now() - interval '30 days' as young from named
                     where state = 'unresolved' and run_at <= now()
                 ), old as (
                     update regimen.stripe_events e set run_at = now() + interval '1000 years'
                     from due where e.id = due.id and not due.young
                 )
                 update regimen.stripe_events e
                 set state = 'received', settled_at = null, attempts = 0, held = false, lost = 0,
                     dispatched_at = null
                 from due where e.id = due.id and due.young
                 returning e.id",
            )
            .await?;
        ids(&tx.query(&statement, &[&keys]).await?)
    }
}

/// Ids whose message is lost: never sent, or sent by `patience` before `popped_before`
/// (messages still in the list are younger), or before now.
#[derive(Debug, Clone, Copy)]
pub struct LostIds<'a> {
    /// The time of the oldest message in the list.
    pub popped_before: Option<DateTime<Utc>>,
    /// How long a message may take to arrive.
    pub patience: Duration,
    /// The highest number.
    pub limit: i64,
    /// Rows to leave out.
    pub quarantine: &'a [String],
}

/// A row that was marked as dispatched, to be pushed after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchedId {
    /// The event's id.
    pub id: String,
    /// When it was marked, by the database's clock.
    pub at: DateTime<Utc>,
    /// W3C `traceparent` of the request that caused it.
    pub trace_context: Option<String>,
}

/// Marks due events as dispatched whose message is lost. Returns them, to be pushed.
///
/// # Errors
/// Nothing was marked.
pub async fn dispatch_lost(
    client: &mut Client,
    lost: &LostIds<'_>,
) -> Result<Outcome<String, DispatchedId>, DbError> {
    batch::run(client, &LostEvents(*lost)).await
}

/// Marks due mails as dispatched whose message is lost. Returns them, to be pushed.
///
/// # Errors
/// Nothing was marked.
pub async fn dispatch_lost_mails(
    client: &mut Client,
    lost: &LostIds<'_>,
) -> Result<Outcome<String, DispatchedId>, DbError> {
    batch::run(client, &LostMails(*lost)).await
}

struct LostEvents<'a>(LostIds<'a>);

impl Batch for LostEvents<'_> {
    type Key = String;
    type Done = DispatchedId;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<String>, DbError> {
        find(
            tx,
            "-- find lost stripe events
             select id from regimen.stripe_events
             where state = 'received' and dispatched_at is null and run_at <= now()
                 and id <> all ($2::text[])
                 and not exists (select from regimen.pauses
                                 where what = 'queue' and name = 'stripe')
             order by dispatched_at, run_at limit $1 for update skip locked",
            "-- find stripe events lost on their way
             select id from regimen.stripe_events
             where state = 'received' and run_at <= now() and id <> all ($4::text[])
                 and dispatched_at < least($1::timestamptz, now()) - make_interval(secs => $2)
                 and not exists (select from regimen.pauses
                                 where what = 'queue' and name = 'stripe')
             order by dispatched_at, run_at limit $3 for update skip locked",
            &self.0,
        )
        .await
    }

    async fn change(
        &self,
        tx: &Transaction<'_>,
        keys: &[String],
    ) -> Result<Vec<DispatchedId>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- dispatch lost stripe events
                 with named as materialized (
                     select id, state from regimen.stripe_events
                     where id = any((select $1::text[])::text[]) for update skip locked
                 )
                 update regimen.stripe_events e
                 set dispatched_at = now()
                 from named
                 where e.id = named.id and named.state = 'received'
                 returning e.id, e.dispatched_at, e.trace_context",
            )
            .await?;
        dispatched(&tx.query(&statement, &[&keys]).await?)
    }
}

struct LostMails<'a>(LostIds<'a>);

impl Batch for LostMails<'_> {
    type Key = String;
    type Done = DispatchedId;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<String>, DbError> {
        find(
            tx,
            "-- find lost mails
             select event_id as id from regimen.billing_notices
             where mail_state = 'waiting' and dispatched_at is null and run_at <= now()
                 and event_id <> all ($2::text[])
             order by dispatched_at, run_at limit $1 for update skip locked",
            "-- find mails lost on their way
             select event_id as id from regimen.billing_notices
             where mail_state = 'waiting' and run_at <= now() and event_id <> all ($4::text[])
                 and dispatched_at < least($1::timestamptz, now()) - make_interval(secs => $2)
             order by dispatched_at, run_at limit $3 for update skip locked",
            &self.0,
        )
        .await
    }

    async fn change(
        &self,
        tx: &Transaction<'_>,
        keys: &[String],
    ) -> Result<Vec<DispatchedId>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- dispatch lost mails
                 with named as materialized (
                     select event_id, mail_state from regimen.billing_notices
                     where event_id = any((select $1::text[])::text[]) for update skip locked
                 )
                 update regimen.billing_notices n
                 set dispatched_at = now()
                 from named
                 where n.event_id = named.event_id and named.mail_state = 'waiting'
                 returning n.event_id as id, n.dispatched_at, null::text as trace_context",
            )
            .await?;
        dispatched(&tx.query(&statement, &[&keys]).await?)
    }
}

/// First those never sent, then those sent long ago, with one index each.
async fn find(
    tx: &Transaction<'_>,
    never_sent: &str,
    sent_before: &str,
    lost: &LostIds<'_>,
) -> Result<Vec<String>, DbError> {
    let statement = tx.prepare_cached(never_sent).await?;
    let mut found = ids(&tx.query(&statement, &[&lost.limit, &lost.quarantine]).await?)?;
    let left = lost.limit - i64::try_from(found.len()).unwrap_or(lost.limit);
    let (statement, patience) =
        (tx.prepare_cached(sent_before).await?, lost.patience.as_secs_f64());
    let rows =
        tx.query(&statement, &[&lost.popped_before, &patience, &left, &lost.quarantine]).await?;
    found.extend(ids(&rows)?);
    Ok(found)
}

fn ids(rows: &[Row]) -> Result<Vec<String>, DbError> {
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

fn dispatched(rows: &[Row]) -> Result<Vec<DispatchedId>, DbError> {
    let id = |row: &Row| {
        Ok(DispatchedId {
            id: row.try_get("id")?,
            at: row.try_get("dispatched_at")?,
            trace_context: row.try_get("trace_context")?,
        })
    };
    rows.iter().map(id).collect()
}
