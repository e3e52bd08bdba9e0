//! SQL of stored events: storing, finding, replaying.
//!
//! Invariant: an event is stored once, however often it is delivered.

use std::time::Duration;

use crate::db::{Client, GenericClient};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::time;
use crate::billing::Mode;
use crate::billing::event::Event;
use crate::db::jobs::read::named as read_name;
use crate::db::planner::by_index;
use crate::db::{DbError, elapsed};
use crate::named::named;

/// The origin of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Stripe delivered it.
    Webhook,
    /// A backfill fetched it.
    Backfill,
}

named!(Source, "source of events", { Webhook => "webhook", Backfill => "backfill" });

/// The state of a stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventState {
    /// Waiting to be applied.
    Received,
    /// Applied.
    Applied,
    /// Of a type without effect here.
    Ignored,
    /// Applied as far as possible; its user is unknown.
    Unresolved,
    /// Failed permanently, with a reason; it can be replayed.
    Dead,
    /// Of the other mode (live or test) or another account: never applied.
    Mismatched,
}

named!(EventState, "state of an event", {
    Received => "received", Applied => "applied", Ignored => "ignored",
    Unresolved => "unresolved", Dead => "dead", Mismatched => "mismatched",
});

/// An event to store.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// The parsed event.
    pub event: &'a Event,
    /// The signed text.
    pub payload: &'a str,
    /// Its origin.
    pub source: Source,
    /// `None` to apply it; else why it must not be applied.
    pub mismatch: Option<&'static str>,
    /// The trace of the delivery, as header lines.
    pub trace_context: Option<&'a str>,
}

/// The result of storing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was inserted.
    New {
        /// When it was marked as dispatched, by the database's clock.
        at: DateTime<Utc>,
    },
    /// It existed; nothing changed.
    Duplicate,
}

/// Stores an event unless it is stored already.
///
/// # Errors
/// Postgres failed; nothing was written.
pub async fn store(client: &impl GenericClient, new: &NewEvent<'_>) -> Result<Stored, DbError> {
    let statement = client
        .prepare_cached(
            "-- store stripe event
             insert into regimen.stripe_events (id, type, made_at, livemode, account, customer_id,
                 object_id, payload, source, state, error_code, trace_context, dispatched_at,
                 settled_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9,
                 case when $10::text is null then 'received' else 'mismatched' end, $10, $11,
                 now(), case when $10 is not null then now() end)
             on conflict (id) do nothing
             returning dispatched_at",
        )
        .await?;
    let event = new.event;
    let made_at = Some(event.created).filter(|&at| at > 0).and_then(time);
    let inserted = client
        .query_opt(
            &statement,
            &[
                &event.id,
                &event.type_name,
                &made_at,
                &event.livemode,
                &event.account,
                &event.customer(),
                &event.object_id(),
                &new.payload,
                &new.source.as_str(),
                &new.mismatch,
                &new.trace_context,
            ],
        )
        .await?;
    Ok(match inserted {
        Some(row) => Stored::New { at: row.try_get("dispatched_at")? },
        None => Stored::Duplicate,
    })
}

/// Which of `ids` are stored.
///
/// # Errors
/// Postgres failed.
pub async fn known(client: &impl GenericClient, ids: &[String]) -> Result<Vec<String>, DbError> {
    let statement = client
        .prepare_cached(
            "-- known stripe events
             select id from regimen.stripe_events where id = any($1)",
        )
        .await?;
    let rows = client.query(&statement, &[&ids]).await?;
    Ok(rows.iter().map(|row| row.get("id")).collect())
}

/// The result of replaying an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It waits to be applied again; this was its state before.
    Again(EventState),
    /// A worker is applying it.
    Held,
    /// It belongs to the other mode or another account, and is never applied here.
    NotOurs,
    /// There is no event with this id.
    Missing,
}

