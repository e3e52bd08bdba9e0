//! Makes the test calls that operators ask for in the console: the ingress has no
//! provider's key.
//!
//! Contract: one worker takes a call, within about a second, and writes its result; a
//! call that nobody ends within a minute expires by itself.

use std::sync::Arc;

use regimen_common::db::DbError;
use regimen_common::db::test_calls::{self, Outcome};
use tokio::time::{MissedTickBehavior, interval};

use crate::deps::Deps;

/// Looks for a call every `RECONCILE_SECONDS` until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = interval(deps.config.reconcile_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = turn(&deps).await {
            tracing::debug!(%error, "could not look for test calls, or not keep a result");
        }
    }
}

async fn turn(deps: &Deps) -> Result<(), DbError> {
    let worker = &deps.config.claim.worker_id;
    let providers: Vec<&str> = deps.fallback.providers().map(|name| name.as_str()).collect();
    let client = deps.db.get().await?;
    let Some(taken) = test_calls::take(&client, worker, &providers).await? else { return Ok(()) };
    drop(client);
    let Ok(provider) = taken.provider.parse() else { return Ok(()) };
    let call = deps.fallback.try_out(provider, &taken.model);
    let Some(Some(tried)) = deps.shutdown.drain.run_until_cancelled(call).await else {
        return Ok(());
    };
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let outcome = Outcome {
        outcome: tried.outcome,
        took_ms: i64::try_from(tried.took.as_millis()).unwrap_or(i64::MAX),
        input_tokens: number(tried.usage.input),
        output_tokens: number(tried.usage.output),
        cost_micros: number(tried.cost_micros),
        estimated: tried.usage.estimated,
    };
    let (provider, outcome_name) = (&taken.provider, tried.outcome);
    tracing::info!(provider, outcome = outcome_name, "an operator's test call was made");
    test_calls::end(&deps.db.get().await?, worker, &taken, &outcome).await?;
    Ok(())
}
