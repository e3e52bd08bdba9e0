//! Repairs the processing of Stripe events after faults, and applies what
//! depends on time: the end of grace periods, and events whose user has become
//! known.
//!
//! Contract: runs on every worker, in small batches, concurrently and
//! repeatedly; a crash in between loses nothing, the next run continues. A step
//! that fails does not stop the next steps, and a row or a user that cannot be
//! changed does not block others.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::billing::repairs::{self, DispatchedId, DueUnresolved, LostIds, Poisoned};
use regimen_common::db::billing::{events, profiles};
use regimen_common::db::{DbError, PoisonRow};
use regimen_common::dispatch::{List, Message};
use regimen_common::telemetry::UserHash;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::reconcile::went_on;
use crate::deps::Deps;
use crate::runner::quarantine::Quarantine;

/// Rows per statement.
const BATCH: i64 = 500;
/// A message younger than this may still be arriving.
const PATIENCE: Duration = Duration::from_secs(2);
/// An event that was held by so many lost workers is dead.
const LOST_WORKERS: i32 = 3;
/// Between two counts of waiting events.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Runs every `RECONCILE_SECONDS` until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let mut ticks = tokio::time::interval(deps.config.reconcile_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    let mut reconciler = StripeReconciler::new(deps);
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        reconciler.look().await;
    }
}

/// The periodic steps, with the rows to leave out and the positions of walks.
#[derive(Debug)]
pub struct StripeReconciler {
    deps: Arc<Deps>,
    poisoned: Quarantine<String>,
    unresolved: Quarantine<String>,
    graces: Quarantine<Uuid>,
    lost_events: Quarantine<String>,
    lost_mails: Quarantine<String>,
    /// The last user of the walk over users whose payment fails.
    after: Option<Uuid>,
    reported: Option<Instant>,
}

impl StripeReconciler {
    /// A reconciler at its start.
    pub fn new(deps: Arc<Deps>) -> Self {
        Self {
            deps,
            poisoned: Quarantine::new("bury_poisoned_events"),
            unresolved: Quarantine::new("wake_unresolved_events"),
            graces: Quarantine::of_users("end_grace"),
            lost_events: Quarantine::new("dispatch_lost_events"),
            lost_mails: Quarantine::new("dispatch_lost_mails"),
            after: None,
            reported: None,
        }
    }

    /// One run of all steps. What was done before a failure stays done.
    pub async fn look(&mut self) {
        let _ = went_on("bury_poisoned_events", self.bury_poisoned().await)
            && went_on("wake_unresolved_events", self.wake_unresolved().await)
            && went_on("end_grace", self.end_grace().await)
            && went_on("dispatch_lost_events", self.dispatch_lost(List::Stripe).await)
            && went_on("dispatch_lost_mails", self.dispatch_lost(List::Notify).await)
            && went_on("report_events", self.report().await);
    }

    async fn bury_poisoned(&mut self) -> Result<(), DbError> {
        let mut client = self.deps.db.get().await?;
        let quarantine = self.poisoned.rows();
        let poisoned = Poisoned { holders: LOST_WORKERS, limit: BATCH, quarantine: &quarantine };
        let outcome = repairs::bury_poisoned(&mut client, &poisoned).await?;
        let (dead, failed) = self.poisoned.take(outcome, String::clone);
        for event_id in dead {
            metrics::counter!("regimen_stripe_alerts_total", "alert" => "dead").increment(1);
            tracing::error!(
                event_id,
                "a Stripe event took {LOST_WORKERS} workers down and is dead"
            );
        }
        failed.map_or(Ok(()), Err)
    }

    async fn wake_unresolved(&mut self) -> Result<(), DbError> {
        let mut client = self.deps.db.get().await?;
        let quarantine = self.unresolved.rows();
        let due = DueUnresolved { limit: BATCH, quarantine: &quarantine };
        let outcome = repairs::wake_due(&mut client, &due).await?;
        self.unresolved.take(outcome, String::clone).1.map_or(Ok(()), Err)
    }

    /// Ends the plans of users whose payment kept failing beyond the grace period.
    /// Continues the walk over them; after the last one it starts over.
    async fn end_grace(&mut self) -> Result<(), DbError> {
        let mut client = self.deps.db.get().await?;
        let policy = &self.deps.config.stripe.policy;
        let grace = policy.past_due_grace.as_secs_f64();
        let page = profiles::grace_over(&mut client, self.after, grace, BATCH).await?;
        self.after = page.last;
        for user in page.over {
            if self.graces.holds(&user) {
                continue;
            }
            let ended = async {
                let tx = client.transaction();
                profiles::refresh(&tx, user, true, policy, self.deps.clock.now()).await?;
                tx.commit().await
            };
            match ended.await {
                Ok(()) => tracing::info!(
                    user = %UserHash::of(user),
                    "grace is over; the plan follows the unpaid subscription"
                ),
                Err(error) if error.blames_a_row() => {
                    self.graces.note(vec![PoisonRow { key: user, error }], |user| *user);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn dispatch_lost(&mut self, list: List) -> Result<(), DbError> {
        if list == List::Notify && self.deps.mailer.is_none() {
            return Ok(());
        }
        // While Redis is away no ids are pushed.
        let Ok(popped_before) = self.deps.queue.oldest(list).await else { return Ok(()) };
        let quarantine =
            if list == List::Notify { &mut self.lost_mails } else { &mut self.lost_events };
        let rows = quarantine.rows();
        let lost = LostIds { popped_before, patience: PATIENCE, limit: BATCH, quarantine: &rows };
        let mut client = self.deps.db.get().await?;
        let outcome = match list {
            List::Notify => repairs::dispatch_lost_mails(&mut client, &lost).await?,
            _ => repairs::dispatch_lost(&mut client, &lost).await?,
        };
        drop(client);
        let (lost, failed) = quarantine.take(outcome, String::clone);
        push(&self.deps, list, lost).await;
        failed.map_or(Ok(()), Err)
    }

    /// The gauges for alerts.
    async fn report(&mut self) -> Result<(), DbError> {
        if self.reported.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return Ok(());
        }
        let mut client = self.deps.db.get().await?;
        let (waiting, lag) = events::lag(&mut client).await?;
        metrics::gauge!("regimen_stripe_events_waiting").set(waiting as f64);
        metrics::gauge!("regimen_stripe_event_lag_seconds").set(lag.as_secs_f64());
        for (state, count) in events::attention(&mut client).await? {
            metrics::gauge!("regimen_stripe_events_attention", "state" => state.as_str())
                .set(count as f64);
        }
        self.reported = Some(Instant::now());
        Ok(())
    }
}

async fn push(deps: &Deps, list: List, lost: Vec<DispatchedId>) {
    if lost.is_empty() {
        return;
    }
    metrics::counter!("regimen_messages_lost_total", "class" => list.as_str())
        .increment(lost.len() as u64);
    let message = |lost: DispatchedId| Message::new(lost.id, lost.at, lost.trace_context);
    let messages: Vec<_> = lost.into_iter().map(message).collect();
    deps.queue.push_ids(list, &messages).await;
}
