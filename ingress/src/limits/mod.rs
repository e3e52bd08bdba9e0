//! Rate limits of generations, and the limit of the backlog.
//!
//! [`limited`] wraps the routes it is given. It takes a unit before the handler
//! runs and refunds it when the request creates nothing, so an invalid body or
//! a repeated response uses nothing up. Beyond the limit a request with an
//! idempotency key still passes, as [`OverLimit`], to get its stored response.

mod backpressure;
mod layer;
mod rates;
mod tiers;

use std::sync::{Arc, Weak};
use std::time::Duration;

use regimen_common::config::Env;
use regimen_common::db::Pool;
use regimen_common::rate_limit::RateLimiter;
use regimen_common::redis::Redis;

pub use backpressure::Backpressure;
pub use layer::{Action, OverLimit, StoresTargets, limited};
pub use rates::{Rate, RateConfig};
pub use tiers::Tiers;

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The settings of this module.
#[derive(Debug, Clone)]
pub struct UsageLimits {
    /// The rates.
    pub rates: RateConfig,
    /// `RATE_LIMIT_PATIENCE_SECONDS`: Redis slower than this counts as away.
    pub patience: Duration,
    /// `MAX_QUEUED`: the limit of the backlog.
    pub max_queued: u32,
    /// `MONTHLY_QUOTA`: whether `plans.monthly_ai_generations` is enforced.
    pub monthly_quota: bool,
}

impl UsageLimits {
    /// Reads the variables; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        Self {
            rates: RateConfig::from_env(env),
            patience: env.seconds("RATE_LIMIT_PATIENCE_SECONDS", 0.25),
            max_queued: env.number("MAX_QUEUED", 20_000, 1..=10_000_000),
            monthly_quota: env.flag("MONTHLY_QUOTA", true),
        }
    }
}

/// The limits, and what they need to know of users.
#[derive(Debug)]
pub struct RateLimits {
    /// The settings.
    pub config: UsageLimits,
    /// The rate limiter.
    pub limiter: RateLimiter,
    /// The users' plan tiers.
    pub tiers: Tiers,
    /// The backlog.
    pub backpressure: Backpressure,
}

impl RateLimits {
    /// Over the process's Redis and Postgres.
    pub fn new(config: UsageLimits, redis: Redis, db: Pool) -> Self {
        Self {
            limiter: RateLimiter::new(redis, config.patience),
            tiers: Tiers::new(db.clone()),
            backpressure: Backpressure::new(db, config.max_queued),
            config,
        }
    }

    /// Removes outdated entries on a timer, until the limits are dropped.
    pub fn sweep_while_alive(self: &Arc<Self>) {
        let limits: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut timer = tokio::time::interval(SWEEP_EVERY);
            loop {
                timer.tick().await;
                let Some(limits) = limits.upgrade() else { return };
                limits.limiter.retain_recent();
                limits.tiers.sweep();
            }
        });
    }
}
