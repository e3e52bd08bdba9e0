//! Where plan tasks come from: ids popped from Redis, or straight from
//! Postgres while Redis is away, claimed in one statement.
//!
//! Invariant: never more is claimed than there are free slots. A job claimed
//! here starts at once; nothing waits in a buffer under a lease. A drain ends
//! waiting, never a pop or a claim that is under way.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::jobs::{self, Claimed, Held, Turns};
use regimen_common::db::limits;
use regimen_common::db::{Client, DbError, Outcome};
use regimen_common::queue::{List, Message, Taken};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::aside::Aside;
use crate::env::Env;
use crate::holdings::Holding;
use crate::source::Source;

/// Between two looks after a failure, or at an empty queue without Redis.
const BACKOFF: Duration = Duration::from_millis(250);

/// A claimed job on its way to the handler.
#[derive(Debug)]
pub struct PlanTask {
    /// The claim.
    pub claimed: Claimed,
    /// Its place in the holdings.
    pub holding: Holding,
    /// Its slot, freed when the task is dropped.
    _slot: OwnedSemaphorePermit,
}

/// Feeds plan tasks into `tasks` until the process drains.
pub async fn feed(env: Arc<Env>, tasks: mpsc::Sender<PlanTask>) {
    let mut intake = Intake {
        slots: Arc::new(Semaphore::new(env.config.slots)),
        drain: env.shutdown.drain.clone(),
        source: Source::of(&env, (List::Pro, List::Free), env.config.weights),
        env,
        postgres_failed: false,
        answer_lost: false,
        aside: Aside::new("claim"),
    };
    intake.run(&tasks).await;
}

struct Intake {
    env: Arc<Env>,
    drain: CancellationToken,
    slots: Arc<Semaphore>,
    source: Source,
    /// Postgres is asked for a connection before the next id is taken.
    postgres_failed: bool,
    /// A claim may have been made whose answer did not arrive.
    answer_lost: bool,
    /// Jobs that cannot be claimed for what stands in their rows.
    aside: Aside<Uuid>,
}

impl Intake {
    async fn run(&mut self, tasks: &mpsc::Sender<PlanTask>) {
        loop {
            let acquired = Arc::clone(&self.slots).acquire_owned();
            let Some(Ok(slot)) = self.drain.run_until_cancelled(acquired).await else { return };
            let free = 1 + self.slots.available_permits();
            let mut slot = Some(slot);
            for task in self.next(free).await {
                let Some(slot) =
                    slot.take().or_else(|| Arc::clone(&self.slots).try_acquire_owned().ok())
                else {
                    // Unreachable while this is the only taker of slots; it is handed back.
                    tracing::error!(job_id = %task.0.id, "claimed a job without a free slot");
                    continue;
                };
                let (claimed, holding) = task;
                if tasks.send(PlanTask { claimed, holding, _slot: slot }).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes what was claimed into the holdings, then tells of it. The lease
    /// counts from before the claim was sent.
    fn held(&self, claimed: Vec<Claimed>, asked_at: Instant) -> Vec<(Claimed, Holding)> {
        let lease_until = asked_at + self.env.config.claim.lease;
        let hold = |claimed: Claimed| {
            let held = Held { id: claimed.id, fence: claimed.fence };
            (claimed, self.env.holdings.take(held, lease_until))
        };
        self.env.announcer.claimed(&claimed);
        claimed.into_iter().map(hold).collect()
    }

    /// What fits `free` slots, or nothing after a wait.
    async fn next(&mut self, free: usize) -> Vec<(Claimed, Holding)> {
        let claimed = self.claim_next(free).await;
        self.postgres_failed = claimed.is_err();
        match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                metrics::counter!("regimen_claim_failures_total").increment(1);
                tracing::warn!(%error, "could not claim jobs; trying again");
                self.pause().await;
                Vec::new()
            }
        }
    }

    /// Claims what Redis hands out, or what is due while Redis is away. What
    /// cannot be claimed now goes back to Redis.
    async fn claim_next(&mut self, free: usize) -> Result<Vec<(Claimed, Holding)>, DbError> {
        if self.postgres_failed {
            drop(self.postgres().await?);
        }
        let Some(taken) = self.source.next(free).await else {
            return self.claim_directly(free).await;
        };
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        let mut client = match self.postgres().await {
            Ok(client) => client,
            Err(error) => {
                self.source.put_back(&taken).await;
                return Err(error);
            }
        };
        let asked_at = Instant::now();
        let mut ids = job_ids(&taken);
        ids.retain(|id| !self.aside.holds(id));
        let claimed = jobs::claim_each(&mut client, &ids, &self.env.config.claim).await;
        drop(client);
        if claimed.is_err() {
            self.answer_lost = true;
            self.source.put_back(&taken).await;
        }
        Ok(self.held_of(claimed?, asked_at))
    }

    /// The same for what became of a batch. Jobs that cannot be claimed now stay
    /// out for a while.
    fn held_of(
        &mut self,
        outcome: Outcome<Uuid, Claimed>,
        asked_at: Instant,
    ) -> Vec<(Claimed, Holding)> {
        let (claimed, failed) = self.aside.take(outcome, |id| *id);
        if let Some(error) = failed {
            self.answer_lost = true;
            tracing::warn!(%error, "could not claim all jobs; trying again");
        }
        self.held(claimed, asked_at)
    }

    /// A connection. After a claim without an answer, what may stand in our
    /// name is handed back first.
    async fn postgres(&mut self) -> Result<Client, DbError> {
        let client = self.env.db.within(limits::CLAIM).get().await?;
        if self.answer_lost {
            let claims = jobs::held_by(&client, &self.env.config.claim.worker_id).await?;
            self.env.holdings.disown(claims);
            self.answer_lost = false;
        }
        Ok(client)
    }

    async fn claim_directly(&mut self, free: usize) -> Result<Vec<(Claimed, Holding)>, DbError> {
        let mut client = self.postgres().await?;
        let (weights, turn) = self.source.shares();
        let (policy, asked_at) = (&self.env.config.claim, Instant::now());
        let aside = self.aside.rows();
        let turns = Turns { count: free, weights, turn, policy, aside: &aside };
        let claimed = jobs::claim_waiting(&mut client, &turns).await;
        self.answer_lost = claimed.is_err();
        drop(client);
        let claimed = claimed?;
        self.source.picked(claimed.done.len());
        if claimed.done.is_empty() {
            self.pause().await;
        }
        Ok(self.held_of(claimed, asked_at))
    }

    async fn pause(&self) {
        self.drain.run_until_cancelled(sleep(BACKOFF)).await;
    }
}

fn job_ids(taken: &Taken) -> Vec<Uuid> {
    taken.iter().filter_map(|(_, message)| Message::job_id(message)).collect()
}
