//! Publishes which models this worker is configured with, and warns of those
//! that are retired or retire soon: in the log, and through Postgres to every
//! ingress.
//!
//! Contract: renewed while the process runs and withdrawn when it drains; after
//! a crash the rows expire. No other task waits for it.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::DbError;
use regimen_common::db::models::{self, EndOfLife, FRESH, ModelInUse, ModelPrice};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::deps::Deps;
use crate::llm::catalogue::Price;
use crate::llm::fallback::Block;

/// Well within the time after which rows expire.
const RENEW: Duration = Duration::from_secs(FRESH.as_secs() / 6);
/// Between two checks whether a provider is blocked, which is published at once.
const LOOK: Duration = Duration::from_secs(1);
/// Renewals between two repeated warnings in the log, about one day.
const REMIND: u64 = 24 * 3600 / RENEW.as_secs();

/// The time limit of withdrawing the rows.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    let (mut round, mut told) = (0_u64, None);
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        let used = used(&deps);
        let is_due =
            |(at, what): &(Instant, Vec<ModelInUse>)| at.elapsed() >= RENEW || *what != used;
        if !told.as_ref().is_none_or(is_due) {
            continue;
        }
        if told.as_ref().is_none_or(|(at, _)| at.elapsed() >= RENEW) {
            if round.is_multiple_of(REMIND) {
                warn(&deps);
            }
            round += 1;
        }
        match publish(&deps, &used).await {
            Ok(()) => told = Some((Instant::now(), used)),
            Err(error) => {
                tracing::debug!(%error, "could not tell which models are asked; trying again");
            }
        }
    }
    if !matches!(timeout(LAST_WORDS, withdraw(&deps)).await, Ok(Ok(()))) {
        tracing::debug!("could not withdraw the models asked; they go out of date");
    }
}

fn warn(deps: &Deps) {
    let (fallback, today) = (&deps.fallback, deps.clock.now().date_naive());
    for (provider, model) in fallback.models() {
        let provider = provider.as_str();
        if let Some(notice) = fallback.catalogue().notice(model, today) {
            tracing::warn!(provider, model, retired = notice.retired, "{notice}");
        } else if fallback.catalogue().model(model).is_none() {
            tracing::info!(
                provider,
                model,
                "the model is not in the catalogue: its calls are counted at a high price"
            );
        }
    }
}

fn used(deps: &Deps) -> Vec<ModelInUse> {
    let fallback = &deps.fallback;
    let end = |model: &str| {
        let end = fallback.catalogue().end(model)?;
        Some(EndOfLife {
            retires_on: end.retires,
            warn_from: end.warned_from,
            successor: end.successor,
        })
    };
    let (blocks, today) = (fallback.blocks(), deps.clock.now().date_naive());
    fallback
        .models()
        .map(|(provider, model)| {
            let (price, source) = fallback.catalogue().price_of(model, today);
            let Price { input, cached, output, .. } = price;
            ModelInUse {
                provider: provider.as_str(),
                model: model.to_owned(),
                end: end(model),
                left_alone: blocks.get(&provider) == Some(&Block::Breaker),
                cooling: blocks.get(&provider) == Some(&Block::CoolDown),
                price: ModelPrice { input, cached, output, source },
            }
        })
        .collect()
}

async fn publish(deps: &Deps, used: &[ModelInUse]) -> Result<(), DbError> {
    let client = deps.db.get().await?;
    models::publish(&client, &deps.config.claim.worker_id, used).await
}

async fn withdraw(deps: &Deps) -> Result<(), DbError> {
    let client = deps.db.get().await?;
    models::withdraw(&client, &deps.config.claim.worker_id).await
}
