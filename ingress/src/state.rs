//! The dependencies of handlers, built once at start.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use regimen_common::clock::Clock;
use regimen_common::db::Pool;
use regimen_common::db::stats::HalfDays;
use regimen_common::db::{self, DbError};
use regimen_common::dispatch::Queue;
use regimen_common::readiness::VitalTasks;
use regimen_common::redis::{Redis, RedisError};
use regimen_common::shutdown::Shutdown;
use regimen_common::stripe::StripeClient;
use tokio::sync::Semaphore;

use crate::acceptance::Submissions;
use crate::auth::{AdminTable, AuthSetupError, Authenticator};
use crate::config::IngressConfig;
use crate::limits::RateLimits;
use crate::passwords::Passwords;
use crate::probes::Probes;
use crate::stripe_api::account::AccountReader;
use crate::watching::Watching;

/// The share of the pool's connections for this.
const KEEPING_AT_ONCE: usize = 2;

/// The ingress's dependencies. Cheap to clone: several layers do so with each request.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Dependencies>);

impl Deref for AppState {
    type Target = Dependencies;

    fn deref(&self) -> &Dependencies {
        &self.0
    }
}

/// What [`AppState`] shares.
#[derive(Debug)]
pub struct Dependencies {
    /// The settings.
    pub config: Arc<IngressConfig>,
    /// Postgres.
    pub db: Pool,
    /// Redis.
    pub redis: Redis,
    /// The dispatch lists.
    pub queue: Queue,
    /// Accepts jobs.
    pub submissions: Submissions,
    /// Authentication.
    pub authenticator: Arc<Authenticator>,
    /// Operators in the app's table.
    pub admins: Arc<AdminTable>,
    /// Rate limits and quotas.
    pub limits: Arc<RateLimits>,
    /// Calls to Stripe.
    pub stripe: StripeClient,
    /// Checks operators' passwords.
    pub passwords: Passwords,
    /// All of the account at Stripe, for the operators' dashboards.
    pub account: Arc<AccountReader>,
    /// Sums for the console's charts.
    pub half_days: Arc<HalfDays>,
    /// Job changes for waiting requests, and the state of jobs.
    pub watching: Watching,
    /// Limits refused requests that store their quiz's targets.
    pub keeping_calculations: Arc<Semaphore>,
    /// The time.
    pub clock: Clock,
    /// What health checks are answered with.
    pub probes: Probes,
    /// Drain and stop.
    pub shutdown: Shutdown,
    /// Tasks that must not end while the process runs.
    pub vital: VitalTasks,
}

/// Why the ingress could not be built.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The Postgres settings are unusable.
    #[error("DATABASE_URL: {0}")]
    Db(#[from] DbError),
    /// The Redis settings are unusable.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// An HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The authentication settings are unusable.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
}

impl AppState {
    /// Builds the dependencies, inside a Tokio runtime. It connects to nothing: a store
    /// that is away shows in responses, not at the start.
    ///
    /// # Errors
    /// A setting is unusable.
    pub fn new(
        config: IngressConfig,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<Self, StateError> {
        let db = db::pool(&config.database_url, config.database_pool_size, "regimen-ingress")?;
        let redis = Redis::new(&config.redis_url, &config.redis_prefix)?;
        let access = config.stripe.access.clone();
        let stripe = StripeClient::new(access, config.stripe.timeout, rand::make_rng())?;
        let queue = Queue::new(redis.clone());
        let admins = AdminTable::new(db.clone(), config.auth.admin_table.as_ref());
        Ok(Self(Arc::new(Dependencies {
            account: Arc::new(AccountReader::new(stripe.clone())),
            stripe,
            passwords: Passwords::new(config.console.supabase.clone())?,
            admins: Arc::new(admins),
            half_days: Arc::default(),
            authenticator: Arc::new(Authenticator::new(config.auth.clone(), clock.clone())?),
            limits: Arc::new(RateLimits::new(config.usage.clone(), redis.clone(), db.clone())),
            submissions: Submissions::new(db.clone(), queue.clone()),
            queue,
            probes: Probes::new(db.clone(), redis.clone(), shutdown.drain.clone()),
            watching: Watching::new(redis.clone(), db.clone(), config.watching),
            keeping_calculations: Arc::new(Semaphore::new(KEEPING_AT_ONCE)),
            config: Arc::new(config),
            db,
            redis,
            clock,
            vital: VitalTasks::new(shutdown.drain.clone()),
            shutdown,
        })))
    }
}

impl FromRef<AppState> for Arc<Authenticator> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.authenticator)
    }
}

impl FromRef<AppState> for Arc<AdminTable> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.admins)
    }
}

impl FromRef<AppState> for Arc<RateLimits> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.limits)
    }
}
