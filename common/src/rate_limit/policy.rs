//! Rate-limit policies and decisions.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// `quota` units at once, one more every `window / quota`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatePolicy {
    /// Its name in keys, headers and metrics: `a-z`, `0-9` and `-`.
    pub name: Arc<str>,
    /// Units of the whole window.
    pub quota: NonZeroU32,
    /// The time in which all units come back.
    pub window: Duration,
    /// Only reported, never refused: for trying a policy out.
    pub shadow: bool,
}

impl RatePolicy {
    /// The time one unit takes to come back; at least a microsecond.
    pub fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_micros())
    }

    pub(super) fn interval_micros(&self) -> u64 {
        let window = u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX);
        (window / u64::from(self.quota.get())).max(1)
    }

    /// A change of the quota starts afresh, because the old time would mean
    /// something else under the new one.
    pub(super) fn key(&self, subject: &str) -> String {
        format!("rate:{}:{}:{}:{subject}", self.name, self.quota, self.window.as_secs())
    }
}

/// One policy's part of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The policy.
    pub policy: RatePolicy,
    /// Whether this policy alone would let the request pass.
    pub passes: bool,
    /// Units left after the decision.
    pub remaining: u32,
    /// Until one more unit is there.
    pub next_unit: Duration,
    /// Until this policy would let the request pass; zero when it does.
    pub retry_after: Duration,
}

/// What all policies together say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// In the order asked.
    pub checks: Vec<Check>,
    /// Whether this process decided alone, because Redis was away.
    pub degraded: bool,
}

impl Decision {
    /// Whether the request passes. Shadow policies have no say.
    pub fn passes(&self) -> bool {
        self.violated().next().is_none()
    }

    /// The policies that refuse it.
    pub fn violated(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passes && !check.policy.shadow)
    }

    /// When asking again makes sense; zero when the request passes.
    pub fn retry_after(&self) -> Duration {
        self.violated().map(|check| check.retry_after).max().unwrap_or_default()
    }
}
