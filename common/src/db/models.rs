//! The models that the workers of the fleet are configured with, and which of
//! those are retired or retire soon.
//!
//! Each worker writes its own rows and renews them; rows that are not renewed
//! belong to a worker that is gone, and no longer count.

use std::time::Duration;

use crate::db::GenericClient;
use chrono::NaiveDate;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::DbError;

/// A worker that has not renewed its rows for this long is gone.
pub const FRESH: Duration = Duration::from_secs(180);

/// What a model's tokens cost, US dollars for a million.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPrice {
    /// Prompt tokens.
    pub input: f64,
    /// Prompt tokens read from a cache.
    pub cached: f64,
    /// Generated tokens.
    pub output: f64,
    /// Where the worker has it from.
    pub source: String,
}

/// A worker's configured model of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInUse {
    /// Its provider.
    pub provider: &'static str,
    /// The configured id.
    pub model: String,
    /// Its announced retirement.
    pub end: Option<EndOfLife>,
    /// It is blocked in this worker, because its calls fail: its breaker is open.
    pub left_alone: bool,
    /// It is blocked in this worker by a cool-down, because it asked for one.
    pub cooling: bool,
    /// Its price.
    pub price: ModelPrice,
}

/// A provider for which a worker of the fleet has a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderInUse {
    /// Its name.
    pub provider: String,
    /// It is blocked in all of them, because its calls fail.
    pub left_alone: bool,
    /// An operator has paused it.
    pub paused: bool,
    /// How many workers have a key for it.
    pub workers: i64,
    /// In how many of them its breaker is open.
    pub open: i64,
    /// In how many of the others it cools down.
    pub cooling: i64,
}

impl ProviderInUse {
    /// How it stands, in a word.
    pub fn state(&self) -> &'static str {
        match (self.paused, self.left_alone) {
            (true, _) => "paused",
            (false, true) => "failing",
            (false, false) if self.open + self.cooling >= self.workers.max(1) => "cooling",
            (false, false) => "working",
        }
    }
}

/// The providers for which some worker has a key. None when no worker is alive.
///
/// # Errors
/// Postgres refused.
pub async fn providers(client: &impl GenericClient) -> Result<Vec<ProviderInUse>, DbError> {
    let statement = client
        .prepare_cached(
            "-- providers in use
             select used.provider, bool_and(used.left_alone) as left_alone,
                    count(*) as workers, count(*) filter (where used.left_alone) as open,
                    count(*) filter (where used.blocked_by = 'cool-down') as cooling,
                    exists (select from regimen.pauses
                            where what = 'provider' and name = used.provider) as paused
             from regimen.models_in_use used
             where used.seen_at > now() - make_interval(secs => $1)
             group by used.provider order by used.provider",
        )
        .await?;
    let rows = client.query(&statement, &[&FRESH.as_secs_f64()]).await?;
    rows.iter()
        .map(|row| {
            Ok(ProviderInUse {
                provider: row.try_get("provider")?,
                left_alone: row.try_get("left_alone")?,
                paused: row.try_get("paused")?,
                workers: row.try_get("workers")?,
                open: row.try_get("open")?,
                cooling: row.try_get("cooling")?,
            })
        })
        .collect()
}

/// A model with which workers of the fleet are configured.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredModel {
    /// Its provider.
    pub provider: String,
    /// The configured id.
    pub model: String,
    /// How many workers name it.
    pub workers: i64,
    /// Its announced retirement.
    pub retires_on: Option<NaiveDate>,
    /// Its price, the highest where workers differ; none of workers of an earlier release.
    pub price: Option<ModelPrice>,
}

/// The models with which some worker is configured.
///
/// # Errors
/// Postgres refused.
pub async fn in_use(client: &impl GenericClient) -> Result<Vec<ConfiguredModel>, DbError> {
    let statement = client
        .prepare_cached(
            "-- models in use
             select provider, model, count(*) as workers, max(retires_on) as retires_on,
                 max(input_price) as input, max(cached_price) as cached,
                 max(output_price) as output, max(price_source) as source
             from regimen.models_in_use
             where seen_at > now() - make_interval(secs => $1)
             group by provider, model order by provider, model",
        )
        .await?;
    let rows = client.query(&statement, &[&FRESH.as_secs_f64()]).await?;
    rows.iter()
        .map(|row| {
            Ok(ConfiguredModel {
                provider: row.try_get("provider")?,
                model: row.try_get("model")?,
                workers: row.try_get("workers")?,
                retires_on: row.try_get("retires_on")?,
                price: price(row)?,
            })
        })
        .collect()
}

fn price(row: &Row) -> Result<Option<ModelPrice>, DbError> {
    let (input, cached): (Option<f64>, Option<f64>) =
        (row.try_get("input")?, row.try_get("cached")?);
    let (output, source): (Option<f64>, Option<String>) =
        (row.try_get("output")?, row.try_get("source")?);
    Ok(input
        .zip(cached)
        .zip(output.zip(source))
        .map(|((input, cached), (output, source))| ModelPrice { input, cached, output, source }))
}

