//! How long a provider's good replies take, for the optional hedge.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Replies remembered per rung.
const WINDOW: usize = 200;
/// Fewer than this say nothing about a 95th percentile.
const ENOUGH: usize = 20;

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
}
