//! Counts what happened each minute, for the console's charts.
//!
//! Contract: one worker at a time counts, under a lease that another one takes over when
//! it expires. Each minute is one statement over what ended in it; the last ones are
//! counted again until they are over, and after an outage the missing ones follow, some
//! with each turn. Counting a minute twice gives the same row. The same worker keeps the
//! revenue of the day, once an hour.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use regimen_common::billing::metrics::{Metrics, WINDOW_DAYS};
use regimen_common::db::billing::{payers, revenue};
use regimen_common::db::{Client, DbError, stats};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::reconcile::went_on;
use crate::deps::Deps;

/// The lease; longer than any turn takes.
const HOLD: Duration = Duration::from_secs(60);
/// Runs of the reconciler between two turns.
const TURNS: u32 = 5;
/// A turn begins no further minute after this time.
const TURN: Duration = Duration::from_secs(1);

/// Counts until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = interval(deps.config.reconcile_every * TURNS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        // Nothing follows that would have to wait for it.
        let _ = went_on("stats", turn(&deps).await);
    }
    if let Ok(client) = deps.db.get().await {
        let _ = stats::end(&client, &deps.config.claim.worker_id).await;
    }
}

/// One turn.
///
/// # Errors
/// Postgres failed; the minutes counted before stay counted.
async fn turn(deps: &Deps) -> Result<(), DbError> {
    let holder = &deps.config.claim.worker_id;
    let client = deps.db.get().await?;
    let mut next = stats::begin(&client, holder, HOLD).await?;
    let (is_held, began) = (next.is_some(), Instant::now());
    while let Some(minute) = next.filter(|_| !deps.shutdown.drain.is_cancelled())
        && began.elapsed() < TURN
    {
        next = stats::count(&client, holder, minute).await?;
    }
    if next.is_none() {
        stats::forget(&client).await?;
    }
    if is_held {
        keep_revenue(deps, &client).await?;
    }
    Ok(())
}

/// Counts the day's revenue, if that was not begun within the last hour.
async fn keep_revenue(deps: &Deps, client: &Client) -> Result<(), DbError> {
    let Some(day) = revenue::begin(client).await? else { return Ok(()) };
    let standing =
        payers::standing(client, deps.clock.now() - TimeDelta::days(WINDOW_DAYS)).await?;
    let metrics = Metrics::of(&payers::revenue(client).await?, &standing);
    revenue::keep(client, day, &metrics).await
}
