//! Claims callbacks directly from Postgres, where the transaction that ends a
//! job inserts them. Redis is not involved.
//!
//! Invariant: at most `CALLBACKS_PER_HOST` are claimed for one host and for one
//! user, so that a hanging receiver delays no other.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regimen_common::db::callbacks::{self, ClaimedCallback, Due, Room};
use regimen_common::db::{DbError, limits};
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::handler;
use crate::deps::Deps;
use crate::runner::consumer;
use crate::runner::quarantine::Quarantine;
use crate::runner::traced::{About, Described};

/// Hosts per look; the next look continues after them.
const HOSTS: i64 = 1_000;
/// Delay of a look that the end of a job triggers.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two counts of waiting callbacks.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// A claimed callback.
#[derive(Debug)]
pub struct CallbackJob {
    claimed: ClaimedCallback,
    _sending: SendingGuard,
}

impl Described for CallbackJob {
    fn about(&self) -> About<'_> {
        let id = self.claimed.message.data.id.to_string();
        let facts = vec![
            ("job_id", id.clone()),
            ("kind", "callback".to_owned()),
            ("attempt", self.claimed.attempts.to_string()),
        ];
        About {
            id,
            user: Some(self.claimed.user_id),
            trace: self.claimed.trace_context.as_deref(),
            context: "job",
            facts,
        }
    }
}

impl consumer::Job<Deps> for CallbackJob {
    async fn run(&self, deps: &Arc<Deps>) {
        handler::handle(deps, &self.claimed).await;
    }

    async fn panicked(&self, deps: &Arc<Deps>) {
        handler::panicked(deps, &self.claimed).await;
    }
}

/// The callbacks that this process is sending: host and user of each.
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

/// Counts as being sent until it is dropped.
#[derive(Debug)]
struct SendingGuard {
    to: (String, Uuid),
    sending: Arc<Sending>,
}

impl SendingGuard {
    fn take(sending: &Arc<Sending>, claimed: &ClaimedCallback) -> Self {
        let to = (claimed.host.clone(), claimed.user_id);
        sending.to.lock().unwrap_or_else(PoisonError::into_inner).push(to.clone());
        Self { to, sending: Arc::clone(sending) }
    }
}

impl Drop for SendingGuard {
    fn drop(&mut self) {
        let mut to = self.sending.to.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = to.iter().position(|to| *to == self.to) {
            to.swap_remove(place);
        }
        drop(to);
        self.sending.ended.notify_one();
    }
}

/// Claims callbacks.
#[derive(Debug)]
pub struct Callbacks {
    deps: Arc<Deps>,
    sending: Arc<Sending>,
    ticks: Interval,
    /// The last host of the walk over the hosts.
    after: Option<String>,
    reported: Option<Instant>,
    /// Callbacks that cannot be claimed because of their rows.
    quarantine: Quarantine<Uuid>,
}

impl consumer::Source<Deps> for Callbacks {
    type Job = CallbackJob;

    async fn claim(&mut self, free: usize) -> Result<Vec<CallbackJob>, DbError> {
        let drain = self.deps.shutdown.drain.clone();
        if self.deps.webhook_sender.is_none() {
            // Callbacks wait for a worker that has the secrets.
            drain.cancelled().await;
            return Ok(Vec::new());
        }
        let claimed = self.look(free).await?;
        if claimed.is_empty() {
            let news = async {
                tokio::select! {
                    _ = self.ticks.tick() => {}
                    () = self.sending.ended.notified() => {}
                    () = self.deps.announcer.an_end() => sleep(PAUSE).await,
                }
            };
            drain.run_until_cancelled(news).await;
        }
        let job = |claimed: ClaimedCallback| {
            let _sending = SendingGuard::take(&self.sending, &claimed);
            CallbackJob { claimed, _sending }
        };
        Ok(claimed.into_iter().map(job).collect())
    }
}

impl Callbacks {
    /// A source for this process.
    pub fn new(deps: &Arc<Deps>) -> Self {
        let mut ticks = interval(deps.config.reconcile_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            deps: Arc::clone(deps),
            sending: Arc::default(),
            ticks,
            after: None,
            reported: None,
            quarantine: Quarantine::new("claim_callbacks"),
        }
    }

    /// Claims due callbacks within the limits.
    async fn look(&mut self, free: usize) -> Result<Vec<ClaimedCallback>, DbError> {
        let mut client = self.deps.db.within(limits::CLAIM).get().await?;
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
                let (hold, quarantine) =
                    (self.deps.config.callbacks.hold(), self.quarantine.rows());
                let due = Due { room: &room, hold, quarantine: &quarantine };
                let outcome = callbacks::claim(&mut client, &due).await?;
                let (claimed, failed) = self.quarantine.take(outcome, |job| *job);
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
        let most = self.deps.config.callbacks.per_host;
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
