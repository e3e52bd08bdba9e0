//! The same quotas without Redis: governor's GCRA in this process.
//!
//! Each process counts separately, so a user may get the quota once per
//! process. Its states start full, in favour of the user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::Units;
use super::policy::{Check, Decision, RatePolicy};

/// The limiters, created when a policy is first used.
#[derive(Default)]
pub(super) struct Degraded(Mutex<HashMap<LimiterKey, Arc<Limiter>>>);

impl std::fmt::Debug for Degraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Degraded")
    }
}

type LimiterKey = (Arc<str>, u32, Duration);
type Governor = RateLimiter<String, Shared, DefaultClock, StateInformationMiddleware>;

/// One policy's governor, with access to its states for refunds.
struct Limiter {
    governor: Governor,
    states: Shared,
    clock: DefaultClock,
}

impl Degraded {
    pub(super) fn decide(&self, units: Units, subject: &str, policies: &[RatePolicy]) -> Decision {
        let limiters: Vec<_> = policies.iter().map(|policy| self.limiter(policy)).collect();
        let pairs = || policies.iter().zip(&limiters);
        if units == Units::GiveBack {
            pairs().for_each(|(policy, limiter)| limiter.give_back(subject, policy));
        }
        let mut checks: Vec<_> =
            pairs().map(|(policy, limiter)| limiter.take(subject, policy)).collect();
        let refused = checks.iter().any(|check| !check.passes && !check.policy.shadow);
        if units != Units::Take || refused {
            for (check, limiter) in checks.iter_mut().zip(&limiters).filter(|(c, _)| c.passes) {
                limiter.give_back(subject, &check.policy);
                check.remaining += 1;
            }
        }
        Decision { checks, degraded: true }
    }

    pub(super) fn retain_recent(&self) {
        let limiters: Vec<_> = self.lock().values().cloned().collect();
        for limiter in limiters {
            limiter.governor.retain_recent();
            limiter.governor.shrink_to_fit();
        }
    }

    fn limiter(&self, policy: &RatePolicy) -> Arc<Limiter> {
        let key = (Arc::clone(&policy.name), policy.quota.get(), policy.window);
        Arc::clone(self.lock().entry(key).or_insert_with(|| Arc::new(Limiter::new(policy))))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LimiterKey, Arc<Limiter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limiter {
    fn new(policy: &RatePolicy) -> Self {
        // None only for an interval of zero, which no policy has.
        let quota = Quota::with_period(policy.interval())
            .unwrap_or_else(|| Quota::per_hour(policy.quota))
            .allow_burst(policy.quota);
        let (states, clock) = (Shared::default(), DefaultClock::default());
        let governor = Governor::new(quota, states.clone(), clock.clone());
        Self { governor, states, clock }
    }

    fn take(&self, subject: &str, policy: &RatePolicy) -> Check {
        let policy = policy.clone();
        match self.governor.check_key(&subject.to_owned()) {
            Ok(snapshot) => Check {
                passes: true,
                remaining: snapshot.remaining_burst_capacity(),
                next_unit: policy.interval(),
                retry_after: Duration::ZERO,
                policy,
            },
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Check { passes: false, remaining: 0, next_unit: wait, retry_after: wait, policy }
            }
        }
    }

    fn give_back(&self, subject: &str, policy: &RatePolicy) {
        let interval = Nanos::from(policy.interval()).as_u64();
        if let Some(state) = self.states.lock().get_mut(subject) {
            *state = Nanos::from(state.as_u64().saturating_sub(interval));
        }
    }
}

/// governor's state store, shared so that a unit can be refunded: taking one moves a
/// key's time forward by one interval, a refund moves it back.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<HashMap<String, Nanos>>>);

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Nanos>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Shared {
    type Key = String;

    fn measure_and_replace<T, F, E>(&self, key: &String, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut states = self.lock();
        let (outcome, state) = decide(states.get(key).copied())?;
        states.insert(key.clone(), state);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<String> for Shared {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, state| *state > drop_below);
    }

    fn shrink_to_fit(&self) {
        self.lock().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn policy(name: &str, quota: u32) -> RatePolicy {
        let quota = NonZeroU32::new(quota).unwrap();
        RatePolicy { name: name.into(), quota, window: Duration::from_secs(3600), shadow: false }
    }

    fn taken(degraded: &Degraded, policies: &[RatePolicy]) -> usize {
        let takes = (0..100).map(|_| degraded.decide(Units::Take, "user", policies));
        takes.take_while(Decision::passes).count()
    }

    #[test]
    fn the_quota_holds_and_says_when_to_come_back() {
        let (degraded, policies) = (Degraded::default(), [policy("a", 5)]);
        assert_eq!(degraded.decide(Units::Take, "user", &policies).checks[0].remaining, 4);
        assert_eq!(taken(&degraded, &policies), 4);
        let wait = degraded.decide(Units::Look, "user", &policies).retry_after();
        assert!(wait > Duration::from_secs(700) && wait <= Duration::from_secs(720), "{wait:?}");
        assert!(degraded.decide(Units::Take, "somebody else", &policies).passes());
    }

    #[test]
    fn a_unit_given_back_can_be_taken_again_and_a_look_takes_none() {
        let (degraded, policies) = (Degraded::default(), [policy("a", 3)]);
        assert_eq!(degraded.decide(Units::Look, "user", &policies).checks[0].remaining, 3);
        assert_eq!(taken(&degraded, &policies), 3);
        let left = degraded.decide(Units::GiveBack, "user", &policies);
        assert_eq!(left.checks[0].remaining, 1);
        assert_eq!(taken(&degraded, &policies), 1);
    }

    #[test]
    fn a_refusal_by_one_policy_takes_nothing_of_another() {
        let (degraded, wide, narrow) =
            (Degraded::default(), policy("wide", 4), policy("narrow", 1));
        assert_eq!(taken(&degraded, &[wide.clone(), narrow]), 1);
        assert_eq!(taken(&degraded, &[wide]), 3);
    }

    #[test]
    fn quiet_users_are_forgotten() {
        let quick = RatePolicy { window: Duration::from_micros(1), ..policy("quick", 1) };
        let degraded = Degraded::default();
        degraded.decide(Units::Take, "user", std::slice::from_ref(&quick));
        let states = degraded.limiter(&quick).states.clone();
        while !states.is_empty() {
            degraded.retain_recent();
        }
    }
}
