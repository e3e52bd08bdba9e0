//! The one back-off function, used by everything that is retried.

use std::time::Duration;

/// The wait after this many failures: `first` after one, then doubled each time, at most
/// `cap`.
pub fn backoff(failures: u32, first: Duration, cap: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(cap)
}

/// The same with jitter, so that simultaneous failures are not retried simultaneously:
/// `draw`, from 0 to 1, selects a wait between `least` (a share of it, 0 for full jitter)
/// and all of it.
pub fn jittered(wait: Duration, least: f64, draw: f64) -> Duration {
    wait.mul_f64(least + (1.0 - least) * draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits = [0, 1, 2, 3, 4, 5, u32::MAX].map(|n| backoff(n, SECOND, 10 * SECOND).as_secs());
        assert_eq!(waits, [1, 1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff(u32::MAX, Duration::MAX, Duration::MAX), Duration::MAX);
    }

    #[test]
    fn jitter_keeps_within_its_bounds() {
        let of = |least, draw| jittered(10 * SECOND, least, draw).as_secs();
        assert_eq!([of(0.0, 0.0), of(0.0, 0.5), of(0.0, 1.0)], [0, 5, 10]);
        assert_eq!([of(0.5, 0.0), of(0.5, 0.5), of(0.5, 7.0)], [5, 7, 10]);
    }
}
