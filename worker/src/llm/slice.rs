//! Divides the job's deadline among the remaining slots, so that a hanging
//! provider leaves time for the others.

use std::time::Duration;

use tokio::time::Instant;

use super::Timeouts;
use super::policy::FallbackPolicy;

/// One slot's share of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// The end of the turn of a provider that sends nothing.
    until: Instant,
    /// The limit of a reply that is streaming.
    limit: Instant,
}

impl Slice {
    /// The share of the first of `slots` slots. A silent provider gets an equal part of
    /// the time left, but at least the floor; a reply that is streaming may take up to
    /// half of it, and the last slot all of it. `None` when less than the floor is left.
    pub fn first_of(
        slots: usize,
        now: Instant,
        deadline: Instant,
        policy: &FallbackPolicy,
    ) -> Option<Self> {
        let left = deadline.checked_duration_since(now)?;
        if left < policy.floor {
            return None;
        }
        let slots = u32::try_from(slots.max(1)).unwrap_or(u32::MAX);
        let share = (left / slots).max(policy.floor).min(left);
        let limit = if slots == 1 { left } else { share.max(left / 2) };
        Some(Self { until: now + share, limit: now + limit })
    }

    /// When the turn of a silent provider ends.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// The time left of the turn.
    pub fn left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }

    /// The time limits of a call made now.
    pub fn timeouts(&self, now: Instant, policy: &FallbackPolicy) -> Timeouts {
        Timeouts {
            first_byte: policy.first_byte.min(self.left(now)),
            stall: policy.stall,
            total: self.limit.saturating_duration_since(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> FallbackPolicy {
        FallbackPolicy::default()
    }

    #[test]
    fn three_silent_providers_leave_the_fourth_its_share() {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(180);
        let mut now = start;
        for slots in (1..=4).rev() {
            let slice = Slice::first_of(slots, now, deadline, &policy()).unwrap();
            assert_eq!(slice.left(now), Duration::from_secs(45));
            now = slice.until();
        }
        assert_eq!(now, deadline);
        assert_eq!(Slice::first_of(1, now, deadline, &policy()), None);
    }

    #[test]
    fn a_reply_that_flows_gets_half_and_the_last_rung_everything() {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(180);
        let first = Slice::first_of(4, now, deadline, &policy()).unwrap();
        let timeouts = first.timeouts(now, &policy());
        assert_eq!(timeouts.first_byte, Duration::from_secs(45));
        assert_eq!(timeouts.total, Duration::from_secs(90));
        let last = Slice::first_of(1, now, deadline, &policy()).unwrap();
        assert_eq!(last.timeouts(now, &policy()).first_byte, Duration::from_secs(60));
        assert_eq!(last.timeouts(now, &policy()).total, Duration::from_secs(180));
    }

    proptest! {
        #[test]
        fn a_slice_never_leaves_the_deadline(slots in 1..9_usize, left in 0..400_u64) {
            let now = Instant::now();
            let deadline = now + Duration::from_secs(left);
            match Slice::first_of(slots, now, deadline, &policy()) {
                None => prop_assert!(Duration::from_secs(left) < policy().floor),
                Some(slice) => {
                    prop_assert!(slice.until <= slice.limit && slice.limit <= deadline);
                    prop_assert!(slice.left(now) >= policy().floor);
                }
            }
        }
    }
}
