//! Everything a job may use, built once in main. No globals.

use std::sync::Arc;

use regimen_common::clock::Clock;
use regimen_common::db::Pool;
use regimen_common::db::{self, DbError, Limits};
use regimen_common::kv::{Kv, KvError};
use regimen_common::queue::Queue;
use regimen_common::shutdown::Shutdown;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::announce::Announcer;
use crate::budget::Budgets;
use crate::callbacks::{Courier, SystemLookup};
use crate::config::WorkerConfig;
use crate::holdings::Holdings;
use crate::jobs::generate::Generator;
use crate::mail::Mailer;
use crate::pauses::PausedQueues;
use crate::providers::fallback::Ladder;
use crate::stripe::StripeReader;

/// The worker's dependencies.
#[derive(Debug)]
pub struct Env {
    /// The settings.
    pub config: WorkerConfig,
    /// Postgres.
    pub db: Pool,
    /// The heartbeat's own connection.
    pub pulse: Pool,
    /// Redis.
    pub kv: Kv,
    /// The dispatch lists.
    pub queue: Queue,
    /// What this process holds.
    pub holdings: Holdings,
    /// Tells the fleet what was committed.
    pub announcer: Announcer,
    /// Which queues operators have paused.
    pub paused: PausedQueues,
    /// What may be spent.
    pub budgets: Budgets,
    /// Prompt, ladder and verification.
    pub generator: Generator,
    /// Reads from Stripe.
    pub stripe: StripeReader,
    /// Sends mails, if there is a mail server.
    pub mailer: Option<Mailer>,
    /// Sends callbacks, if there is a secret to sign them with.
    pub courier: Option<Courier>,
    /// The time.
    pub clock: Clock,
    /// Drain and stop.
    pub shutdown: Shutdown,
    /// Cancelled when a drain is over: what cannot be written now is left.
    pub let_go: CancellationToken,
    /// What must come to its end before the process does, beside the handlers.
    pub tasks: TaskTracker,
}

/// Why the worker could not be built.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// The Postgres settings are unusable.
    #[error("DATABASE_URL: {0}")]
    Db(#[from] DbError),
    /// The Redis settings are unusable.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// An HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// TLS to the mail server could not be set up.
    #[error("cannot set up the mail server's TLS: {0}")]
    Mail(#[from] lettre::transport::smtp::Error),
}

impl Env {
    /// Builds the dependencies. Nothing is connected yet: a store that is away
    /// delays work, not the start.
    ///
    /// # Errors
    /// A setting is unusable.
    pub fn new(config: WorkerConfig, shutdown: Shutdown) -> Result<Arc<Self>, EnvError> {
        let (url, size) = (&config.database_url, config.database_pool_size);
        let db = db::pool_with(url, size, "regimen-worker", Limits::WORK)?;
        let kv = Kv::new(&config.redis_url, &config.redis_prefix)?;
        let pulse = db::pool(url, 1, "regimen-worker-heartbeat")?;
        let clock = Clock::system();
        let mailer = config.mail.clone().map(|mail| Mailer::new(mail, clock.clone()));
        let (lookup, rng) = (Arc::new(SystemLookup), rand::make_rng());
        let courier = Courier::new(&config.callbacks, lookup, clock.clone(), rng)?;
        Ok(Arc::new(Self {
            let_go: CancellationToken::new(),
            tasks: TaskTracker::new(),
            pulse,
            queue: Queue::new(kv.clone()),
            holdings: Holdings::default(),
            paused: PausedQueues::default(),
            announcer: Announcer::start(kv.clone()),
            budgets: Budgets::new(kv.clone(), config.budgets, Box::new(db.clone())),
            generator: Generator::new(ladder(&config, kv.clone())?),
            stripe: StripeReader::new(config.stripe.access.clone(), clock.clone())?,
            mailer: mailer.transpose()?,
            courier,
            clock,
            kv,
            db,
            config,
            shutdown,
        }))
    }
}

fn ladder(config: &WorkerConfig, kv: Kv) -> Result<Ladder, EnvError> {
    let clock = Clock::system();
    let rungs = Ladder::rungs(&config.providers, clock.clone())?;
    let catalogue = config.catalogue.clone();
    let rng = rand::make_rng();
    Ok(Ladder::new(rungs, catalogue, config.ladder, Some(kv), clock, rng))
}
