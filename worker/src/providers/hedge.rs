//! What the optional hedge goes by: how long a provider's good replies take,
//! and how many calls may be hedged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Replies remembered per rung.
const WINDOW: usize = 200;
/// Fewer than this say nothing about a 95th percentile.
const ENOUGH: usize = 20;
/// One call in this many may be hedged.
const ONE_IN: u64 = 20;

/// The durations of the latest good replies.
#[derive(Debug, Default)]
pub struct Latency(Mutex<VecDeque<Duration>>);

impl Latency {
    /// Takes in how long a good reply took.
    pub fn record(&self, took: Duration) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.len() == WINDOW {
            window.pop_front();
        }
        window.push_back(took);
    }

    /// The 95th percentile, once enough is known.
    pub fn p95(&self) -> Option<Duration> {
        let mut sorted: Vec<Duration> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        if sorted.len() < ENOUGH {
            return None;
        }
        sorted.sort_unstable();
        sorted.get((sorted.len() * 95).div_ceil(100).saturating_sub(1)).copied()
    }
}

/// Keeps hedges to a small part of all calls.
#[derive(Debug, Default)]
pub struct HedgeBudget {
    calls: AtomicU64,
    hedges: AtomicU64,
}

impl HedgeBudget {
    /// Counts a call.
    pub fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one hedge out of the budget; false when 5 % of the calls are used up.
    pub fn take(&self) -> bool {
        let most = self.calls.load(Ordering::Relaxed) / ONE_IN;
        let step = |hedges| (hedges < most).then_some(hedges + 1);
        self.hedges.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_needs_enough_replies_and_forgets_old_ones() {
        let latency = Latency::default();
        for second in 1..=19 {
            latency.record(Duration::from_secs(second));
        }
        assert_eq!(latency.p95(), None);
        latency.record(Duration::from_secs(20));
        assert_eq!(latency.p95(), Some(Duration::from_secs(19)));
        for _ in 0..200 {
            latency.record(Duration::from_secs(7));
        }
        assert_eq!(latency.p95(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn one_call_in_twenty_may_be_hedged() {
        let budget = HedgeBudget::default();
        let mut hedges = 0;
        for _ in 0..1_000 {
            budget.called();
            hedges += u32::from(budget.take());
        }
        assert_eq!(hedges, 50);
    }
}
