//! SQL of the backfill of undelivered events: which worker runs it, and the
//! result of the last run.
//!
//! Invariant: one holder at a time. A holder that vanishes is replaced when its
//! claim expires; the events it stored stay stored.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::db::GenericClient;
use chrono::{DateTime, Utc};

use super::claims::Failure;
use crate::db::DbError;

/// Why a run may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The last complete run began this long ago, and no recent run failed.
    Due(Duration),
    /// A run was requested.
    Asked,
}

/// Gives `holder` the claim for `hold`; false if no run is due, or another process has
/// the claim.
///
/// # Errors
/// Postgres failed.
pub async fn begin(
    client: &impl GenericClient,
    holder: &str,
    occasion: Occasion,
    hold: Duration,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- begin stripe backfill
             update regimen.stripe_backfill
             set holder = $1, held_until = now() + make_interval(secs => $2), started_at = now()
             where (held_until is null or held_until <= now())
                 and ($3::float8 is null or (
                     coalesce(complete_at <= now() - make_interval(secs => $3), true)
                     and coalesce(retry_at <= now(), true)))",
        )
        .await?;
    let every = match occasion {
        Occasion::Due(every) => Some(every.as_secs_f64()),
        Occasion::Asked => None,
    };
    Ok(client.execute(&statement, &[&holder, &hold.as_secs_f64(), &every]).await? == 1)
}

/// Extends the claim by another `hold`; false if another process has taken over.
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
            "-- hold on to stripe backfill
             update regimen.stripe_backfill set held_until = now() + make_interval(secs => $2)
             where holder = $1",
        )
        .await?;
    Ok(client.execute(&statement, &[&holder, &hold.as_secs_f64()]).await? == 1)
}

/// The counts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that Stripe listed.
    pub looked_at: u64,
    /// Missing events that were stored.
    pub recovered: u64,
    /// Of these, events of the other mode or another account: stored, never applied.
    pub mismatched: u64,
    /// Events that are still missing because Postgres refuses them, by id, and why.
    pub refused: BTreeMap<String, String>,
}

/// Ends a complete run; false if the claim was lost.
///
/// # Errors
/// Postgres failed.
pub async fn complete(
    client: &impl GenericClient,
    holder: &str,
    tally: &Tally,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- complete stripe backfill
             update regimen.stripe_backfill
             set holder = null, held_until = null, complete_at = started_at, failures = 0,
                 retry_at = null, error_code = null, error_detail = null,
                 looked_at = $2, recovered = $3
             where holder = $1",
        )
        .await?;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&holder, &count(tally.looked_at), &count(tally.recovered)];
    Ok(client.execute(&statement, &parameters).await? == 1)
}

/// Ends a failed run. The next one is due after a minute, and after each further failure
/// twice as long, at most an hour. False if the claim was lost.
///
/// # Errors
/// Postgres failed.
pub async fn fail(
    client: &impl GenericClient,
    holder: &str,
    failure: &Failure<'_>,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- fail stripe backfill
             update regimen.stripe_backfill
             set holder = null, held_until = null, failures = failures + 1,
                 retry_at = now() + least(interval '1 minute' * power(2, least(failures, 10)),
                     interval '1 hour'),
                 error_code = $2, error_detail = $3
             where holder = $1",
        )
        .await?;
    Ok(client.execute(&statement, &[&holder, &failure.code, &failure.detail]).await? == 1)
}

/// Releases the claim of an interrupted run, so that another may begin at once.
///
/// # Errors
/// Postgres failed.
pub async fn cancellation(client: &impl GenericClient, holder: &str) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- let go of stripe backfill
             update regimen.stripe_backfill set holder = null, held_until = null
             where holder = $1",
        )
        .await?;
    client.execute(&statement, &[&holder]).await?;
    Ok(())
}

/// The progress of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The current list.
    pub list: String,
    /// Its last imported object.
    pub after: String,
}

/// Where an import was interrupted; none before the first and after a complete one.
///
/// # Errors
/// Postgres failed.
pub async fn place(client: &impl GenericClient) -> Result<Option<Place>, DbError> {
    let statement = client
        .prepare_cached(
            "-- place of stripe import
             select import_list, import_after from regimen.stripe_backfill",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    let (list, after) = (row.try_get("import_list")?, row.try_get("import_after")?);
    Ok(Option::zip(list, after).map(|(list, after)| Place { list, after }))
}

/// Records the progress of `holder`.
///
/// # Errors
/// Postgres failed.
pub async fn set_place(
    client: &impl GenericClient,
    holder: &str,
    place: Option<&Place>,
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- note place of stripe import
             update regimen.stripe_backfill set import_list = $2, import_after = $3
             where holder = $1",
        )
        .await?;
    let (list, after) = (place.map(|place| &place.list), place.map(|place| &place.after));
    client.execute(&statement, &[&holder, &list, &after]).await?;
    Ok(())
}

/// The state of the backfill.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The holder of the claim, if any.
    pub holder: Option<String>,
    /// When the last complete run began.
    pub complete_at: Option<DateTime<Utc>>,
    /// Its age.
    pub age: Option<Duration>,
    /// Failed runs since.
    pub failures: i32,
    /// Why the last of them failed: a code, and details.
    pub error: (Option<String>, Option<String>),
}

/// The state of the backfill.
///
/// # Errors
/// Postgres failed.
pub async fn standing(client: &impl GenericClient) -> Result<Standing, DbError> {
    let statement = client
        .prepare_cached(
            "-- standing of stripe backfill
             select case when held_until > now() then holder end as holder, complete_at,
                 extract(epoch from now() - complete_at)::float8 as age,
                 failures, error_code, error_detail
             from regimen.stripe_backfill",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    let age: Option<f64> = row.get("age");
    Ok(Standing {
        holder: row.get("holder"),
        complete_at: row.get("complete_at"),
        age: age.map(|age| Duration::from_secs_f64(age.max(0.0))),
        failures: row.get("failures"),
        error: (row.get("error_code"), row.get("error_detail")),
    })
}
