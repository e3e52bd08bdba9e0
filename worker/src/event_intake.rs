//! Where Stripe events and mails come from: ids popped from Redis, or straight
//! from Postgres while Redis is away.
//!
//! Invariant: never more is claimed than there are free slots.

use std::sync::Arc;
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use regimen_common::db::billing::claims::{self, Claimed};
use regimen_common::db::billing::notices::{self, ClaimedMail};
use regimen_common::db::{DbError, limits};
use regimen_common::queue::{List, Taken, Weights};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::env::Env;
use crate::jobs::{notify, stripe_event};
use crate::source::Source;

const BACKOFF: Duration = Duration::from_millis(250);
/// Events before mails: what was paid for comes first.
const WEIGHTS: Weights = Weights { first: 4, second: 1 };

/// Claimed work on its way to its handler.
#[derive(Debug)]
pub struct EventTask {
    work: Work,
    /// Its slot, freed when the task is dropped.
    _slot: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Work {
    Event(Claimed),
    Mail(ClaimedMail),
}

/// Handles one claimed task; apalis calls it. What came of it stands in
/// Postgres, so there is nothing to return.
///
/// # Errors
/// Never: an error here would only be logged a second time.
pub async fn handle(task: EventTask, env: Data<Arc<Env>>) -> Result<(), BoxDynError> {
    match &task.work {
        Work::Event(claimed) => stripe_event::handle(&env, claimed).await,
        Work::Mail(mail) => notify::handle(&env, mail).await,
    }
    Ok(())
}

/// Feeds tasks into `tasks` until the process drains.
pub async fn feed(env: Arc<Env>, tasks: mpsc::Sender<EventTask>) {
    let slots = Arc::new(Semaphore::new(env.config.stripe.slots));
    let source = Source::of(&env, (List::Stripe, List::Notify), WEIGHTS);
    let mut intake = Intake { env, slots, source };
    intake.run(&tasks).await;
}

struct Intake {
    env: Arc<Env>,
    slots: Arc<Semaphore>,
    source: Source,
}

impl Intake {
    async fn run(&mut self, tasks: &mpsc::Sender<EventTask>) {
        let drain = self.env.shutdown.drain.clone();
        loop {
            // Only waits are cut short by a drain: what is claimed gets handled.
            let slot = drain.run_until_cancelled(Arc::clone(&self.slots).acquire_owned()).await;
            let Some(Ok(slot)) = slot.filter(|_| !drain.is_cancelled()) else { return };
            let free = 1 + self.slots.available_permits();
            let claimed = self.next(free).await;
            let mut slot = Some(slot);
            for work in claimed {
                let Some(slot) =
                    slot.take().or_else(|| Arc::clone(&self.slots).try_acquire_owned().ok())
                else {
                    // More than asked for; the claim runs out and it comes again.
                    tracing::warn!(?work, "claimed without a free slot");
                    continue;
                };
                if tasks.send(EventTask { work, _slot: slot }).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What fits `free` slots, or nothing after a wait.
    async fn next(&mut self, free: usize) -> Vec<Work> {
        match self.source.next(free).await {
            Some(taken) if taken.is_empty() => Vec::new(),
            Some(taken) => self.claim(Some(&taken), free).await,
            None => {
                let claimed = self.claim(None, free).await;
                if claimed.is_empty() {
                    tokio::time::sleep(BACKOFF).await;
                }
                claimed
            }
        }
    }

    /// Claims what was taken from Redis, or else what is due.
    async fn claim(&self, taken: Option<&Taken>, free: usize) -> Vec<Work> {
        let ids = taken.map(ids);
        match self.try_claim(ids.as_deref(), free).await {
            Ok(claimed) => claimed,
            Err(error) => {
                metrics::counter!("regimen_claim_failures_total").increment(1);
                tracing::warn!(%error, "could not claim events; trying again");
                if let Some(taken) = taken {
                    self.source.put_back(taken).await;
                }
                tokio::time::sleep(BACKOFF).await;
                Vec::new()
            }
        }
    }

    /// An id says of neither list; an event and its mail have the same one. A
    /// mail is claimed only when its event is no longer waiting.
    async fn try_claim(&self, ids: Option<&[String]>, free: usize) -> Result<Vec<Work>, DbError> {
        let client = self.env.db.within(limits::CLAIM).get().await?;
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let events = match ids {
            Some(ids) => claims::claim(&client, ids, stripe_event::HOLD).await?,
            None => claims::claim_due(&client, limit, stripe_event::HOLD).await?,
        };
        let left = limit - i64::try_from(events.len()).unwrap_or(limit);
        let mails = if left > 0 && self.env.mailer.is_some() {
            notices::claim_mails(&client, ids, left, notify::HOLD).await?
        } else {
            Vec::new()
        };
        let events = events.into_iter().map(Work::Event);
        Ok(events.chain(mails.into_iter().map(Work::Mail)).collect())
    }
}

fn ids(taken: &Taken) -> Vec<String> {
    taken.iter().map(|(_, message)| message.id.clone()).collect()
}
