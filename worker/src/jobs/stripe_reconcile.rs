//! Repairs what faults left behind on the way of Stripe's events, and lets
//! time do its part: grace that runs out, users who turn up.
//!
//! Contract: runs on every worker, in small batches, any number at once, any
//! number of times; a crash in between loses nothing, the next run finds it.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::DbError;
use regimen_common::db::billing::{claims, events, notices, profiles};
use regimen_common::queue::{List, Message};
use tokio::time::MissedTickBehavior;

use crate::env::Env;

/// Rows per statement.
const BATCH: i64 = 500;
/// A message younger than this may still be on its way.
const PATIENCE: Duration = Duration::from_secs(2);
/// An event that took so many workers down is dead.
const LOST_WORKERS: i32 = 3;

/// Runs every `RECONCILE_SECONDS` until the process drains.
pub async fn run(env: Arc<Env>) {
    let mut ticks = tokio::time::interval(env.config.reconcile_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = env.shutdown.drain.clone();
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = once(&env).await {
            metrics::counter!("regimen_reconcile_failures_total").increment(1);
            tracing::warn!(%error, "could not reconcile Stripe events; trying again");
        }
    }
}

/// One look at everything.
///
/// # Errors
/// Postgres failed; what was done before stays done.
pub async fn once(env: &Env) -> Result<(), DbError> {
    let client = env.db.get().await?;
    for id in claims::bury_poisoned(&client, LOST_WORKERS, BATCH).await? {
        metrics::counter!("regimen_stripe_alerts_total", "alert" => "dead").increment(1);
        tracing::error!(
            event_id = id,
            "a Stripe event took {LOST_WORKERS} workers down and is dead"
        );
    }
    claims::wake_due(&client, BATCH).await?;
    drop(client);
    end_grace(env).await?;
    dispatch(env).await?;
    report(env).await
}

/// Takes back what was lent to users whose payment kept failing.
async fn end_grace(env: &Env) -> Result<(), DbError> {
    let mut client = env.db.get().await?;
    let policy = &env.config.stripe.policy;
    let grace = policy.past_due_grace.as_secs_f64();
    for user in profiles::grace_over(&client, grace, BATCH).await? {
        let tx = client.transaction().await?;
        profiles::refresh(&tx, user, true, policy, env.clock.now()).await?;
        tx.commit().await?;
        tracing::info!(user_id = %user, "grace is over; the plan follows the unpaid subscription");
    }
    Ok(())
}

async fn dispatch(env: &Env) -> Result<(), DbError> {
    let client = env.db.get().await?;
    // While Redis is away there is nothing to push to.
    if let Ok(oldest) = env.queue.oldest(List::Stripe).await {
        let lost = claims::dispatch_lost(&client, oldest, PATIENCE, BATCH).await?;
        push(env, List::Stripe, &lost).await;
    }
    if env.mailer.is_some()
        && let Ok(oldest) = env.queue.oldest(List::Notify).await
    {
        let lost = notices::dispatch_lost_mails(&client, oldest, PATIENCE, BATCH).await?;
        push(env, List::Notify, &lost).await;
    }
    Ok(())
}

async fn push(env: &Env, list: List, messages: &[Message]) {
    if messages.is_empty() {
        return;
    }
    metrics::counter!("regimen_messages_lost_total", "class" => list.as_str())
        .increment(messages.len() as u64);
    if let Err(error) = env.queue.push(list, messages).await {
        tracing::warn!(%error, list = list.as_str(), "could not dispatch; trying again");
    }
}

/// The gauges operators alert by.
async fn report(env: &Env) -> Result<(), DbError> {
    let client = env.db.get().await?;
    let (waiting, lag) = events::lag(&client).await?;
    metrics::gauge!("regimen_stripe_events_waiting").set(waiting as f64);
    metrics::gauge!("regimen_stripe_event_lag_seconds").set(lag.as_secs_f64());
    for (state, count) in events::attention(&client).await? {
        metrics::gauge!("regimen_stripe_events_attention", "state" => state.as_str())
            .set(count as f64);
    }
    Ok(())
}
