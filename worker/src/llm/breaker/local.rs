//! The same cool-downs and breakers as in Redis, for one process: what it
//! goes by while Redis is away, and what it remembers of Redis's answers.

use std::collections::HashMap;
use std::time::Duration;

use regimen_common::backoff::backoff;
use tokio::time::Instant;

use super::{Admission, Breaker, Mark};
use crate::llm::policy::FallbackPolicy;

/// The highest number of remembered slots. A worker has far fewer, but requests may name
/// any number of models.
const MOST_SLOTS: usize = 256;

/// The state that this process knows, by slot.
#[derive(Debug, Default)]
pub(super) struct Local(HashMap<String, State>);

#[derive(Debug, Default)]
struct State {
    cooling_until: Option<Instant>,
    failures: u32,
    opened: u32,
    shut: u32,
    open_until: Option<Instant>,
    probe_until: Option<Instant>,
    /// Until then it goes by what Redis has said: nothing has failed lately.
    sound_until: Option<Instant>,
}

impl Local {
    pub(super) fn admit(&mut self, slot: &str, now: Instant, probe: Duration) -> Admission {
        let Some(state) = self.0.get_mut(slot) else { return Admission::Call };
        if let Some(wait) = ahead(state.cooling_until, now) {
            return Admission::Cooling(wait);
        }
        if state.open_until.is_none() {
            return Admission::Call;
        }
        if let Some(wait) = ahead(state.open_until, now).or_else(|| ahead(state.probe_until, now)) {
            return Admission::Open(wait);
        }
        state.probe_until = Some(now + probe);
        Admission::Probe
    }

    pub(super) fn cooling(&self, slot: &str, now: Instant) -> Option<Duration> {
        ahead(self.0.get(slot)?.cooling_until, now)
    }

    pub(super) fn breaker(&self, slot: &str, now: Instant) -> Breaker {
        match self.0.get(slot).and_then(|state| state.open_until) {
            None => Breaker::Closed,
            Some(until) if until > now => Breaker::Open,
            Some(_) => Breaker::HalfOpen,
        }
    }

    /// Whether Redis has just said that nothing has failed lately, and nothing has here.
    pub(super) fn is_sound(&self, slot: &str, now: Instant) -> bool {
        self.0.get(slot).is_some_and(|state| ahead(state.sound_until, now).is_some())
    }

    /// Records that nothing has failed lately.
    pub(super) fn sound(&mut self, slot: &str, now: Instant, moment: Duration) {
        let state = self.state(slot, now);
        state.close();
        state.sound_until = Some(now + moment);
    }

    /// Records that the breaker is no longer open.
    pub(super) fn close(&mut self, slot: &str) {
        if let Some(state) = self.0.get_mut(slot) {
            state.close();
        }
    }

    pub(super) fn blocked(&self, slot: &str, now: Instant) -> Option<Duration> {
        self.0.get(slot)?.blocked(now)
    }

    pub(super) fn record(&mut self, slot: &str, now: Instant, mark: Mark, policy: &FallbackPolicy) {
        let state = self.state(slot, now);
        if mark != Mark::Ok {
            state.sound_until = None;
        }
        match mark {
            Mark::Ok => state.close(),
            Mark::Busy(wait) => state.cooling_until = state.cooling_until.max(Some(now + wait)),
            Mark::Shut { first, longest } => state.shut(first, longest, now),
            Mark::Failing(weight) => state.fail(weight, now, policy),
        }
    }

    /// Takes over the state from Redis.
    pub(super) fn learn(&mut self, slot: &str, now: Instant, cooling: Duration, open: Duration) {
        let state = self.state(slot, now);
        if !cooling.is_zero() {
            state.cooling_until = Some(now + cooling);
        }
        if !open.is_zero() {
            state.open_until = Some(now + open);
        }
        if !(cooling.is_zero() && open.is_zero()) {
            state.sound_until = None;
        }
    }

    /// The state of `slot`, created if needed. In a full map it replaces the slot that
    /// may be called soonest, so that blocked slots stay.
    fn state(&mut self, slot: &str, now: Instant) -> &mut State {
        if self.0.len() >= MOST_SLOTS && !self.0.contains_key(slot) {
            let least = self.0.iter().min_by_key(|(_, state)| (state.blocked(now), state.failures));
            if let Some(least) = least.map(|(slot, _)| slot.clone()) {
                self.0.remove(&least);
            }
        }
        self.0.entry(slot.to_owned()).or_default()
    }
}

impl State {
    fn blocked(&self, now: Instant) -> Option<Duration> {
        ahead(self.cooling_until, now).max(ahead(self.open_until, now))
    }

    fn fail(&mut self, weight: u32, now: Instant, policy: &FallbackPolicy) {
        if ahead(self.open_until, now).is_some() {
            return;
        }
        self.failures = self.failures.saturating_add(weight);
        if self.open_until.is_some() || self.failures >= policy.breaker_threshold {
            self.opened = self.opened.saturating_add(1);
            self.open(now + backoff(self.opened, policy.breaker_open, policy.breaker_cap));
        }
    }

    fn shut(&mut self, first: Duration, longest: Duration, now: Instant) {
        if self.shut > 0 && ahead(self.open_until, now).is_some() {
            return;
        }
        self.shut = self.shut.saturating_add(1);
        self.open(now + backoff(self.shut, first, longest));
    }

    fn close(&mut self) {
        let Self { cooling_until, sound_until, .. } = *self;
        *self = Self { cooling_until, sound_until, ..Self::default() };
    }