/// The retirement of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndOfLife {
    /// The day on which it retires.
    pub retires_on: NaiveDate,
    /// The day from which it causes a warning.
    pub warn_from: NaiveDate,
    /// The model to call instead from then on.
    pub successor: Option<String>,
}

/// A model in use that is retired or retires soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiringModel {
    /// Its provider.
    pub provider: String,
    /// Its id.
    pub model: String,
    /// The day on which it retires or retired.
    pub retires_on: NaiveDate,
    /// Whether that day has come.
    pub retired: bool,
    /// The model to call instead from then on.
    pub successor: Option<String>,
}

/// Writes a worker's models, and deletes rows of workers that are gone.
///
/// # Errors
/// Postgres refused.
pub async fn publish(
    client: &impl GenericClient,
    worker_id: &str,
    models: &[ModelInUse],
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- publish models in use
             with gone as (
                 delete from regimen.models_in_use where seen_at < now() - interval '1 day'
             )
             insert into regimen.models_in_use (worker_id, provider, model, retires_on, warn_from,
                                                successor, left_alone, blocked_by, input_price,
                                                cached_price, output_price, price_source, seen_at)
             select $1, used.*, now()
             from unnest($2::text[], $3::text[], $4::date[], $5::date[], $6::text[], $7::bool[],
                         $8::text[], $9::float8[], $10::float8[], $11::float8[], $12::text[]) used
             on conflict (worker_id, provider) do update set
                 model = excluded.model, retires_on = excluded.retires_on,
                 warn_from = excluded.warn_from, successor = excluded.successor,
                 left_alone = excluded.left_alone, blocked_by = excluded.blocked_by,
                 input_price = excluded.input_price, cached_price = excluded.cached_price,
                 output_price = excluded.output_price, price_source = excluded.price_source,
                 seen_at = excluded.seen_at",
        )
        .await?;
    let providers: Vec<&str> = models.iter().map(|one| one.provider).collect();
    let names: Vec<&str> = models.iter().map(|one| one.model.as_str()).collect();
    let ends = || models.iter().map(|one| one.end.as_ref());
    let retires: Vec<Option<NaiveDate>> = ends().map(|end| Some(end?.retires_on)).collect();
    let warned: Vec<Option<NaiveDate>> = ends().map(|end| Some(end?.warn_from)).collect();
    let successors: Vec<Option<&str>> = ends().map(|end| end?.successor.as_deref()).collect();
    let left_alone: Vec<bool> = models.iter().map(|one| one.left_alone).collect();
    let blocked = models.iter().map(|one| match (one.left_alone, one.cooling) {
        (true, _) => Some("breaker"),
        (false, true) => Some("cool-down"),
        (false, false) => None,
    });
    let blocked: Vec<Option<&str>> = blocked.collect();
    let prices = |of: fn(&ModelPrice) -> f64| -> Vec<f64> {
        models.iter().map(|one| of(&one.price)).collect()
    };
    let (input, cached, output) =
        (prices(|price| price.input), prices(|price| price.cached), prices(|price| price.output));
    let sources: Vec<&str> = models.iter().map(|one| one.price.source.as_str()).collect();
    let values: [&(dyn ToSql + Sync); 12] = [
        &worker_id,
        &providers,
        &names,
        &retires,
        &warned,
        &successors,
        &left_alone,
        &blocked,
        &input,
        &cached,
        &output,
        &sources,
    ];
    client.execute(&statement, &values).await?;
    Ok(())
}

/// Deletes a worker's rows, because it ends.
///
/// # Errors
/// Postgres refused; the rows expire by themselves.
pub async fn withdraw(client: &impl GenericClient, worker_id: &str) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- withdraw models in use
             delete from regimen.models_in_use where worker_id = $1",
        )
        .await?;
    client.execute(&statement, &[&worker_id]).await?;
    Ok(())
}

/// Models in use by some worker that are retired or retire soon, the earliest first.
///
/// # Errors
/// Postgres refused.
pub async fn retiring(client: &impl GenericClient) -> Result<Vec<RetiringModel>, DbError> {
    let statement = client
        .prepare_cached(
            "-- retiring models
             with today as (select (now() at time zone 'utc')::date as day)
             select distinct provider, model, retires_on, retires_on <= today.day as retired,
                    successor
             from regimen.models_in_use, today
             where seen_at > now() - make_interval(secs => $1) and warn_from <= today.day
             order by retires_on, provider, model",
        )
        .await?;
    let rows = client.query(&statement, &[&FRESH.as_secs_f64()]).await?;
    rows.iter()
        .map(|row| {
            Ok(RetiringModel {
                provider: row.try_get("provider")?,
                model: row.try_get("model")?,
                retires_on: row.try_get("retires_on")?,
                retired: row.try_get("retired")?,
                successor: row.try_get("successor")?,
            })
        })
        .collect()
}