/// Puts an event back to be applied again, from any state; one that waits for a retry is
/// retried now. Applying it again changes nothing that was applied before. One stored as
/// of the other mode is put back only when `mode` is now its own. The next run of a
/// reconciler dispatches it.
///
/// # Errors
/// Postgres failed, or a column has a state that this release does not know.
pub async fn replay(
    client: &impl GenericClient,
    id: &str,
    mode: Mode,
) -> Result<Replayed, DbError> {
    let statement = client
        .prepare_cached(
            "-- replay stripe event
             with event as (
                 select id, state, held,
                     state <> 'mismatched' or (account is null and coalesce(livemode = $2, true))
                         as ours
                 from regimen.stripe_events where id = $1 for update
             ), again as (
                 update regimen.stripe_events e
                 set state = 'received', settled_at = null, attempts = 0, run_at = now(),
                     held = false, lost = 0, dispatched_at = null, error_code = null,
                     error_detail = null
                 from event
                 where e.id = event.id and event.ours
                     and not (event.state = 'received' and event.held)
                 returning e.id
             )
             select state, ours, exists (select from again) as again from event",
        )
        .await?;
    let live = mode == Mode::Live;
    let Some(row) = client.query_opt(&statement, &[&id, &live]).await? else {
        return Ok(Replayed::Missing);
    };
    Ok(match (row.try_get("again")?, row.try_get("ours")?) {
        (true, _) => Replayed::Again(read_name(&row, "state")?),
        (false, true) => Replayed::Held,
        (false, false) => Replayed::NotOurs,
    })
}

/// An event as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// `evt_…`
    pub id: String,
    /// Its type.
    pub type_name: String,
    /// Its state.
    pub state: EventState,
    /// Its customer.
    pub customer: Option<String>,
    /// Claims since it arrived or was replayed.
    pub attempts: i32,
    /// The reason of its state: a code, and details.
    pub error: (Option<String>, Option<String>),
    /// When it was stored.
    pub received_at: DateTime<Utc>,
}

/// The newest events of a customer.
///
/// # Errors
/// Postgres failed, or a column has a state that this release does not know.
pub async fn of_customer(
    client: &impl GenericClient,
    customer: &str,
    limit: i64,
) -> Result<Vec<Summary>, DbError> {
    let statement = client
        .prepare_cached(
            "-- stripe events of customer
             select id, type, state, customer_id, attempts, error_code, error_detail, received_at
             from regimen.stripe_events where customer_id = $1
             order by received_at desc, id desc limit $2",
        )
        .await?;
    let rows = client.query(&statement, &[&customer, &limit]).await?;
    rows.iter().map(summary).collect()
}

/// Events that one statement of a search looks at.
pub const WINDOW: i64 = 10_000;

/// The events to search for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only in this state.
    pub state: Option<EventState>,
    /// Only those whose type is this or begins so.
    pub type_name: Option<String>,
    /// Only of this customer.
    pub customer: Option<String>,
    /// Only those received before this one.
    pub after: Option<String>,
    /// The highest number.
    pub limit: i64,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct FoundEvents {
    /// The events, newest first.
    pub events: Vec<Summary>,
    /// The event at which the search stopped before it had found enough; none at the end.
    pub stopped_at: Option<String>,
}

