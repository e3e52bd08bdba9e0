//! The dependencies of jobs, built once at start. No globals.

use std::sync::Arc;

use regimen_common::clock::Clock;
use regimen_common::db::Pool;
use regimen_common::db::{self, DbError, StatementLimits};
use regimen_common::dispatch::{List, Queue, Weights};
use regimen_common::readiness::VitalTasks;
use regimen_common::redis::{Redis, RedisError};
use regimen_common::shutdown::Shutdown;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budgets;
use crate::config::WorkerConfig;
use crate::llm::fallback::Fallback;
use crate::mail::Mailer;
use crate::runner;
use crate::runner::announce::Announcer;
use crate::runner::in_flight::InFlight;
use crate::runner::paused::PausedQueues;
use crate::runner::redis_source::RedisSource;
use crate::stripe::StripeReader;
use crate::webhook::{SystemLookup, WebhookSender};
use crate::writes::Writes;

/// The worker's dependencies.
#[derive(Debug)]
pub struct Deps {
    /// The settings.
    pub config: WorkerConfig,
    /// Postgres.
    pub db: Pool,
    /// The heartbeat's own connection.
    pub heartbeat_db: Pool,
    /// Redis.
    pub redis: Redis,
    /// The dispatch lists.
    pub queue: Queue,
    /// The jobs that this process holds.
    pub in_flight: InFlight,
    /// The writes of plan jobs.
    pub writes: Writes,
    /// Pushes and notices to the fleet.
    pub announcer: Announcer,
    /// The paused queues.
    pub paused: PausedQueues,
    /// The budgets.
    pub budgets: Budgets,
    /// The AI providers, in their order.
    pub fallback: Fallback,
    /// Reads from Stripe.
    pub stripe: StripeReader,
    /// Sends mails, if there is a mail server.
    pub mailer: Option<Mailer>,
    /// Sends callbacks, if there is a secret to sign them with.
    pub webhook_sender: Option<WebhookSender>,
    /// The time.
    pub clock: Clock,
    /// Drain and stop.
    pub shutdown: Shutdown,
    /// Tasks that must not end while the process runs.
    pub vital: VitalTasks,
    /// Cancelled when the drain time is over: pending writes are given up.
    pub cancellation: CancellationToken,
    /// Tasks that must end before the process does, besides the handlers.
    pub tasks: TaskTracker,
}

/// Why the worker could not be built.
#[derive(Debug, thiserror::Error)]
pub enum DepsError {
    /// The Postgres settings are unusable.
    #[error("DATABASE_URL: {0}")]
    Db(#[from] DbError),
    /// The Redis settings are unusable.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// An HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// TLS to the mail server could not be set up.
    #[error("cannot set up the mail server's TLS: {0}")]
    Mail(#[from] lettre::transport::smtp::Error),
}

impl Deps {
    /// Builds the dependencies. It connects to nothing: a store that is away delays work,
    /// not the start.
    ///
    /// # Errors
    /// A setting is unusable.
    pub fn new(config: WorkerConfig, shutdown: Shutdown) -> Result<Arc<Self>, DepsError> {
        let (url, size) = (&config.database_url, config.database_pool_size);
        let db = db::pool_with(url, size, "regimen-worker", StatementLimits::WORK)?;
        let redis = Redis::new(&config.redis_url, &config.redis_prefix)?;
        let heartbeat_db = db::heartbeat_pool(url)?;
        let clock = Clock::system();
        let mailer = config.mail.clone().map(|mail| Mailer::new(mail, clock.clone()));
        let (lookup, rng) = (Arc::new(SystemLookup), rand::make_rng());
        let webhook_sender = WebhookSender::new(&config.callbacks, lookup, clock.clone(), rng)?;
        Ok(Arc::new(Self {
            cancellation: CancellationToken::new(),
            tasks: TaskTracker::new(),
            vital: VitalTasks::new(shutdown.drain.clone()),
            heartbeat_db,
            queue: Queue::new(redis.clone()),
            in_flight: InFlight::default(),
            writes: Writes::new(&db, config.claim.per_user),
            paused: PausedQueues::default(),
            announcer: Announcer::start(redis.clone()),
            budgets: Budgets::new(redis.clone(), config.budgets, Box::new(db.clone())),
            fallback: fallback(&config, redis.clone())?,
            stripe: StripeReader::new(
                config.stripe.access.clone(),
                clock.clone(),
                rand::make_rng(),
            )?,
            mailer: mailer.transpose()?,
            webhook_sender,
            clock,
            redis,
            db,
            config,
            shutdown,
        }))
    }
}

impl Deps {
    /// What the runner needs of this process.
    pub fn context(&self) -> runner::Context {
        runner::Context {
            db: self.db.clone(),
            in_flight: self.in_flight.clone(),
            announcer: self.announcer.clone(),
            shutdown: self.shutdown.clone(),
            cancellation: self.cancellation.clone(),
            tasks: self.tasks.clone(),
            worker_id: self.config.claim.worker_id.clone(),
            drain: self.config.drain,
        }
    }

    /// The two `lists` with these weights, until a drain begins.
    pub fn redis_source(&self, lists: (List, List), weights: Weights) -> RedisSource {
        let drain = self.shutdown.drain.clone();
        RedisSource::new(self.queue.clone(), self.paused.clone(), drain, lists, weights)
    }
}

fn fallback(config: &WorkerConfig, redis: Redis) -> Result<Fallback, DepsError> {
    let clock = Clock::system();
    let slots = Fallback::slots(&config.providers, clock.clone())?;
    let catalogue = config.catalogue.clone();
    let rng = rand::make_rng();
    Ok(Fallback::new(slots, catalogue, config.fallback, Some(redis), clock, rng))
}
