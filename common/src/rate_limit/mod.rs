//! Rate limits per user: GCRA in one Redis call.
//!
//! The generic cell rate algorithm keeps one time per user and policy and needs
//! no windows: `quota` units at once, then one more every `window / quota`.
//! Several policies are decided together: all pass and are counted, or none is.
//! While Redis is away, each process applies the same quotas by itself
//! (`degraded`).

mod degraded;
pub mod fields;
mod policy;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::Script;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::redis::{Redis, RedisError};
use degraded::Degraded;

pub use policy::{Check, Decision, RatePolicy};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rate_limit.lua")));

/// After a failure Redis is not called for this time.
const PAUSE: Duration = Duration::from_secs(1);

/// The operation on a unit of each policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Units {
    Take = 1,
    Look = 0,
    GiveBack = -1,
}

/// Why Redis did not decide.
#[derive(Debug, thiserror::Error)]
enum RedisAway {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the script's reply has another shape")]
    Reply,
}

/// The rate limiter, one per process.
#[derive(Debug)]
pub struct RateLimiter {
    redis: Redis,
    patience: Duration,
    degraded: Degraded,
    is_degraded: AtomicBool,
    /// Until when Redis is not called.
    paused_until: Mutex<Option<Instant>>,
}

impl RateLimiter {
    /// A limiter over `redis`. A Redis slower than `patience` counts as away, because a
    /// request waits for it.
    pub fn new(redis: Redis, patience: Duration) -> Self {
        metrics::gauge!("regimen_rate_limiter_mode").set(0.0);
        Self {
            redis,
            patience,
            degraded: Degraded::default(),
            is_degraded: AtomicBool::new(false),
            paused_until: Mutex::new(None),
        }
    }

    /// Takes one unit of every policy for `subject`, or none.
    pub async fn take(&self, subject: &str, policies: &[RatePolicy]) -> Decision {
        self.decide(Units::Take, subject, policies).await
    }

    /// The remaining units, without taking any.
    pub async fn look(&self, subject: &str, policies: &[RatePolicy]) -> Decision {
        self.decide(Units::Look, subject, policies).await
    }

    /// Refunds what [`RateLimiter::take`] took, because the request created nothing.
    /// Returns the remaining units.
    pub async fn give_back(&self, subject: &str, policies: &[RatePolicy]) -> Decision {
        self.decide(Units::GiveBack, subject, policies).await
    }

    /// Whether the latest decision was made without Redis.
    pub fn is_degraded(&self) -> bool {
        self.is_degraded.load(Ordering::Relaxed)
    }

    /// Removes users whose quota is full again; call it on a timer.
    pub fn retain_recent(&self) {
        self.degraded.retain_recent();
    }

    async fn decide(&self, units: Units, subject: &str, policies: &[RatePolicy]) -> Decision {
        if policies.is_empty() {
            return Decision::default();
        }
        match self.ask_redis(units, subject, policies, 0).await {
            Some(decision) => decision,
            None => self.degraded.decide(units, subject, policies),
        }
    }

    /// Redis's decision, or none while it is away.
    async fn ask_redis(
        &self,
        units: Units,
        subject: &str,
        policies: &[RatePolicy],
        clock_offset_micros: i64,
    ) -> Option<Decision> {
        if !self.redis.works() {
            self.set_mode(true);
            return None;
        }
        if self.paused_until.lock().await.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        match self.run_script(units, subject, policies, clock_offset_micros).await {
            Ok((_, decision)) => {
                self.set_mode(false);
                Some(decision)
            }
            Err(error) => {
                *self.paused_until.lock().await = Some(Instant::now() + PAUSE);
                self.redis.doubt();
                self.set_mode(true);
                tracing::debug!(%error, "the rate limiter decides without Redis");
                None
            }
        }
    }

    /// The decision, and its time by Redis's clock in microseconds.
    async fn run_script(
        &self,
        units: Units,
        subject: &str,
        policies: &[RatePolicy],
        clock_offset_micros: i64,
    ) -> Result<(i64, Decision), RedisAway> {
        let mut invocation = SCRIPT.prepare_invoke();
        invocation.arg(units as i64).arg(clock_offset_micros);
        for policy in policies {
            invocation.key(self.redis.key(&policy.key(subject)));
            invocation.arg(policy.interval_micros()).arg(policy.quota.get());
            invocation.arg(u8::from(!policy.shadow));
        }
        let reply: Vec<i64> = timeout(self.patience, self.redis.invoke(&invocation))
            .await
            .map_err(|_| RedisAway::TimedOut(self.patience))??;
        read_reply(&reply, policies).ok_or(RedisAway::Reply)
    }

    fn set_mode(&self, degraded: bool) {
        if self.is_degraded.swap(degraded, Ordering::Relaxed) == degraded {
            return;
        }
        metrics::gauge!("regimen_rate_limiter_mode").set(if degraded { 1.0 } else { 0.0 });
        if degraded {
            tracing::warn!("Redis is away: rate limits are kept in this process until it is back");
        } else {
            tracing::info!("Redis is back: rate limits are shared again");
        }
    }
}

/// Four numbers per policy after the time, as the script documents.
fn read_reply(reply: &[i64], policies: &[RatePolicy]) -> Option<(i64, Decision)> {
    let (&now, rest) = reply.split_first()?;
    let (groups, left_over) = rest.as_chunks::<4>();
    if groups.len() != policies.len() || !left_over.is_empty() {
        return None;
    }
    let micros = |value: i64| Some(Duration::from_micros(u64::try_from(value).ok()?));
    let checks = policies.iter().zip(groups).map(|(policy, &[passes, left, next, wait])| {
        Some(Check {
            policy: policy.clone(),
            passes: passes == 1,
            remaining: u32::try_from(left).ok()?,
            next_unit: micros(next)?,
            retry_after: micros(wait)?,
        })
    });
    Some((now, Decision { checks: checks.collect::<Option<_>>()?, degraded: false }))
}

#[cfg(test)]
mod tests;
