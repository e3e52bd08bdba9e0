//! Who may be called now: cool-downs and breakers per provider and model,
//! shared by all workers through Redis. While Redis is away each worker goes
//! by what it learned itself, under the same rules.

mod local;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::Script;
use regimen_common::kv::Kv;
use tokio::time::{Instant, timeout};

use self::local::Local;
use super::policy::Policy;
use super::retry::Health;

/// Redis answers in well under a millisecond; beyond this we go on without it.
const PATIENCE: Duration = Duration::from_millis(500);
/// After a failure Redis is left out for this long, so that calls do not queue up behind it.
const AWAY: Duration = Duration::from_secs(2);
/// A probe that takes longer than this is given up for lost.
const PROBE: Duration = Duration::from_secs(60);

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Call,
    /// Yes, as the one call that finds out whether the provider is back.
    Probe,
    /// Not before this much time has passed: it asked to be left alone.
    Cooling(Duration),
    /// Not before this much time has passed: its breaker is open.
    Open(Duration),
}

/// How a breaker stands; the number is the gauge's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Calls go through.
    Closed = 0,
    /// One call finds out whether the provider is back.
    HalfOpen = 1,
    /// No call goes through.
    Open = 2,
}

/// The shared knowledge about all providers.
pub struct Gate {
    shared: Option<Shared>,
    local: Mutex<Local>,
    policy: Policy,
}

struct Shared {
    kv: Kv,
    admit: Script,
    record: Script,
    away_until: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("shared", &self.shared.is_some()).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate shared through `kv`, or for this process alone.
    pub fn new(kv: Option<Kv>, policy: Policy) -> Self {
        let shared = kv.map(|kv| Shared {
            kv,
            admit: Script::new(include_str!("admit.lua")),
            record: Script::new(include_str!("record.lua")),
            away_until: Mutex::default(),
        });
        Self { shared, local: Mutex::default(), policy }
    }

    /// Asks whether `rung` may be called.
    pub async fn admit(&self, rung: &str) -> Admission {
        let now = Instant::now();
        // A cool-down we know of never gets shorter, whatever Redis still knows.
        if let Some(wait) = self.locally(|local| local.cooling(rung, now)) {
            return Admission::Cooling(wait);
        }
        let Some(reply) = self.ask_shared(rung, now).await else {
            return self.locally(|local| local.admit(rung, now, PROBE));
        };
        match reply {
            Admission::Cooling(wait) => {
                self.locally(|local| local.learn(rung, now, wait, Duration::ZERO))
            }
            Admission::Open(wait) => {
                self.locally(|local| local.learn(rung, now, Duration::ZERO, wait))
            }
            Admission::Call => self.locally(|local| local.close(rung)),
            // What the probe finds is still to come.
            Admission::Probe => {}
        }
        reply
    }

    /// How long `rung` is known to be blocked, without asking anybody.
    pub fn blocked(&self, rung: &str) -> Option<Duration> {
        self.locally(|local| local.blocked(rung, Instant::now()))
    }

    /// How the breaker of `rung` stands, as far as this process knows.
    pub fn breaker(&self, rung: &str) -> Breaker {
        self.locally(|local| local.breaker(rung, Instant::now()))
    }

    /// What is left of the cool-down of `rung`, as far as this process knows.
    pub fn cooling(&self, rung: &str) -> Option<Duration> {
        self.locally(|local| local.cooling(rung, Instant::now()))
    }

    /// Records what a call to `rung` said about it. `hint` is the wait the provider asked for.
    pub async fn record(&self, rung: &str, health: Health, hint: Option<Duration>) {
        let now = Instant::now();
        let mark = Mark::of(health, hint, &self.policy);
        self.locally(|local| local.record(rung, now, mark, &self.policy));
        if let Some((cooling, open)) = self.tell_shared(rung, now, mark).await {
            self.locally(|local| local.learn(rung, now, cooling, open));
        }
    }

    fn locally<T>(&self, use_it: impl FnOnce(&mut Local) -> T) -> T {
        use_it(&mut self.local.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask_shared(&self, rung: &str, now: Instant) -> Option<Admission> {
        let shared = self.shared.as_ref().filter(|shared| shared.present(now))?;
        let mut call = shared.admit.key(shared.kv.key(&format!("cool:{rung}")));
        call.key(shared.kv.key(&format!("breaker:{rung}"))).arg(millis(PROBE));
        let (verdict, wait): (u8, u64) =
            shared.answer(timeout(PATIENCE, shared.kv.invoke(&call)).await)?;
        let wait = Duration::from_millis(wait);
        Some(match verdict {
            0 => Admission::Call,
            1 => Admission::Probe,
            2 => Admission::Cooling(wait),
            _ => Admission::Open(wait),
        })
    }

    async fn tell_shared(
        &self,
        rung: &str,
        now: Instant,
        mark: Mark,
    ) -> Option<(Duration, Duration)> {
        let shared = self.shared.as_ref().filter(|shared| shared.present(now))?;
        let (what, amount) = mark.words();
        let mut call = shared.record.key(shared.kv.key(&format!("cool:{rung}")));
        call.key(shared.kv.key(&format!("breaker:{rung}")))
            .arg(what)
            .arg(amount)
            .arg(self.policy.breaker_threshold)
            .arg(millis(self.policy.breaker_open))
            .arg(millis(self.policy.breaker_cap))
            .arg(mark.longest().map_or(0, millis));
        let (cooling, open): (u64, u64) =
            shared.answer(timeout(PATIENCE, shared.kv.invoke(&call)).await)?;
        Some((Duration::from_millis(cooling), Duration::from_millis(open)))
    }
}

impl Shared {
    fn present(&self, now: Instant) -> bool {
        if !self.kv.works() {
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
        self.kv.doubt();
        tracing::warn!(problem, "provider cool-downs and breakers are local for now");
        None
    }
}

/// What is recorded about a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Ok,
    Failing(u32),
    Busy(Duration),
    /// Shut at once, for `first`; found again after that, for twice as long, up to `longest`.
    Shut {
        first: Duration,
        longest: Duration,
    },
}

impl Mark {
    fn of(health: Health, hint: Option<Duration>, policy: &Policy) -> Self {
        match health {
            Health::Fine => Self::Ok,
            Health::Failing(weight) => Self::Failing(weight),
            Health::Busy => Self::Busy(hint.unwrap_or(policy.cool_down)),
            // Whoever pays wants it back soon, whatever the reply said.
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
