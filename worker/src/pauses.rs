//! What operators have paused, as this worker knows it.
//!
//! Every claim looks at `regimen.pauses` itself, so nothing here can let
//! through what is paused. This copy keeps the worker from popping ids that it
//! could not claim, and from asking providers that are not to be asked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use regimen_common::db::DbError;
use regimen_common::db::pauses::{self, Pausable};
use regimen_common::queue::{List, Weights};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::env::Env;
use crate::providers::ProviderName;
use crate::providers::rests::Rests;

/// The queues that can be paused.
const QUEUES: [List; 3] = [List::Pro, List::Free, List::Stripe];

/// Which queues are paused. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PausedQueues(watch::Sender<HashSet<List>>);

impl PausedQueues {
    /// `weights` without the turns of lists that are paused.
    pub fn leave_out(&self, (first, second): (List, List), weights: Weights) -> Weights {
        let paused = self.0.borrow();
        weights.without(paused.contains(&first), paused.contains(&second))
    }

    /// Waits until other queues are paused than at this call.
    pub fn changed(&self) -> impl Future<Output = ()> + use<> {
        let mut seen = self.0.subscribe();
        async move {
            if seen.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Takes over what is paused now; whoever waits for a change hears of one.
    pub fn set(&self, now: HashSet<List>) {
        self.0.send_if_modified(|paused| {
            for list in paused.symmetric_difference(&now) {
                let state = if now.contains(list) { "paused" } else { "resumed" };
                tracing::info!(list = list.as_str(), state, "a queue changed");
            }
            let before = std::mem::replace(paused, now);
            *paused != before
        });
    }
}

/// Looks every `RECONCILE_SECONDS` until the process drains.
pub async fn run(env: Arc<Env>) {
    let mut ticks = tokio::time::interval(env.config.reconcile_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = env.shutdown.drain.clone();
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = look(&env, &env.paused, env.generator.rests()).await {
            tracing::debug!(%error, "could not look what is paused; going by what was");
        }
    }
}

async fn look(env: &Env, queues: &PausedQueues, rests: &Rests) -> Result<(), DbError> {
    let client = env.db.get().await?;
    let all = pauses::all(&client).await?;
    let lifts = pauses::lifts(&client).await?;
    drop(client);
    let named = |what: Pausable| {
        let of_kind = all.iter().filter(move |pause| pause.what == what);
        of_kind.map(|pause| pause.name.as_str()).collect::<HashSet<_>>()
    };
    let (paused, resting) = (named(Pausable::Queue), named(Pausable::Provider));
    let now = QUEUES.into_iter().filter(|list| paused.contains(list.as_str())).collect();
    let lifts = lifts.into_iter().filter_map(|(name, lifts)| Some((name.parse().ok()?, lifts)));
    let lifts: HashMap<ProviderName, i64> = lifts.collect();
    for (provider, lifts) in &lifts {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("regimen_provider_lifts", "provider" => provider.as_str())
            .set(*lifts as f64);
    }
    rests.set(resting.iter().filter_map(|name| name.parse().ok()).collect(), lifts);
    for list in QUEUES {
        let value = f64::from(paused.contains(list.as_str()));
        metrics::gauge!("regimen_queue_paused", "class" => list.as_str()).set(value);
    }
    for provider in ProviderName::ALL {
        let value = f64::from(resting.contains(provider.as_str()));
        metrics::gauge!("regimen_provider_paused", "provider" => provider.as_str()).set(value);
    }
    queues.set(now);
    Ok(())
}
