//! An active rule: its settings, and how often it has matched and acted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::provider::Provider;

use super::action::Action;
use super::settings::{Per, RuleSpec};

/// An active rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) spec: RuleSpec,
    pub(crate) action: Arc<Action>,
    /// Cancelled when held calls may continue.
    pub(crate) released: CancellationToken,
    all: Counter,
    by_seed: Mutex<HashMap<String, Arc<Counter>>>,
}

#[derive(Debug, Default)]
struct Counter {
    matched: AtomicU64,
    used: AtomicU64,
}

impl Rule {
    /// A rule that has matched no call yet.
    pub(crate) fn new(number: u64, spec: RuleSpec) -> Self {
        Self {
            name: spec.name.clone().unwrap_or_else(|| format!("rule-{number}")),
            action: Arc::new(spec.action.clone()),
            released: CancellationToken::new(),
            all: Counter::default(),
            by_seed: Mutex::default(),
            spec,
        }
    }

    /// Whether the rule matches calls like this one, apart from the marker.
    pub(crate) fn is_for(&self, provider: Provider, model: &str) -> bool {
        self.spec.provider.is_none_or(|wanted| wanted == provider)
            && self.spec.model.as_ref().is_none_or(|wanted| wanted == model)
    }

    /// Counts a matching call on which the rule no longer acts.
    pub(crate) fn pass(&self, seed: Option<&str>) {
        self.count(seed);
    }

    /// Counts a matching call; returns whether the rule acts on it.
    pub(crate) fn take(&self, seed: Option<&str>) -> bool {
        let number = self.count(seed);
        if self.spec.nth.as_ref().is_some_and(|nth| !nth.contains(number)) {
            return false;
        }
        let counter = self.counter(seed);
        let used = counter.as_deref().unwrap_or(&self.all);
        let most = self.spec.times.unwrap_or(u64::MAX);
        let step = |used| (used < most).then_some(used + 1);
        let taken = used.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).is_ok();
        if taken && counter.is_some() {
            self.all.used.fetch_add(1, Ordering::SeqCst);
        }
        taken
    }

    /// The numbers of calls that matched and of those acted on.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.all.matched.load(Ordering::SeqCst), self.all.used.load(Ordering::SeqCst))
    }

    /// The number of this call, from 1, in the rule's counter.
    fn count(&self, seed: Option<&str>) -> u64 {
        let overall = self.all.matched.fetch_add(1, Ordering::SeqCst) + 1;
        match self.counter(seed) {
            None => overall,
            Some(own) => own.matched.fetch_add(1, Ordering::SeqCst) + 1,
        }
    }

    /// The counter of `seed`, if the rule counts by seed. Calls without a seed share one.
    fn counter(&self, seed: Option<&str>) -> Option<Arc<Counter>> {
        self.spec.per.map(|Per::Seed| {
            let mut counters = self.by_seed.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(counters.entry(seed.unwrap_or_default().to_owned()).or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(settings: serde_json::Value) -> Rule {
        Rule::new(1, serde_json::from_value(settings).unwrap())
    }

    #[test]
    fn times_and_nth_count_over_all_calls() {
        let twice = rule(json!({"times": 2, "action": {"do": "hang"}}));
        assert_eq!([0; 4].map(|_| twice.take(None)), [true, true, false, false]);
        assert_eq!(twice.counts(), (4, 2));
        let third = rule(json!({"nth": 3, "action": {"do": "hang"}}));
        assert_eq!([0; 4].map(|_| third.take(None)), [false, false, true, false]);
    }

    #[test]
    fn a_rule_per_seed_starts_over_for_each() {
        let first = rule(json!({"nth": 1, "per": "seed", "action": {"do": "hang"}}));
        let taken = ["a", "b", "a", "b"].map(|seed| first.take(Some(seed)));
        assert_eq!(taken, [true, true, false, false]);
    }
}
