//! SQL of claiming events: claimed, settled, retried, dead.
//!
//! Invariant: an event leaves the state `received` in the same transaction as
//! its effect. A claim is a count (`attempts`) and a time (`run_at`) before
//! which no other worker takes the event; a holder that vanishes needs no
//! clean-up.

use std::time::Duration;

use crate::db::{Client, GenericClient, Transaction};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::events::EventState;
use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome};

/// An event that this worker applies.
#[derive(Debug, Clone)]
pub struct ClaimedEvent {
    /// Its id.
    pub id: String,
    /// The signed text.
    pub payload: String,
    /// Claims so far, this one included; it identifies the claim.
    pub attempts: i32,
    /// When it was stored.
    pub received_at: DateTime<Utc>,
    /// The database's clock at the claim.
    pub claimed_at: DateTime<Utc>,
    /// The trace of the delivery, as header lines.
    pub trace_context: Option<String>,
}

impl From<&Row> for ClaimedEvent {
    fn from(row: &Row) -> Self {
        Self {
            id: row.get("id"),
            payload: row.get("payload"),
            attempts: row.get("attempts"),
            received_at: row.get("received_at"),
            claimed_at: row.get("claimed_at"),
            trace_context: row.get("trace_context"),
        }
    }
}

/// Claims those of `ids` that are due, for `hold`.
///
/// # Errors
/// Postgres failed.
pub async fn claim(
    client: &impl GenericClient,
    ids: &[String],
    hold: Duration,
) -> Result<Vec<ClaimedEvent>, DbError> {
    let statement = client
        .prepare_cached(
            "-- claim stripe events
             with named as materialized (
                 -- By id alone, in its order: no statistics lead elsewhere.
                 select id, state, run_at from regimen.stripe_events
                 where id = any((select $1::text[])::text[]) for update skip locked
             )
             update regimen.stripe_events e
             set attempts = e.attempts + 1, run_at = now() + make_interval(secs => $2),
                 lost = e.lost + e.held::int, held = true
             from named
             where e.id = named.id and named.state = 'received' and named.run_at <= now()
                 and not exists (select from regimen.pauses
                                 where what = 'queue' and name = 'stripe')
             returning e.id, e.payload, e.attempts, e.received_at, now() as claimed_at,
                 e.trace_context",
        )
        .await?;
    let rows = client.query(&statement, &[&ids, &hold.as_secs_f64()]).await?;
    Ok(rows.iter().map(ClaimedEvent::from).collect())
}

/// The same; if one of `ids` cannot be claimed because of its row, the others are.
///
/// # Errors
/// Postgres failed.
pub async fn claim_each(
    client: &mut Client,
    ids: &[String],
    hold: Duration,
) -> Result<Outcome<String, ClaimedEvent>, DbError> {
    let claimed = claim(client, ids, hold).await;
    let due = DueEvents { limit: 0, hold, quarantine: &[] };
    batch::or_in_halves(client, &due, ids, claimed).await
}

/// Due events to claim.
#[derive(Debug, Clone, Copy)]
pub struct DueEvents<'a> {
    /// The highest number, oldest first.
    pub limit: i64,
    /// The duration of the claim.
    pub hold: Duration,
    /// Events to leave out.
    pub quarantine: &'a [String],
}

/// Claims due events without their ids, while Redis is away.
///
/// # Errors
/// Postgres failed.
pub async fn claim_due(
    client: &mut Client,
    due: &DueEvents<'_>,
) -> Result<Outcome<String, ClaimedEvent>, DbError> {
    batch::run(client, due).await
}

impl Batch for DueEvents<'_> {
    type Key = String;
    type Done = ClaimedEvent;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<String>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find due stripe events
                 select id from regimen.stripe_events
                 where state = 'received' and run_at <= now() and id <> all ($2::text[])
                     and not exists (select from regimen.pauses
                                     where what = 'queue' and name = 'stripe')
                 order by run_at limit $1 for update skip locked",
            )
            .await?;
        let rows = tx.query(&statement, &[&self.limit, &self.quarantine]).await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    async fn change(
        &self,
        tx: &Transaction<'_>,
        ids: &[String],
    ) -> Result<Vec<ClaimedEvent>, DbError> {
        claim(tx, ids, self.hold).await
    }
}