    fn open(&mut self, until: Instant) {
        self.open_until = self.open_until.max(Some(until));
        self.probe_until = None;
        self.failures = 0;
    }
}

fn ahead(at: Option<Instant>, now: Instant) -> Option<Duration> {
    at.and_then(|at| at.checked_duration_since(now)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: &str = "openai:m";
    const SECOND: Duration = Duration::from_secs(1);
    const PROBE: Duration = Duration::from_secs(60);

    fn policy() -> FallbackPolicy {
        FallbackPolicy {
            breaker_threshold: 3,
            breaker_open: 10 * SECOND,
            breaker_cap: 30 * SECOND,
            ..FallbackPolicy::default()
        }
    }

    #[test]
    fn a_breaker_opens_after_enough_failures_and_lets_one_probe_through() {
        let (mut local, start) = (Local::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(local.admit(SLOT, start, PROBE), Admission::Call);
            local.record(SLOT, start, Mark::Failing(1), &policy());
        }
        assert_eq!(local.admit(SLOT, start, PROBE), Admission::Open(10 * SECOND));
        assert_eq!(local.blocked(SLOT, start), Some(10 * SECOND));
        assert_eq!(local.breaker(SLOT, start), Breaker::Open);
        let later = start + 10 * SECOND;
        assert_eq!(local.admit(SLOT, later, PROBE), Admission::Probe);
        assert_eq!(local.breaker(SLOT, later), Breaker::HalfOpen);
        assert_eq!(local.admit(SLOT, later, PROBE), Admission::Open(PROBE));

        local.record(SLOT, later, Mark::Failing(1), &policy());
        assert_eq!(local.admit(SLOT, later, PROBE), Admission::Open(20 * SECOND));
        let again = later + 20 * SECOND;
        assert_eq!(local.admit(SLOT, again, PROBE), Admission::Probe);
        local.record(SLOT, again, Mark::Ok, &policy());
        assert_eq!(local.admit(SLOT, again, PROBE), Admission::Call);
        assert_eq!(local.breaker(SLOT, again), Breaker::Closed);
    }

    #[test]
    fn a_success_in_between_starts_the_count_again() {
        let (mut local, now) = (Local::default(), Instant::now());
        for _ in 0..5 {
            local.record(SLOT, now, Mark::Failing(2), &policy());
            local.record(SLOT, now, Mark::Ok, &policy());
        }
        assert_eq!(local.admit(SLOT, now, PROBE), Admission::Call);
    }

    #[test]
    fn a_cool_down_only_grows_and_survives_a_late_success() {
        let (mut local, now) = (Local::default(), Instant::now());
        local.record(SLOT, now, Mark::Busy(20 * SECOND), &policy());
        local.record(SLOT, now, Mark::Busy(SECOND), &policy());
        local.record(SLOT, now, Mark::Ok, &policy());
        assert_eq!(local.admit(SLOT, now, PROBE), Admission::Cooling(20 * SECOND));
        assert_eq!(local.admit(SLOT, now + 20 * SECOND, PROBE), Admission::Call);
        assert_eq!(local.admit("gemini:m", now, PROBE), Admission::Call);
    }

    #[test]
    fn what_shuts_a_model_again_does_so_for_twice_as_long_and_stragglers_do_nothing() {
        let (mut local, now) = (Local::default(), Instant::now());
        let shut = Mark::Shut { first: 10 * SECOND, longest: 30 * SECOND };
        for _ in 0..5 {
            local.record(SLOT, now, shut, &policy());
        }
        assert_eq!(local.blocked(SLOT, now), Some(10 * SECOND));
        let later = now + 10 * SECOND;
        local.record(SLOT, later, shut, &policy());
        assert_eq!(local.blocked(SLOT, later), Some(20 * SECOND));
        let later = later + 20 * SECOND;
        local.record(SLOT, later, shut, &policy());
        assert_eq!(local.blocked(SLOT, later), Some(30 * SECOND));
        local.record(SLOT, later, Mark::Ok, &policy());
        local.record(SLOT, later, shut, &policy());
        assert_eq!(local.blocked(SLOT, later), Some(10 * SECOND));
    }

    #[test]
    fn what_redis_said_is_remembered() {
        let (mut local, now) = (Local::default(), Instant::now());
        local.learn(SLOT, now, Duration::ZERO, 5 * SECOND);
        assert_eq!(local.admit(SLOT, now, PROBE), Admission::Open(5 * SECOND));
        local.learn(SLOT, now, 7 * SECOND, Duration::ZERO);
        assert_eq!(local.admit(SLOT, now, PROBE), Admission::Cooling(7 * SECOND));
    }

    #[test]
    fn made_up_rungs_take_bounded_memory_and_forget_no_longer_block() {
        let (mut local, now) = (Local::default(), Instant::now());
        let shut = |time| Mark::Shut { first: time, longest: time };
        local.record(SLOT, now, shut(60 * SECOND), &policy());
        for number in 0..10 * MOST_SLOTS {
            let slot = format!("openai:{number}");
            let mark = if number % 2 == 0 { Mark::Ok } else { shut(SECOND) };
            local.record(&slot, now, mark, &policy());
            local.learn(&format!("gemini:{number}"), now, SECOND, Duration::ZERO);
        }
        assert_eq!(local.0.len(), MOST_SLOTS);
        assert_eq!(local.blocked(SLOT, now), Some(60 * SECOND));
    }
}
