//! Claims plan jobs: ids popped from Redis, or directly from Postgres while
//! Redis is away, in one statement.

use std::sync::Arc;

use futures_util::join;
use regimen_common::db::jobs::{self, ClaimedJob, Held, Turns};
use regimen_common::db::limits;
use regimen_common::db::{Client, DbError, Outcome};
use regimen_common::dispatch::{List, Message, Taken};
use tokio::time::Instant;
use uuid::Uuid;

use super::handler::PlanJob;
use crate::deps::Deps;
use crate::runner::consumer;
use crate::runner::quarantine::Quarantine;
use crate::runner::redis_source::RedisSource;

/// The most jobs of one claim: its statement has to end in time, whatever the number of
/// slots.
const AT_ONCE: usize = 256;

/// Claims plan jobs.
#[derive(Debug)]
pub struct Plans {
    deps: Arc<Deps>,
    source: RedisSource,
    /// A connection to Postgres is needed before the next id is popped.
    postgres_failed: bool,
    /// A claim may have been committed whose answer did not arrive.
    answer_lost: bool,
    /// Jobs that cannot be claimed because of their rows.
    quarantine: Quarantine<Uuid>,
}

impl consumer::Source<Deps> for Plans {
    type Job = PlanJob;

    async fn claim(&mut self, free: usize) -> Result<Vec<PlanJob>, DbError> {
        let claimed = self.claim_next(free.min(AT_ONCE)).await;
        self.postgres_failed = claimed.is_err();
        claimed
    }
}

impl Plans {
    /// A source for this process.
    pub fn new(deps: &Arc<Deps>) -> Self {
        Self {
            source: deps.redis_source((List::Pro, List::Free), deps.config.weights),
            deps: Arc::clone(deps),
            postgres_failed: false,
            answer_lost: false,
            quarantine: Quarantine::new("claim"),
        }
    }

    /// Puts claimed jobs in flight, and announces them. The lease counts from before the
    /// claim was sent.
    fn held(&self, claimed: Vec<ClaimedJob>, asked_at: Instant) -> Vec<PlanJob> {
        // Without a row, the claim may not have been made, which is what extends the lease.
        if !claimed.is_empty() {
            let lease = self.deps.config.claim.lease.mul_f64(jobs::LEAST_LEASE);
            self.deps.in_flight.lease_extended(asked_at + lease);
        }
        let hold = |claimed: ClaimedJob| {
            let held = Held { id: claimed.id, fence: claimed.fence };
            PlanJob::new(claimed, self.deps.in_flight.take(held))
        };
        self.deps.announcer.claimed(&claimed);
        claimed.into_iter().map(hold).collect()
    }

    /// Claims the ids that Redis returns, or due jobs while Redis is away. Ids that
    /// cannot be claimed now go back to Redis.
    async fn claim_next(&mut self, free: usize) -> Result<Vec<PlanJob>, DbError> {
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
        ids.retain(|id| !self.quarantine.holds(id));
        let claimed = jobs::claim_each(&mut client, &ids, &self.deps.config.claim);
        let (claimed, ()) = join!(claimed, self.deps.fallback.look_ahead());
        drop(client);
        if claimed.is_err() {
            self.answer_lost = true;
            self.source.put_back(&taken).await;
        }
        Ok(self.held_of(claimed?, asked_at))
    }

    /// The jobs of a batch's outcome. Jobs that cannot be claimed now are set aside.
    fn held_of(&mut self, outcome: Outcome<Uuid, ClaimedJob>, asked_at: Instant) -> Vec<PlanJob> {
        let (claimed, failed) = self.quarantine.take(outcome, |id| *id);
        if let Some(error) = failed {
            self.answer_lost = true;
            tracing::warn!(%error, "could not claim all jobs; trying again");
        }
        self.held(claimed, asked_at)
    }

    /// A connection. After a claim without an answer, possible claims in this process's
    /// name are released first.
    async fn postgres(&mut self) -> Result<Client, DbError> {
        let client = self.deps.db.within(limits::CLAIM).get().await?;
        if self.answer_lost {
            let claims = jobs::held_by(&client, &self.deps.config.claim.worker_id).await?;
            self.deps.in_flight.disown(claims);
            self.answer_lost = false;
        }
        Ok(client)
    }

    async fn claim_directly(&mut self, free: usize) -> Result<Vec<PlanJob>, DbError> {
        let mut client = self.postgres().await?;
        let (weights, turn) = self.source.shares();
        let (policy, asked_at) = (&self.deps.config.claim, Instant::now());
        let quarantine = self.quarantine.rows();
        let turns = Turns { count: free, weights, turn, policy, quarantine: &quarantine };
        let claimed = jobs::claim_waiting(&mut client, &turns).await;
        self.answer_lost = claimed.is_err();
        drop(client);
        let claimed = claimed?;
        self.source.picked(claimed.done.len());
        if claimed.done.is_empty() {
            self.source.pause().await;
        }
        Ok(self.held_of(claimed, asked_at))
    }
}

fn job_ids(taken: &Taken) -> Vec<Uuid> {
    taken.iter().filter_map(|(_, message)| Message::job_id(message)).collect()
}
