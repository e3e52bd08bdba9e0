//! The numbers of the fallback: attempts, waits, timeouts and thresholds.

use std::time::Duration;

use regimen_common::config::Env;

/// Attempts, waits and thresholds of provider calls. The defaults suit real providers;
/// tests use shorter times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FallbackPolicy {
    /// Calls to one provider within one job run.
    pub attempts: u32,
    /// The ceiling of the first backoff; doubles with each attempt.
    pub backoff_base: Duration,
    /// The highest ceiling of a backoff.
    pub backoff_cap: Duration,
    /// A call is not made with less time than this.
    pub floor: Duration,
    /// To the first byte of a reply; a reasoning model may be silent for long.
    pub first_byte: Duration,
    /// Between two pieces of a reply.
    pub stall: Duration,
    /// Weighted failures in a row that open a provider's breaker.
    pub breaker_threshold: u32,
    /// How long a breaker stays open the first time; doubles with each failed probe.
    pub breaker_open: Duration,
    /// The longest a breaker stays open for temporary failures.
    pub breaker_cap: Duration,
    /// How long a breaker stays open when money or a daily quota has run out.
    pub broke: Duration,
    /// The longest a breaker stays open for a bad key or an unknown model: at first as
    /// long as for money, and twice as long each time the fault is found again. A changed
    /// key or model has its own breaker, so this ends with the configuration that caused
    /// it.
    pub misconfigured: Duration,
    /// The cool-down after a rate limit without a retry-after.
    pub cool_down: Duration,
}

impl Default for FallbackPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff_base: Duration::from_secs(2),
            backoff_cap: Duration::from_secs(10),
            floor: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            breaker_threshold: 10,
            breaker_open: Duration::from_secs(15),
            breaker_cap: Duration::from_secs(300),
            broke: Duration::from_secs(15 * 60),
            misconfigured: Duration::from_secs(24 * 3600),
            cool_down: Duration::from_secs(2),
        }
    }
}

impl FallbackPolicy {
    /// Reads the `PROVIDER_*` settings; unset ones keep the defaults above.
    pub fn from_env(env: &mut Env) -> Self {
        let default = Self::default();
        let policy = Self {
            attempts: env.number("PROVIDER_ATTEMPTS", default.attempts, 1..=10),
            backoff_base: env
                .seconds("PROVIDER_BACKOFF_SECONDS", default.backoff_base.as_secs_f64()),
            backoff_cap: env
                .seconds("PROVIDER_BACKOFF_CAP_SECONDS", default.backoff_cap.as_secs_f64()),
            first_byte: env
                .seconds("PROVIDER_FIRST_BYTE_SECONDS", default.first_byte.as_secs_f64()),
            stall: env.seconds("PROVIDER_STALL_SECONDS", default.stall.as_secs_f64()),
            breaker_open: env
                .seconds("PROVIDER_BREAKER_SECONDS", default.breaker_open.as_secs_f64()),
            ..default
        };
        if policy.backoff_cap < policy.backoff_base {
            env.error("PROVIDER_BACKOFF_CAP_SECONDS", "must not be below PROVIDER_BACKOFF_SECONDS");
        }
        policy
    }
}