/// Up to `filter.limit` of the next [`WINDOW`] events that are as the filter says, newest
/// first. They are read along one index: of a customer, of a state that needs an
/// operator, or all by time. After an unknown `after` there are none.
///
/// # Errors
/// Postgres failed, or a column has a state that this release does not know.
pub async fn search(
    client: &impl GenericClient,
    filter: &EventFilter,
) -> Result<FoundEvents, DbError> {
    const PLACE: &str = "received_at <= case when $4::text is null then 'infinity'
        else (select received_at from regimen.stripe_events where id = $4) end";
    // Texts of our own: a state is a constant, so that partial indexes are used.
    let (among, order) = match (&filter.customer, filter.state) {
        (Some(_), _) => ("customer_id = $2".to_owned(), ""),
        (None, Some(EventState::Dead | EventState::Unresolved | EventState::Mismatched)) => {
            let state = filter.state.map_or("", EventState::as_str);
            let among = format!(
                "state in ('dead', 'unresolved', 'mismatched')
                 and state between '{state}' and '{state}' and $2::text is null and {PLACE}"
            );
            (among, "order by state, received_at desc, id desc")
        }
        (None, _) => {
            (format!("$2::text is null and {PLACE}"), "order by received_at desc, id desc")
        }
    };
    let statement = client
        .prepare_cached(&format!(
            "-- search stripe events
             with looked as materialized (
                 select id, type, state, customer_id, attempts, error_code, error_detail,
                     received_at
                 from regimen.stripe_events where {among} {order} limit $5
             ), found as materialized (
                 select * from looked
                 where ($1::text is null or state = $1)
                   and ($3::text is null or starts_with(type, $3))
                   and ($4::text is null or (received_at, id) <
                       (select received_at, id from regimen.stripe_events where id = $4))
                 order by received_at desc, id desc limit $6
             )
             select found.*, (select count(*) from looked) as looked,
                 (select id from looked order by received_at, id limit 1) as last
             from (select) one left join found on true
             order by found.received_at desc, found.id desc"
        ))
        .await?;
    let EventFilter { state, type_name, customer, after, limit } = filter;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&state.map(EventState::as_str), customer, type_name, after, &WINDOW, limit];
    let rows = client.query(&statement, &values).await?;
    let mut found = FoundEvents::default();
    for row in &rows {
        let looked: i64 = row.try_get("looked")?;
        if looked >= WINDOW {
            found.stopped_at = row.try_get("last")?;
        }
        if row.try_get::<_, Option<&str>>("id")?.is_some() {
            found.events.push(summary(row)?);
        }
    }
    if i64::try_from(found.events.len()).is_ok_and(|count| count >= *limit) {
        found.stopped_at = None;
    }
    Ok(found)
}

/// The newest events in a state, over as many windows as it takes.
///
/// # Errors
/// Postgres failed, or a column has a state that this release does not know.
pub async fn newest(
    client: &impl GenericClient,
    state: EventState,
    limit: i64,
) -> Result<Vec<Summary>, DbError> {
    let mut filter = EventFilter { state: Some(state), limit, ..EventFilter::default() };
    let mut all = Vec::new();
    loop {
        let FoundEvents { events, stopped_at } = search(client, &filter).await?;
        filter.limit -= i64::try_from(events.len()).unwrap_or(i64::MAX);
        all.extend(events);
        match stopped_at {
            Some(place) if filter.limit > 0 => filter.after = Some(place),
            _ => return Ok(all),
        }
    }
}

/// A customer of events whose user is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnresolvedCustomer {
    /// `cus_…`
    pub customer: String,
    /// Its unresolved events.
    pub events: i64,
    /// When the first of them arrived.
    pub since: DateTime<Utc>,
}

/// The customers of the newest 1,000 unresolved events; `limit` at most.
///
/// # Errors
/// Postgres failed.
pub async fn unresolved_customers(
    client: &mut Client,
    limit: i64,
) -> Result<Vec<UnresolvedCustomer>, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- unresolved customers
             with newest as materialized (
                 select customer_id, received_at from regimen.stripe_events
                 where state in ('dead', 'unresolved', 'mismatched')
                     and state between 'unresolved' and 'unresolved'
                 order by state, received_at desc limit 1000
             )
             select customer_id, count(*) as events, min(received_at) as since
             from newest where customer_id is not null
             group by customer_id order by since desc, customer_id limit $1",
        )
        .await?;
    let rows = tx.query(&statement, &[&limit]).await?;
    tx.rollback().await?;
    rows.iter()
        .map(|row| {
            Ok(UnresolvedCustomer {
                customer: row.try_get("customer_id")?,
                events: row.try_get("events")?,
                since: row.try_get("since")?,
            })
        })
        .collect()
}

/// An event's own facts beside its summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The object that it is about.
    pub object: Option<String>,
    /// Whether it is of live mode.
    pub live: Option<bool>,
    /// How it came.
    pub source: Source,
    /// When Stripe made it.
    pub made_at: Option<DateTime<Utc>>,
    /// When it reached its state.
    pub settled_at: Option<DateTime<Utc>>,
}

