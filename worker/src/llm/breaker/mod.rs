//! Cool-downs and circuit breakers per provider and model, shared by all
//! workers through Redis. While Redis is away, each worker keeps its own state
//! under the same rules.

mod local;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::Script;
use regimen_common::redis::Redis;
use tokio::time::{Instant, timeout};

use self::local::Local;
use super::policy::FallbackPolicy;
use super::retry::Health;

/// Redis answers in well under a millisecond; after this time it is ignored.
const PATIENCE: Duration = Duration::from_millis(500);
/// After a failure Redis is left out for this time, so that calls do not queue behind it.
const AWAY: Duration = Duration::from_secs(2);
/// So long a provider of which nothing has failed lately is called, and its successes are
/// not told, without a request to Redis. A failure that another worker sees is heeded here
/// that much later, as if the call had begun before it.
const MOMENT: Duration = Duration::from_millis(50);
/// A probe that takes longer than this counts as lost.
const PROBE: Duration = Duration::from_secs(60);

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Call,
    /// Yes, as the one probe.
    Probe,
    /// Not before this time has passed: it is cooling down.
    Cooling(Duration),
    /// Not before this time has passed: its breaker is open.
    Open(Duration),
}

/// The state of a breaker; the number is the gauge's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Calls are made.
    Closed = 0,
    /// One probe is made.
    HalfOpen = 1,
    /// No call is made.
    Open = 2,
}

/// The shared state of all providers.
pub struct Breakers {
    shared: Option<Shared>,
    local: Mutex<Local>,
    policy: FallbackPolicy,
}

struct Shared {
    redis: Redis,
    admit: Script,
    record: Script,
    away_until: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Breakers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Breakers").field("shared", &self.shared.is_some()).finish_non_exhaustive()
    }
}

impl Breakers {
    /// Breakers shared through `redis`, or for this process alone.
    pub fn new(redis: Option<Redis>, policy: FallbackPolicy) -> Self {
        let shared = redis.map(|redis| Shared {
            redis,
            admit: Script::new(include_str!("admit.lua")),
            record: Script::new(include_str!("record.lua")),
            away_until: Mutex::default(),
        });
        Self { shared, local: Mutex::default(), policy }
    }

    /// Asks whether `slot` may be called.
    pub async fn admit(&self, slot: &str) -> Admission {
        let now = Instant::now();
        // A cool-down that this process knows never gets shorter, whatever Redis has.
        if let Some(wait) = self.locally(|local| local.cooling(slot, now)) {
            return Admission::Cooling(wait);
        }
        if self.locally(|local| local.is_sound(slot, now)) {
            return Admission::Call;
        }
        let Some(reply) = self.ask_shared(slot, now, PROBE).await else {
            return self.locally(|local| local.admit(slot, now, PROBE));
        };
        match reply {
            Admission::Cooling(wait) => {
                self.locally(|local| local.learn(slot, now, wait, Duration::ZERO))
            }
            Admission::Open(wait) => {
                self.locally(|local| local.learn(slot, now, Duration::ZERO, wait))
            }
            Admission::Call => self.locally(|local| local.close(slot)),
            // The result of the probe follows.
            Admission::Probe => {}
        }
        reply
    }

    /// Asks ahead of a call to `slot` that may follow, so that it need not wait for the
    /// answer. Takes no probe.
    pub async fn look(&self, slot: &str) {
        let now = Instant::now();
        if !self.locally(|local| local.is_sound(slot, now)) {
            self.ask_shared(slot, now, Duration::ZERO).await;
        }
    }

    /// How long `slot` is known to be blocked, without a request to Redis.
    pub fn blocked(&self, slot: &str) -> Option<Duration> {
        self.locally(|local| local.blocked(slot, Instant::now()))
    }

    /// The breaker of `slot`, as far as this process knows.
    pub fn breaker(&self, slot: &str) -> Breaker {
        self.locally(|local| local.breaker(slot, Instant::now()))
    }

    /// The remaining cool-down of `slot`, as far as this process knows.
    pub fn cooling(&self, slot: &str) -> Option<Duration> {
        self.locally(|local| local.cooling(slot, Instant::now()))
    }

