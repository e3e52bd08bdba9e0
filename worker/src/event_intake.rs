//! Where Stripe events and mails come from: ids popped from Redis, or straight
//! from Postgres while Redis is away.
//!
//! Invariant: never more is claimed than there are free slots.

use std::sync::Arc;
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use regimen_common::db::billing::claims::{self, Claimed, DueEvents};
use regimen_common::db::billing::notices::{self, ClaimedMail, DueMails};
use regimen_common::db::{DbError, limits};
use regimen_common::queue::{List, Taken, Weights};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::aside::Aside;
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
    let mut intake = Intake {
        env,
        slots,
        source,
        events_aside: Aside::new("claim_events"),
        mails_aside: Aside::new("claim_mails"),
    };
    intake.run(&tasks).await;
}

struct Intake {
    env: Arc<Env>,
    slots: Arc<Semaphore>,
    source: Source,
    /// Events and mails that cannot be claimed for what stands in their rows.
    events_aside: Aside<String>,
    mails_aside: Aside<String>,
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
    async fn claim(&mut self, taken: Option<&Taken>, free: usize) -> Vec<Work> {
        let ids = taken.map(|taken| self.ids(taken));
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
    async fn try_claim(
        &mut self,
        ids: Option<&[String]>,
        free: usize,
    ) -> Result<Vec<Work>, DbError> {
        let mut client = self.env.db.within(limits::CLAIM).get().await?;
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let aside = self.events_aside.rows();
        let due = DueEvents { limit, hold: stripe_event::HOLD, aside: &aside };
        let events = match ids {
            Some(ids) => claims::claim_each(&mut client, ids, stripe_event::HOLD).await?,
            None => claims::claim_due(&mut client, &due).await?,
        };
        let (events, failed) = self.events_aside.take(events, String::clone);
        let left = limit - i64::try_from(events.len()).unwrap_or(limit);
        let mut work: Vec<Work> = events.into_iter().map(Work::Event).collect();
        if failed.is_none() && left > 0 && self.env.mailer.is_some() {
            let aside = self.mails_aside.rows();
            let due = DueMails { limit: left, hold: notify::HOLD, aside: &aside };
            match notices::claim_mails(&mut client, ids, &due).await {
                Ok(mails) => {
                    let (mails, _) = self.mails_aside.take(mails, String::clone);
                    work.extend(mails.into_iter().map(Work::Mail));
                }
                // What is claimed already is handled all the same.
                Err(error) => tracing::warn!(%error, "could not claim mails; trying again"),
            }
        }
        match failed {
            Some(error) if work.is_empty() => Err(error),
            _ => Ok(work),
        }
    }

    /// The ids of what was taken, but for those that cannot be claimed for now.
    fn ids(&self, taken: &Taken) -> Vec<String> {
        let ids = taken.iter().map(|(_, message)| message.id.clone());
        ids.filter(|id| !self.events_aside.holds(id) && !self.mails_aside.holds(id)).collect()
    }
}