/// The facts of an event; `None` if there is none with that id.
///
/// # Errors
/// Postgres failed, or a column has a value that this release does not know.
pub async fn facts(client: &impl GenericClient, id: &str) -> Result<Option<Facts>, DbError> {
    let statement = client
        .prepare_cached(
            "-- facts of stripe event
             select object_id, livemode, source, made_at, settled_at
             from regimen.stripe_events where id = $1",
        )
        .await?;
    let row = client.query_opt(&statement, &[&id]).await?;
    row.map(|row| {
        Ok(Facts {
            object: row.try_get("object_id")?,
            live: row.try_get("livemode")?,
            source: read_name(&row, "source")?,
            made_at: row.try_get("made_at")?,
            settled_at: row.try_get("settled_at")?,
        })
    })
    .transpose()
}

/// The signed text of an event; `None` if there is none with that id.
///
/// # Errors
/// Postgres failed.
pub async fn payload(client: &impl GenericClient, id: &str) -> Result<Option<String>, DbError> {
    let statement = client
        .prepare_cached(
            "-- payload of stripe event
             select payload from regimen.stripe_events where id = $1",
        )
        .await?;
    let row = client.query_opt(&statement, &[&id]).await?;
    row.map(|row| Ok(row.try_get("payload")?)).transpose()
}

/// One event; `None` if there is none with that id.
///
/// # Errors
/// Postgres failed, or a column has a state that this release does not know.
pub async fn find(client: &impl GenericClient, id: &str) -> Result<Option<Summary>, DbError> {
    let statement = client
        .prepare_cached(
            "-- find stripe event
             select id, type, state, customer_id, attempts, error_code, error_detail, received_at
             from regimen.stripe_events where id = $1",
        )
        .await?;
    client.query_opt(&statement, &[&id]).await?.as_ref().map(summary).transpose()
}

/// The number of waiting events (counting stops at 10,000), and since when the oldest one
/// is due.
///
/// # Errors
/// Postgres failed.
pub async fn lag(client: &mut Client) -> Result<(i64, Duration), DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- stripe event lag
             with due as materialized (
                 select run_at from regimen.stripe_events
                 where state = 'received' and run_at <= now() and run_at > '-infinity'
                 order by run_at limit 10000
             )
             select count(*) as waiting,
                 coalesce(extract(epoch from now() - min(run_at)), 0)::float8 as seconds
             from due",
        )
        .await?;
    let row = tx.query_one(&statement, &[]).await?;
    tx.rollback().await?;
    Ok((row.try_get("waiting")?, elapsed(row.try_get("seconds")?)))
}

/// The number of events in the states that need an operator, zeros included; counting
/// stops at 1,000 of each.
///
/// # Errors
/// Postgres failed.
pub async fn attention(client: &mut Client) -> Result<[(EventState, i64); 3], DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- stripe events needing attention
             select (select count(*) from (
                         select from regimen.stripe_events
                         where state in ('dead', 'unresolved', 'mismatched')
                             and state between 'dead' and 'dead'
                         order by state, received_at desc limit 1000) d) as dead,
                 (select count(*) from (
                         select from regimen.stripe_events
                         where state in ('dead', 'unresolved', 'mismatched')
                             and state between 'unresolved' and 'unresolved'
                         order by state, received_at desc limit 1000) u) as unresolved,
                 (select count(*) from (
                         select from regimen.stripe_events
                         where state in ('dead', 'unresolved', 'mismatched')
                             and state between 'mismatched' and 'mismatched'
                         order by state, received_at desc limit 1000) m) as mismatched",
        )
        .await?;
    let row = tx.query_one(&statement, &[]).await?;
    tx.rollback().await?;
    let states = [EventState::Dead, EventState::Unresolved, EventState::Mismatched];
    let mut counts = states.map(|state| (state, 0));
    for (state, count) in &mut counts {
        *count = row.try_get(state.as_str())?;
    }
    Ok(counts)
}

fn summary(row: &Row) -> Result<Summary, DbError> {
    Ok(Summary {
        id: row.try_get("id")?,
        type_name: row.try_get("type")?,
        state: read_name(row, "state")?,
        customer: row.try_get("customer_id")?,
        attempts: row.try_get("attempts")?,
        error: (row.try_get("error_code")?, row.try_get("error_detail")?),
        received_at: row.try_get("received_at")?,
    })
}