    /// Records what a call to `slot` says about its health. `hint` is the provider's
    /// retry-after.
    pub async fn record(&self, slot: &str, health: Health, hint: Option<Duration>) {
        let now = Instant::now();
        let mark = Mark::of(health, hint, &self.policy);
        self.locally(|local| local.record(slot, now, mark, &self.policy));
        if self.locally(|local| local.is_sound(slot, now)) {
            return;
        }
        if let Some((cooling, open)) = self.tell_shared(slot, now, mark).await {
            self.locally(|local| local.learn(slot, now, cooling, open));
        }
    }

    fn locally<T>(&self, use_it: impl FnOnce(&mut Local) -> T) -> T {
        use_it(&mut self.local.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The answer of Redis, which is remembered for a moment if nothing has failed lately.
    async fn ask_shared(&self, slot: &str, now: Instant, probe: Duration) -> Option<Admission> {
        let shared = self.shared.as_ref().filter(|shared| shared.present(now))?;
        let mut call = shared.admit.key(shared.redis.key(&format!("cool:{slot}")));
        call.key(shared.redis.key(&format!("breaker:{slot}"))).arg(millis(probe));
        let (verdict, wait): (u8, u64) =
            shared.answer(timeout(PATIENCE, shared.redis.invoke(&call)).await)?;
        let wait = Duration::from_millis(wait);
        Some(match verdict {
            0 => Admission::Call,
            1 => Admission::Probe,
            2 => Admission::Cooling(wait),
            3 => Admission::Open(wait),
            _ => {
                self.locally(|local| local.sound(slot, now, MOMENT));
                Admission::Call
            }
        })
    }

    async fn tell_shared(
        &self,
        slot: &str,
        now: Instant,
        mark: Mark,
    ) -> Option<(Duration, Duration)> {
        let shared = self.shared.as_ref().filter(|shared| shared.present(now))?;
        let (what, amount) = mark.words();
        let mut call = shared.record.key(shared.redis.key(&format!("cool:{slot}")));
        call.key(shared.redis.key(&format!("breaker:{slot}")))
            .arg(what)
            .arg(amount)
            .arg(self.policy.breaker_threshold)
            .arg(millis(self.policy.breaker_open))
            .arg(millis(self.policy.breaker_cap))
            .arg(mark.longest().map_or(0, millis));
        let (cooling, open): (u64, u64) =
            shared.answer(timeout(PATIENCE, shared.redis.invoke(&call)).await)?;
        Some((Duration::from_millis(cooling), Duration::from_millis(open)))
    }
}

impl Shared {
    fn present(&self, now: Instant) -> bool {
        if !self.redis.works() {
            return false;
        }
        let away = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_none_or(|until| until <= now)
    }

    fn answer<T, E: std::fmt::Display>(
        &self,
        answer: Result<Result<T, E>, tokio::time::error::Elapsed>,
    ) -> Option<T> {
        let problem = match answer {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", PATIENCE.as_millis()),
        };
        let mut away = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        *away = Some(Instant::now() + AWAY);
        self.redis.doubt();
        tracing::warn!(problem, "provider cool-downs and breakers are local for now");
        None
    }
}

/// What is recorded for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    Failing(u32),
    Busy(Duration),
    /// Blocked at once, for `first`; when found again, for twice as long, up to
    /// `longest`.
    Shut {
        first: Duration,
        longest: Duration,
    },
}

impl Mark {
    fn of(health: Health, hint: Option<Duration>, policy: &FallbackPolicy) -> Self {
        match health {
            Health::Fine => Self::Ok,
            Health::Failing(weight) => Self::Failing(weight),
            Health::Busy => Self::Busy(hint.unwrap_or(policy.cool_down)),
            // A lack of money is retried soon, whatever the reply said, because it may
            // have been paid.
            Health::Broke => Self::Shut { first: policy.broke, longest: policy.broke },
            Health::Misconfigured => {
                Self::Shut { first: policy.broke, longest: policy.misconfigured }
            }
        }
    }

    fn words(self) -> (&'static str, u64) {
        match self {
            Self::Ok => ("ok", 0),
            Self::Failing(weight) => ("failing", weight.into()),
            Self::Busy(wait) => ("busy", millis(wait).max(1)),
            Self::Shut { first, .. } => ("shut", millis(first).max(1)),
        }
    }

    fn longest(self) -> Option<Duration> {
        match self {
            Self::Shut { longest, .. } => Some(longest),
            Self::Ok | Self::Failing(_) | Self::Busy(_) => None,
        }
    }
}

/// Rounded up, so that no wait ends early.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}
