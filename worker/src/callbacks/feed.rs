//! Where callbacks to send come from: straight from Postgres, where they stand
//! since the transaction that ended their job. Nothing of them is in Redis.
//!
//! Invariants: never more is claimed than there are free slots, never more to
//! one host or for one user than `CALLBACKS_PER_HOST`, so that a receiver that
//! hangs holds up nobody else.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use regimen_common::db::callbacks::{self, Due, Owed, Room};
use regimen_common::db::{DbError, limits};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::aside::Aside;
use crate::env::Env;
use crate::jobs::callback;

/// Hosts looked at in one look; the next look goes on behind them.
const HOSTS: i64 = 1_000;
/// Between two looks that ends of jobs ask for.
const PAUSE: Duration = Duration::from_millis(100);
/// After Postgres failed.
const BACKOFF: Duration = Duration::from_millis(500);
/// Between two counts of what waits.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// A claimed callback on its way to its handler.
#[derive(Debug)]
pub struct CallbackTask {
    owed: Owed,
    _seat: Seat,
    _slot: OwnedSemaphorePermit,
}

/// Sends one claimed callback; apalis calls it. What came of it stands in
/// Postgres, so there is nothing to return.
///
/// # Errors
/// Never: an error here would only be logged a second time.
pub async fn handle(task: CallbackTask, env: Data<Arc<Env>>) -> Result<(), BoxDynError> {
    callback::handle(&env, &task.owed).await;
    Ok(())
}

/// Feeds callbacks into `tasks` until the process drains.
pub async fn feed(env: Arc<Env>, tasks: mpsc::Sender<CallbackTask>) {
    if env.courier.is_none() {
        // What is owed waits for a worker that has the secrets.
        return env.shutdown.drain.cancelled().await;
    }
    let slots = Arc::new(Semaphore::new(env.config.callbacks.slots));
    let (sending, aside) = (Arc::default(), Aside::new("claim_callbacks"));
    let feed = Feed { env, slots, sending, after: None, reported: None, aside };
    feed.run(&tasks).await;
}

/// What this process sends at the moment: host and user of each.
#[derive(Debug, Default)]
struct Sending {
    to: Mutex<Vec<(String, Uuid)>>,
    ended: Notify,
}

impl Sending {
    fn counts(&self) -> (HashMap<String, i64>, HashMap<Uuid, i64>) {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        (count(to.iter().map(|(host, _)| host.clone())), count(to.iter().map(|&(_, user)| user)))
    }
}

fn count<T: Eq + Hash>(items: impl Iterator<Item = T>) -> HashMap<T, i64> {
    let mut counts = HashMap::new();
    items.for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}

/// A place among what is sent, given back when dropped.
#[derive(Debug)]
struct Seat {
    to: (String, Uuid),
    sending: Arc<Sending>,
}

impl Seat {
    fn take(sending: &Arc<Sending>, owed: &Owed) -> Self {
        let to = (owed.host.clone(), owed.user_id);
        sending.to.lock().unwrap_or_else(PoisonError::into_inner).push(to.clone());
        Self { to, sending: Arc::clone(sending) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut to = self.sending.to.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = to.iter().position(|to| *to == self.to) {
            to.swap_remove(place);
        }
        drop(to);
        self.sending.ended.notify_one();
    }
}

struct Feed {
    env: Arc<Env>,
    slots: Arc<Semaphore>,
    sending: Arc<Sending>,
    /// Where the walk over the hosts has come to.
    after: Option<String>,
    reported: Option<Instant>,
    /// Callbacks that cannot be claimed for what stands in their rows.
    aside: Aside<Uuid>,
}

impl Feed {
    async fn run(mut self, tasks: &mpsc::Sender<CallbackTask>) {
        let drain = self.env.shutdown.drain.clone();
        let mut ticks = interval(self.env.config.reconcile_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Only waits are cut short by a drain: what is claimed is sent.
            let slot = drain.run_until_cancelled(Arc::clone(&self.slots).acquire_owned()).await;
            let Some(Ok(slot)) = slot.filter(|_| !drain.is_cancelled()) else { return };
            let claimed = match self.look(1 + self.slots.available_permits()).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    metrics::counter!("regimen_claim_failures_total").increment(1);
                    tracing::warn!(%error, "could not look for callbacks; trying again");
                    drop(slot);
                    drain.run_until_cancelled(sleep(BACKOFF)).await;
                    continue;
                }
            };
            if claimed.is_empty() {
                drop(slot);
                let news = async {
                    tokio::select! {
                        _ = ticks.tick() => {}
                        () = self.sending.ended.notified() => {}
                        () = self.env.announcer.an_end() => sleep(PAUSE).await,
                    }
                };
                drain.run_until_cancelled(news).await;
                continue;
            }
            let mut slot = Some(slot);
            for owed in claimed {
                let free = || Arc::clone(&self.slots).try_acquire_owned().ok();
                let Some(slot) = slot.take().or_else(free) else {
                    // More than asked for; the claim runs out and it comes again.
                    tracing::warn!(job_id = %owed.message.data.id, "claimed without a free slot");
                    continue;
                };
                let seat = Seat::take(&self.sending, &owed);
                if tasks.send(CallbackTask { owed, _seat: seat, _slot: slot }).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Claims what is due and fits.
    async fn look(&mut self, free: usize) -> Result<Vec<Owed>, DbError> {
        let mut client = self.env.db.within(limits::CLAIM).get().await?;
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            let (waiting, late) = callbacks::health(&mut client).await?;
            metrics::gauge!("regimen_callbacks_waiting").set(waiting as f64);
            metrics::gauge!("regimen_callback_oldest_due_seconds").set(late.as_secs_f64());
            self.reported = Some(Instant::now());
        }
        loop {
            let after = self.after.take();
            let page = callbacks::hosts(&mut client, after.as_deref(), HOSTS).await?;
            self.after = page.next;
            let room = self.room(page.due, free);
            let claimed = if room.hosts.is_empty() {
                Vec::new()
            } else {
                let (hold, aside) = (self.env.config.callbacks.hold(), self.aside.rows());
                let due = Due { room: &room, hold, aside: &aside };
                let outcome = callbacks::claim(&mut client, &due).await?;
                let (claimed, failed) = self.aside.take(outcome, |job| *job);
                match failed {
                    Some(error) if claimed.is_empty() => return Err(error),
                    _ => claimed,
                }
            };
            if !claimed.is_empty() || self.after.is_none() {
                return Ok(claimed);
            }
        }
    }

    fn room(&self, due: Vec<String>, free: usize) -> Room {
        let most = self.env.config.callbacks.per_host;
        let (hosts, users) = self.sending.counts();
        let left = |host: &String| most - hosts.get(host).copied().unwrap_or(0);
        Room {
            hosts: due
                .into_iter()
                .map(|host| (left(&host), host))
                .filter(|(left, _)| *left > 0)
                .map(|(left, host)| (host, left))
                .collect(),
            users: users.into_iter().collect(),
            per_user: most,
            limit: i64::try_from(free).unwrap_or(i64::MAX),
        }
    }
}
