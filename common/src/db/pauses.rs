//! SQL of paused queues, providers and models. A paused queue accepts jobs, and none of
//! them is claimed, because every claim checks this table. A paused provider or
//! model is not called. Resuming a provider also ends its cool-downs and closes its
//! breakers.

use crate::db::GenericClient;
use chrono::{DateTime, Utc};

use super::DbError;
use super::jobs::read::named as read_name;
use crate::named::named;

/// The kinds of things that can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pausable {
    /// One of the dispatch lists.
    Queue,
    /// An AI provider.
    Provider,
    /// A model, whoever serves it.
    Model,
}

named!(Pausable, "thing to pause", {
    Queue => "queue",
    Provider => "provider",
    Model => "model",
});

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The kind.
    pub what: Pausable,
    /// The name.
    pub name: String,
    /// Who paused it.
    pub paused_by: String,
    /// Since when.
    pub paused_at: DateTime<Utc>,
}

/// All pauses.
///
/// # Errors
/// Postgres failed.
pub async fn all(client: &impl GenericClient) -> Result<Vec<Pause>, DbError> {
    let statement = client
        .prepare_cached(
            "-- pauses
             select what, name, paused_by, paused_at from regimen.pauses
             union all
             select 'model', model, paused_by, paused_at from regimen.model_pauses
             order by what, name",
        )
        .await?;
    let rows = client.query(&statement, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Pause {
                what: read_name(row, "what")?,
                name: row.try_get("name")?,
                paused_by: row.try_get("paused_by")?,
                paused_at: row.try_get("paused_at")?,
            })
        })
        .collect()
}

/// Pauses it; false if it was paused before, which changes nothing.
///
/// # Errors
/// Postgres failed.
async fn pause(
    client: &impl GenericClient,
    what: Pausable,
    name: &str,
    by: &str,
) -> Result<bool, DbError> {
    if what == Pausable::Model {
        let statement = client
            .prepare_cached(
                "-- pause model
                 insert into regimen.model_pauses (model, paused_by) values ($1, $2)
                 on conflict (model) do nothing",
            )
            .await?;
        return Ok(client.execute(&statement, &[&name, &by]).await? == 1);
    }
    let statement = client
        .prepare_cached(
            "-- pause
             insert into regimen.pauses (what, name, paused_by) values ($1, $2, $3)
             on conflict (what, name) do nothing",
        )
        .await?;
    Ok(client.execute(&statement, &[&what.as_str(), &name, &by]).await? == 1)
}

/// Ends a pause; false if there was none.
///
/// # Errors
/// Postgres failed.
async fn resume(client: &impl GenericClient, what: Pausable, name: &str) -> Result<bool, DbError> {
    if what == Pausable::Model {
        let statement = client
            .prepare_cached(
                "-- resume model
                 delete from regimen.model_pauses where model = $1",
            )
            .await?;
        return Ok(client.execute(&statement, &[&name]).await? == 1);
    }
    let statement = client
        .prepare_cached(
            "-- resume
             delete from regimen.pauses where what = $1 and name = $2",
        )
        .await?;
    Ok(client.execute(&statement, &[&what.as_str(), &name]).await? == 1)
}

/// Pauses or resumes; false when that changed nothing. Resuming a provider ends its
/// cool-downs and closes its breakers, also when it was not paused.
///
/// # Errors
/// Postgres failed.
pub async fn set(
    client: &impl GenericClient,
    what: Pausable,
    name: &str,
    paused: bool,
    by: &str,
) -> Result<bool, DbError> {
    if paused {
        return pause(client, what, name, by).await;
    }
    if what == Pausable::Provider {
        lift(client, name, by).await?;
    }
    resume(client, what, name).await
}

/// Ends the cool-downs and closes the breakers of `provider`, in all workers.
///
/// # Errors
/// Postgres failed.
async fn lift(client: &impl GenericClient, provider: &str, by: &str) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- lift
             insert into regimen.provider_lifts as l (provider, lifts, lifted_by)
             values ($1, 1, $2)
             on conflict (provider) do update
             set lifts = l.lifts + 1, lifted_by = excluded.lifted_by, lifted_at = now()",
        )
        .await?;
    client.execute(&statement, &[&provider, &by]).await?;
    Ok(())
}

/// How often that was done, by provider.
///
/// # Errors
/// Postgres failed.
pub async fn lifts(client: &impl GenericClient) -> Result<Vec<(String, i64)>, DbError> {
    let statement = client
        .prepare_cached(
            "-- lifts
             select provider, lifts from regimen.provider_lifts",
        )
        .await?;
    let rows = client.query(&statement, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get("provider")?, row.try_get("lifts")?))).collect()
}
