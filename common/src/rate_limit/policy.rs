//! Rate-limit policies and decisions.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// `quota` units at once, one more every `window / quota`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatePolicy {
    /// Its name in keys, headers and metrics: `a-z`, `0-9` and `-`.
    pub name: Arc<str>,
    /// Units per window.
    pub quota: NonZeroU32,
    /// The time in which all units are restored.
    pub window: Duration,
    /// Only reported, never refused, to try a policy out.
    pub shadow: bool,
}

impl RatePolicy {
    /// The time in which one unit is restored; at least a microsecond.
    pub fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_micros())
    }

    pub(super) fn interval_micros(&self) -> u64 {
        let window = u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX);
        (window / u64::from(self.quota.get())).max(1)
    }

    /// A changed quota starts with new state, because the old time would mean something
    /// else.
    pub(super) fn key(&self, subject: &str) -> String {
        format!("rate:{}:{}:{}:{subject}", self.name, self.quota, self.window.as_secs())
    }
}

/// One policy's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The policy.
    pub policy: RatePolicy,
    /// Whether this policy alone passes.
    pub passes: bool,
    /// Units left after the decision.
    pub remaining: u32,
    /// Until one more unit is available.
    pub next_unit: Duration,
    /// Until this policy would pass; zero if it passes.
    pub retry_after: Duration,
}

/// The decision of all policies together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// In the order of the request.
    pub checks: Vec<Check>,
    /// Whether this process decided alone, because Redis was away.
    pub degraded: bool,
}

impl Decision {
    /// Whether the request passes. Shadow policies are ignored.
    pub fn passes(&self) -> bool {
        self.violated().next().is_none()
    }

    /// The policies that refuse the request.
    pub fn violated(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passes && !check.policy.shadow)
    }

    /// When a retry makes sense; zero if the request passes.
    pub fn retry_after(&self) -> Duration {
        self.violated().map(|check| check.retry_after).max().unwrap_or_default()
    }
}
