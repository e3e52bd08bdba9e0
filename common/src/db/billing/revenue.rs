//! SQL of the revenue of each day, for the console's charts: one row per day, counted
//! again each hour of it by the worker that counts minutes.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::Value;
use tokio_postgres::types::Json;

use crate::billing::metrics::Metrics;
use crate::db::{DbError, GenericClient};

/// How long days are kept.
pub const KEPT_DAYS: i32 = 800;
/// Days removed at a time.
const REMOVED: i64 = 100;

/// Takes the turn of this hour: the day to count, or none when it was begun within the
/// last hour. Counting that fails is tried again in the next one, so that it never adds to
/// what made it fail.
///
/// # Errors
/// Postgres failed.
pub async fn begin(client: &impl GenericClient) -> Result<Option<NaiveDate>, DbError> {
    let statement = client
        .prepare_cached(
            "-- begin revenue of day
             insert into regimen.revenue_days as d (day)
             values ((now() at time zone 'utc')::date)
             on conflict (day) do update set at = now() where d.at < now() - interval '1 hour'
             returning day",
        )
        .await?;
    let row = client.query_opt(&statement, &[]).await?;
    row.map(|row| Ok(row.try_get("day")?)).transpose()
}

/// Keeps the numbers of a day, and removes some days that are kept no longer.
///
/// # Errors
/// Nothing was changed.
pub async fn keep(
    client: &impl GenericClient,
    day: NaiveDate,
    metrics: &Metrics,
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- keep revenue of day
             with over as (
                 delete from regimen.revenue_days where day = any(array(
                     select day from regimen.revenue_days
                     where day < $1::date - $5::int order by day limit $6))
             )
             update regimen.revenue_days set mrr = $2, churn = $3, conversion = $4
             where day = $1::date",
        )
        .await?;
    let mrr = metrics.currencies.iter().map(|one| (one.currency.clone(), one.mrr.into()));
    let mrr = Value::Object(mrr.collect());
    let (churn, conversion) = (metrics.churn_rate, metrics.conversion_rate);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&day, &Json(&mrr), &churn, &conversion, &KEPT_DAYS, &REMOVED];
    client.execute(&statement, &values).await?;
    Ok(())
}

/// The numbers of a day.
#[derive(Debug, Clone, PartialEq)]
pub struct RevenueDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Monthly recurring revenue by currency, in its smallest unit.
    pub mrr: BTreeMap<String, i64>,
    /// The share of subscriptions that ended within 30 days, 0 to 1.
    pub churn: Option<f64>,
    /// The share of users who pay, 0 to 1.
    pub conversion: Option<f64>,
}

/// The days since `from` that were counted, in order.
///
/// # Errors
/// Postgres failed.
pub async fn days(
    client: &impl GenericClient,
    from: NaiveDate,
) -> Result<Vec<RevenueDay>, DbError> {
    let statement = client
        .prepare_cached(
            "-- revenue of days
             select day, mrr, churn, conversion from regimen.revenue_days
             where day >= $1 and mrr is not null order by day limit 1000",
        )
        .await?;
    let rows = client.query(&statement, &[&from]).await?;
    rows.iter()
        .map(|row| {
            let Json(mrr): Json<Value> = row.try_get("mrr")?;
            let sums = mrr.as_object().into_iter().flatten();
            let sums = sums.filter_map(|(name, sum)| Some((name.clone(), sum.as_i64()?)));
            Ok(RevenueDay {
                day: row.try_get("day")?,
                mrr: sums.collect(),
                churn: row.try_get("churn")?,
                conversion: row.try_get("conversion")?,
            })
        })
        .collect()
}