// `is not distinct from`, here and below, keeps the indexes of what waits out: an event is
// looked up by its id, also by a plan that was made while nothing waited.

/// Locks the event for the rest of the transaction; false if another worker has settled
/// it.
///
/// # Errors
/// Postgres failed.
pub async fn lock(tx: &impl GenericClient, id: &str) -> Result<bool, DbError> {
    let statement = tx
        .prepare_cached(
            "-- lock stripe event
             select 1 from regimen.stripe_events where id = $1 and state is not distinct from 'received' for update",
        )
        .await?;
    Ok(tx.query_opt(&statement, &[&id]).await?.is_some())
}

/// The end of an event.
#[derive(Debug, Clone)]
pub struct Ending<'a> {
    /// Its final state.
    pub state: EventState,
    /// The reason, for operators.
    pub reason: Option<&'a str>,
    /// Its customer, if known.
    pub customer: Option<&'a str>,
}

/// Ends an event that [`lock`] locked. An unresolved one is retried after as long as it
/// has waited: an hour at first, at most a day.
///
/// # Errors
/// Postgres failed, or the event is not waiting.
pub async fn settle(tx: &impl GenericClient, id: &str, ending: &Ending<'_>) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- settle stripe event
             update regimen.stripe_events
             set state = $2, error_code = $3, error_detail = null, settled_at = now(),
                 customer_id = coalesce($4, customer_id),
                 run_at = now() + least(greatest(now() - received_at, interval '1 hour'),
                     interval '1 day')
             where id = $1 and state is not distinct from 'received'",
        )
        .await?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&id, &ending.state.as_str(), &ending.reason, &ending.customer];
    match tx.execute(&statement, &parameters).await? {
        1 => Ok(()),
        found => Err(DbError::Rows { statement: "settle stripe event", expected: 1, found }),
    }
}

/// The failure of a claim.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// Its code.
    pub code: &'a str,
    /// Details for operators.
    pub detail: &'a str,
}

/// Releases a claim, to be retried `after` this time. Does nothing when the claim is
/// stale.
///
/// # Errors
/// Postgres failed.
pub async fn retry_later(
    client: &impl GenericClient,
    claimed: &ClaimedEvent,
    after: Duration,
    failure: &Failure<'_>,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- retry stripe event later
             update regimen.stripe_events
             set run_at = now() + make_interval(secs => $3), dispatched_at = null, held = false,
                 error_code = $4, error_detail = $5
             where id = $1 and attempts = $2 and state is not distinct from 'received'",
        )
        .await?;
    let after = after.as_secs_f64();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&claimed.id, &claimed.attempts, &after, &failure.code, &failure.detail];
    Ok(client.execute(&statement, &parameters).await? == 1)
}

/// Ends an event as dead. Does nothing when the claim is stale.
///
/// # Errors
/// Postgres failed.
pub async fn bury(
    client: &impl GenericClient,
    claimed: &ClaimedEvent,
    failure: &Failure<'_>,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- bury stripe event
             update regimen.stripe_events
             set state = 'dead', settled_at = now(), error_code = $3, error_detail = $4
             where id = $1 and attempts = $2 and state is not distinct from 'received'",
        )
        .await?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&claimed.id, &claimed.attempts, &failure.code, &failure.detail];
    Ok(client.execute(&statement, &parameters).await? == 1)
}

/// Retries the unresolved events of a customer whose user has become known.
///
/// # Errors
/// Postgres failed.
pub async fn wake_unresolved(tx: &impl GenericClient, customer: &str) -> Result<u64, DbError> {
    let statement = tx
        .prepare_cached(
            "-- wake unresolved stripe events
             update regimen.stripe_events
             set state = 'received', settled_at = null, attempts = 0, run_at = now(),
                 held = false, lost = 0, dispatched_at = null
             where customer_id = $1 and state = 'unresolved'",
        )
        .await?;
    tx.execute(&statement, &[&customer]).await
}
