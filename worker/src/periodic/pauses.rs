//! Reads which queues, providers and models are paused.
//!
//! Every claim checks `regimen.pauses` itself, so an outdated copy here cannot
//! bypass a pause. The copy keeps the worker from popping ids that it could not
//! claim, and from calling paused providers and models.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use regimen_common::db::DbError;
use regimen_common::db::pauses::{self, Pausable};
use regimen_common::dispatch::List;
use tokio::time::MissedTickBehavior;

use crate::deps::Deps;
use crate::llm::ProviderName;
use crate::llm::paused::PausedProviders;
use crate::runner::paused::PausedQueues;

/// Reads every `RECONCILE_SECONDS` until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = tokio::time::interval(deps.config.reconcile_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = look(&deps, &deps.paused, &deps.fallback.paused).await {
            tracing::debug!(%error, "could not look what is paused; going by what was");
        }
    }
}

async fn look(
    deps: &Deps,
    queues: &PausedQueues,
    providers: &PausedProviders,
) -> Result<(), DbError> {
    let client = deps.db.get().await?;
    let all = pauses::all(&client).await?;
    let lifts = pauses::lifts(&client).await?;
    drop(client);
    let named = |what: Pausable| {
        let of_kind = all.iter().filter(move |pause| pause.what == what);
        of_kind.map(|pause| pause.name.as_str()).collect::<HashSet<_>>()
    };
    let (paused, paused_providers) = (named(Pausable::Queue), named(Pausable::Provider));
    let now = List::PAUSABLE.into_iter().filter(|list| paused.contains(list.as_str())).collect();
    let lifts = lifts.into_iter().filter_map(|(name, lifts)| Some((name.parse().ok()?, lifts)));
    let lifts: HashMap<ProviderName, i64> = lifts.collect();
    for (provider, lifts) in &lifts {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("regimen_provider_lifts", "provider" => provider.as_str())
            .set(*lifts as f64);
    }
    let models = named(Pausable::Model).into_iter().map(str::to_owned).collect();
    let of_providers = paused_providers.iter().filter_map(|name| name.parse().ok()).collect();
    providers.set(of_providers, models, lifts);
    for list in List::PAUSABLE {
        let value = f64::from(paused.contains(list.as_str()));
        metrics::gauge!("regimen_queue_paused", "class" => list.as_str()).set(value);
    }
    for &provider in ProviderName::ALL {
        let value = f64::from(paused_providers.contains(provider.as_str()));
        metrics::gauge!("regimen_provider_paused", "provider" => provider.as_str()).set(value);
    }
    queues.set(now);
    Ok(())
}
