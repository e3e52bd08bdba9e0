//! Where plan tasks come from: ids popped from Redis, or straight from
//! Postgres while Redis is away, claimed in one statement.
//!
//! Invariant: never more is claimed than there are free slots. A job claimed
//! here starts at once; nothing waits in a buffer under a lease. A drain ends
//! waiting, never a pop or a claim that is under way.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Client;
use regimen_common::db::DbError;
use regimen_common::db::jobs::{self, Claimed, Held};
use regimen_common::kv::{BlockingLink, Kv, KvError};
use regimen_common::queue::{List, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::env::Env;
use crate::holdings::Holding;

/// How long an idle worker blocks on the token list before it looks again.
const IDLE_WAIT: Duration = Duration::from_secs(5);
/// After so long without Redis, jobs are taken from Postgres directly.
const REDIS_PATIENCE: Duration = Duration::from_secs(3);
/// How often Redis is asked whether it is back, and how long it may take.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Between two looks after a failure, or at an empty queue without Redis.
const BACKOFF: Duration = Duration::from_millis(250);
/// How long a draining worker tries to wake another one.
const WAKE_PATIENCE: Duration = Duration::from_secs(1);

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
        env,
        link: None,
        redis: Redis::Here,
        turn: 0,
        answer_lost: false,
    };
    intake.run(&tasks).await;
    // A token this worker may have taken and not followed.
    let _ = timeout(WAKE_PATIENCE, intake.env.queue.wake(List::Pro)).await;
}

/// What is known of Redis.
enum Redis {
    Here,
    /// Since when it fails.
    Failing(Instant),
    /// Given up on; the task ends when it answers again.
    Away(AbortOnDropHandle<()>),
}

struct Intake {
    env: Arc<Env>,
    drain: CancellationToken,
    slots: Arc<Semaphore>,
    /// The connection that blocks on the token list.
    link: Option<BlockingLink>,
    redis: Redis,
    /// Picks so far, so that small pops keep the classes' shares.
    turn: u64,
    /// A claim may have been made whose answer did not arrive.
    answer_lost: bool,
}

impl Intake {
    async fn run(&mut self, tasks: &mpsc::Sender<PlanTask>) {
        loop {
            let acquired = Arc::clone(&self.slots).acquire_owned();
            let Some(Ok(slot)) = self.drain.run_until_cancelled(acquired).await else { return };
            let free = 1 + self.slots.available_permits();
            let asked_at = Instant::now();
            let claimed = self.next(free).await;
            let mut slot = Some(slot);
            for task in self.held(claimed, asked_at) {
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

    /// What fits `free` slots, or nothing after a wait. Postgres is asked for
    /// a connection first: an id that cannot be claimed stays in Redis.
    async fn next(&mut self, free: usize) -> Vec<Claimed> {
        let client = match self.postgres().await {
            Ok(client) => client,
            Err(error) => {
                self.claim_failed(&error).await;
                return Vec::new();
            }
        };
        self.notice_return();
        let claimed = match &self.redis {
            Redis::Away(_) => self.claim_directly(client, free).await,
            Redis::Here | Redis::Failing(_) => match self.pop(free).await {
                Ok(ids) if ids.is_empty() => {
                    drop(client);
                    self.sleep_until_woken().await;
                    return Vec::new();
                }
                Ok(ids) => jobs::claim(&client, &ids, &self.env.config.claim).await,
                Err(reason) => {
                    drop(client);
                    self.redis_failed(&reason).await;
                    return Vec::new();
                }
            },
        };
        match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                self.answer_lost = true;
                self.claim_failed(&error).await;
                Vec::new()
            }
        }
    }

    /// A connection. After a claim without an answer, what may stand in our
    /// name is handed back first.
    async fn postgres(&mut self) -> Result<Client, DbError> {
        let client = self.env.db.get().await?;
        if self.answer_lost {
            let claims = jobs::held_by(&client, &self.env.config.claim.worker_id).await?;
            self.env.holdings.disown(claims);
            self.answer_lost = false;
        }
        Ok(client)
    }

    async fn pop(&mut self, free: usize) -> Result<Vec<Uuid>, String> {
        let lists = (List::Pro, List::Free);
        let weights = self.env.paused.leave_out(lists, self.env.config.weights);
        let pop = self.env.queue.pop(lists, weights, self.turn, free);
        let messages = match timeout(REDIS_PATIENCE, pop).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("no answer".to_owned()),
        };
        self.turn = self.turn.wrapping_add(messages.len() as u64);
        self.redis = Redis::Here;
        Ok(messages.iter().filter_map(Message::job_id).collect())
    }

    async fn claim_directly(
        &mut self,
        mut client: Client,
        free: usize,
    ) -> Result<Vec<Claimed>, DbError> {
        let config = &self.env.config;
        let weights = self.env.paused.leave_out((List::Pro, List::Free), config.weights);
        let turn = self.turn;
        let claimed = jobs::claim_waiting(&mut client, free, weights, turn, &config.claim).await?;
        drop(client);
        self.turn = self.turn.wrapping_add(claimed.len() as u64);
        if claimed.is_empty() {
            self.pause().await;
        }
        Ok(claimed)
    }

    async fn redis_failed(&mut self, reason: &str) {
        tracing::warn!(reason, "cannot take job ids from Redis");
        match self.redis {
            Redis::Here => self.redis = Redis::Failing(Instant::now()),
            Redis::Failing(since) if since.elapsed() >= REDIS_PATIENCE => {
                tracing::warn!("Redis is away; taking jobs from Postgres directly");
                metrics::gauge!("regimen_redis_away").set(1.0);
                let probe = tokio::spawn(until_it_answers(self.env.kv.clone()));
                self.redis = Redis::Away(AbortOnDropHandle::new(probe));
                self.link = None;
                return;
            }
            Redis::Failing(_) | Redis::Away(_) => {}
        }
        self.pause().await;
    }

    fn notice_return(&mut self) {
        if let Redis::Away(probe) = &self.redis
            && probe.is_finished()
        {
            tracing::info!("Redis is back; taking job ids from it again");
            metrics::gauge!("regimen_redis_away").set(0.0);
            self.redis = Redis::Here;
        }
    }

    async fn sleep_until_woken(&mut self) {
        let drain = self.drain.clone();
        // A connection that silently died must not keep the worker asleep.
        let woken = timeout(2 * IDLE_WAIT, self.wait_for_token());
        if let Some(Err(_) | Ok(Err(_))) = drain.run_until_cancelled(woken).await {
            self.link = None;
            self.pause().await;
        }
    }

    async fn wait_for_token(&mut self) -> Result<(), KvError> {
        let link = match &mut self.link {
            Some(link) => link,
            none => none.insert(self.env.queue.blocking().await?),
        };
        self.env.queue.wait(link, List::Pro, IDLE_WAIT).await
    }

    async fn claim_failed(&self, error: &DbError) {
        metrics::counter!("regimen_claim_failures_total").increment(1);
        tracing::warn!(%error, "could not claim jobs; trying again");
        self.pause().await;
    }

    async fn pause(&self) {
        self.drain.run_until_cancelled(sleep(BACKOFF)).await;
    }
}

/// Returns once Redis answers.
async fn until_it_answers(kv: Kv) {
    let ping = redis::cmd("PING");
    while !matches!(timeout(PROBE_EVERY, kv.query::<String>(&ping)).await, Ok(Ok(_))) {
        sleep(PROBE_EVERY).await;
    }
}
