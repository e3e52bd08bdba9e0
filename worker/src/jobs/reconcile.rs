//! Repairs what faults left behind: lost messages, expired leases, overdue
//! jobs, waits that are over.
//!
//! Contract: runs on every worker, in small batches, any number at once, any
//! number of times; a crash in between loses nothing, the next run finds it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use regimen_common::db::DbError;
use regimen_common::db::jobs::{self, NextJob, Reconciled};
use regimen_common::job::{EventKind, JobClass};
use regimen_common::queue::List;
use tokio::time::MissedTickBehavior;

use crate::env::Env;

/// Rows per statement.
const BATCH: i64 = 200;
/// A message younger than this may still be on its way.
const GRACE: Duration = Duration::from_secs(2);

/// Runs every `RECONCILE_SECONDS` until the process drains.
pub async fn run(env: Arc<Env>) {
    let mut ticks = tokio::time::interval(env.config.reconcile_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = env.shutdown.drain.clone();
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = once(&env).await {
            metrics::counter!("regimen_reconcile_failures_total").increment(1);
            tracing::warn!(%error, "could not reconcile; trying again");
        }
    }
}

/// One look at everything.
///
/// # Errors
/// Postgres failed; what was done before stays done.
pub async fn once(env: &Env) -> Result<(), DbError> {
    recover_leases(env).await?;
    expire_overdue(env).await?;
    redispatch(env).await?;
    report(env).await
}

async fn recover_leases(env: &Env) -> Result<(), DbError> {
    let mut client = env.db.get().await?;
    let recovered = jobs::recover_leases(&mut client, BATCH, env.config.claim.per_user).await?;
    if !recovered.is_empty() {
        tracing::warn!(jobs = recovered.len(), "took over jobs of workers that vanished");
        metrics::counter!("regimen_leases_lost_total").increment(recovered.len() as u64);
    }
    announce(env, &recovered, EventKind::LeaseLost).await;
    Ok(())
}

async fn expire_overdue(env: &Env) -> Result<(), DbError> {
    let mut client = env.db.get().await?;
    let expired = jobs::expire_overdue(&mut client, BATCH, env.config.claim.per_user).await?;
    metrics::counter!("regimen_jobs_finished_total", "state" => "expired", "code" => "expired")
        .increment(expired.len() as u64);
    announce(env, &expired, EventKind::Expired).await;
    Ok(())
}

async fn announce(env: &Env, changed: &[Reconciled], kind: EventKind) {
    for changed in changed {
        env.announcer.ended(changed.job_id, changed.seq, kind, &changed.next).await;
    }
}

async fn redispatch(env: &Env) -> Result<(), DbError> {
    let client = env.db.get().await?;
    let mut next = jobs::dispatch_ready(&client, BATCH, env.config.claim.per_user).await?;
    for &class in JobClass::ALL {
        // While Redis is away there is nothing to push to.
        let Ok(oldest) = env.queue.oldest(List::from(class)).await else { continue };
        let popped_before = oldest.and_then(DateTime::<Utc>::from_timestamp_millis);
        let lost = jobs::redispatch_lost(&client, class, popped_before, GRACE, BATCH).await?;
        count_lost(class, &lost);
        next.extend(lost);
    }
    env.announcer.dispatch(&next).await;
    Ok(())
}

fn count_lost(class: JobClass, lost: &[NextJob]) {
    if !lost.is_empty() {
        tracing::info!(
            class = class.as_str(),
            jobs = lost.len(),
            "dispatched again what Redis lost"
        );
        metrics::counter!("regimen_messages_lost_total", "class" => class.as_str())
            .increment(lost.len() as u64);
    }
}

/// The gauges operators scale and alert by.
async fn report(env: &Env) -> Result<(), DbError> {
    let client = env.db.get().await?;
    for &class in JobClass::ALL {
        let (waiting, oldest) = jobs::queue_health(&client, class).await?;
        metrics::gauge!("regimen_jobs_waiting", "class" => class.as_str()).set(waiting as f64);
        metrics::gauge!("regimen_oldest_claimable_seconds", "class" => class.as_str())
            .set(oldest.unwrap_or_default().as_secs_f64());
    }
    metrics::gauge!("regimen_jobs_held").set(env.holdings.len() as f64);
    Ok(())
}
