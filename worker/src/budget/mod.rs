//! Budgets: the highest cost of a user per month and of the fleet per day. An
//! amount is reserved before a call and replaced by the real cost after it, in
//! one Redis step each, so that concurrent workers together stay within the
//! budget. Redis only counts; the source of truth is the ledger in Postgres,
//! from which lost counters are filled. While Redis is away, the ledger is
//! queried directly.

mod period;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use redis::Script;
use regimen_common::config::Env;
use regimen_common::db::Pool;
use regimen_common::db::{DbError, usage};
use regimen_common::redis::{Redis, RedisError};
use regimen_common::telemetry::UserHash;
use tokio::time::timeout;
use uuid::Uuid;

use self::period::{day, month};

/// Default interval after which a counter is filled again from Postgres. A reservation of
/// a worker that died before its call lasts that long.
const RECOUNT_SECONDS: f64 = 600.0;
/// Default wait of a job over budget before it tries again.
const PAUSE_SECONDS: f64 = 300.0;
/// Redis answers in well under a millisecond; after this time it is ignored.
const PATIENCE: Duration = Duration::from_millis(500);
/// A billion dollars.
const MOST_COUNTED: i64 = 1_000_000_000_000_000;
/// A year: the longest lifetime of a counter, whatever the settings say.
const LONGEST_KEPT: u64 = 365 * 24 * 3600 * 1000;
/// Both counters may be missing, and may vanish once more.
const TRIES: usize = 4;

/// The limits, in millionths of a US dollar; none means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetLimits {
    /// `BUDGET_USER_MONTHLY_USD`: one user in a calendar month (UTC).
    pub user_monthly: Option<u64>,
    /// `BUDGET_DAILY_USD`: all users in a day (UTC).
    pub daily: Option<u64>,
}

/// The limits, and the interval of recounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetConfig {
    /// The limits.
    pub limits: BudgetLimits,
    /// `BUDGET_RECOUNT_SECONDS`: counters are filled again from Postgres after this.
    pub recount: Duration,
    /// `BUDGET_PAUSE_SECONDS`: how long a job over budget waits before it tries again.
    pub pause: Duration,
}

impl BudgetConfig {
    /// These limits with the default times.
    pub fn new(limits: BudgetLimits) -> Self {
        let [recount, pause] = [RECOUNT_SECONDS, PAUSE_SECONDS].map(Duration::from_secs_f64);
        Self { limits, recount, pause }
    }

    /// Reads the settings.
    pub fn from_env(env: &mut Env) -> Self {
        Self {
            limits: BudgetLimits::from_env(env),
            recount: env.seconds("BUDGET_RECOUNT_SECONDS", RECOUNT_SECONDS),
            pause: env.seconds("BUDGET_PAUSE_SECONDS", PAUSE_SECONDS),
        }
    }
}

impl BudgetLimits {
    /// Reads the limits.
    pub fn from_env(env: &mut Env) -> Self {
        Self {
            user_monthly: dollars(env, "BUDGET_USER_MONTHLY_USD"),
            daily: dollars(env, "BUDGET_DAILY_USD"),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie between 0 and ten million dollars"
)]
fn dollars(env: &mut Env, name: &'static str) -> Option<u64> {
    let dollars: f64 = env.optional(name)?;
    if (0.0..=1e7).contains(&dollars) {
        return Some((dollars * 1e6).round() as u64);
    }
    env.error(name, "must be an amount in US dollars, such as 2.50");
    None
}

/// Which of the two budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The user's month.
    User,
    /// The fleet's day.
    Everybody,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "the user's monthly budget",
            Self::Everybody => "the daily budget of all users",
        })
    }
}

/// Why nothing was reserved.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// It would exceed a limit.
    #[error("{scope} is used up; it starts anew at {renewed_at}")]
    Over {
        /// Which one.
        scope: Scope,
        /// The end of its period.
        renewed_at: DateTime<Utc>,
    },
    /// Neither Redis nor Postgres could tell the spend.
    #[error(transparent)]
    Ledger(#[from] DbError),
}

/// The source of truth of the spend.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Millionths of a US dollar since `since`, by `user` or by all users.
    fn spent(
        &self,
        user: Option<Uuid>,
        since: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<u64, DbError>>;
}

impl Ledger for Pool {
    fn spent(
        &self,
        user: Option<Uuid>,
        since: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<u64, DbError>> {
        Box::pin(async move {
            let mut client = self.get().await?;
            let spent = usage::spent_micros(&mut client, user, since).await?;
            Ok(u64::try_from(spent).unwrap_or_default())
        })
    }
}

/// A reserved amount, to be settled.
#[derive(Debug)]
#[must_use = "a reservation is settled when the call is over"]
pub struct Reservation {
    user: Uuid,
    at: DateTime<Utc>,
    micros: u64,
    basis: Basis,
}

/// Where a reservation is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    /// There are no limits.
    Free,
    /// In the counters in Redis.
    Counted,
    /// Redis was away; the counters do not have it.
    Ledger,
}

/// The budgets of all users.
pub struct Budgets {
    redis: Redis,
    limits: BudgetLimits,
    recount: Duration,
    ledger: Box<dyn Ledger>,
    reserve: Script,
    settle: Script,
    /// Counters whose last command got no answer: they may hold a reservation that nobody
    /// settles, and are filled again before they are used.
    doubtful: Mutex<Vec<String>>,
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The answer of Redis to a reservation.
enum Counted {
    Taken(Reservation),
    Over(Scope),
}

/// One try to reserve in Redis.
enum Tried {
    Counted(Counted),
    /// The counter of this scope is missing.
    Missing(Scope),
}

impl Budgets {
    /// Budgets counted in `redis`, with `ledger` as the source of truth.
    pub fn new(redis: Redis, settings: BudgetConfig, ledger: Box<dyn Ledger>) -> Self {
        if let Some(limit) = settings.limits.daily {
            metrics::gauge!("regimen_budget_day_limit_micros").set(limit as f64);
        }
        Self {
            redis,
            limits: settings.limits,
            recount: settings.recount,
            ledger,
            reserve: Script::new(include_str!("reserve.lua")),
            settle: Script::new(include_str!("settle.lua")),
            doubtful: Mutex::default(),
        }
    }

    /// Reserves `micros` from both budgets for a call that is about to be made.
    ///
    /// # Errors
    /// A budget is used up, or the spend is unknown.
    pub async fn reserve(
        &self,
        user: Uuid,
        micros: u64,
        now: DateTime<Utc>,
    ) -> Result<Reservation, BudgetError> {
        if self.limits == BudgetLimits::default() {
            return Ok(Reservation { user, at: now, micros, basis: Basis::Free });
        }
        let counted = match self.count(user, micros, now).await? {
            Some(counted) => counted,
            None => self.ask_ledger(user, micros, now).await?,
        };
        match counted {
            Counted::Taken(reservation) => Ok(reservation),
            Counted::Over(scope) => {
                let name = match scope {
                    Scope::User => "user_monthly",
                    Scope::Everybody => "daily",
                };
                metrics::counter!("regimen_budget_refusals_total", "budget" => name).increment(1);
                let renewed_at = match scope {
                    Scope::User => month(now).end,
                    Scope::Everybody => day(now).end,
                };
                let user = UserHash::of(user);
                tracing::warn!(budget = name, %user, %renewed_at, "a call waits: {scope} is used up");
                Err(BudgetError::Over { scope, renewed_at })
            }
        }
    }

    /// Replaces a reservation with the real cost. While Redis is away nothing is lost:
    /// the counters are filled from the ledger.
    pub async fn settle(&self, reservation: Reservation, micros: u64) {
        let (real, reserved) = (countable(micros), countable(reservation.micros));
        let difference = match reservation.basis {
            Basis::Free => return,
            Basis::Counted => real - reserved,
            Basis::Ledger => real,
        };
        let (user, day) = self.keys(reservation.user, reservation.at);
        let mut call = self.settle.key(user);
        call.key(day).arg(difference);
        if answered(self.redis.invoke::<u8>(&call)).await.is_none() {
            tracing::warn!(
                incident = "budget_reservation_lost",
                "a reservation stays until its counter is filled anew"
            );
        }
    }

    /// Reserves in Redis; `None` when Redis is away.
    async fn count(
        &self,
        user: Uuid,
        micros: u64,
        now: DateTime<Utc>,
    ) -> Result<Option<Counted>, DbError> {
        if !self.redis.works() || !self.drop_doubtful().await {
            return Ok(None);
        }
        for _ in 0..TRIES {
            match self.take(user, micros, now).await {
                Some(Tried::Counted(counted)) => return Ok(Some(counted)),
                Some(Tried::Missing(scope)) if self.fill(scope, user, now).await? => {}
                Some(Tried::Missing(_)) | None => break,
            }
        }
        tracing::warn!("budgets go by the ledger alone for now");
        Ok(None)
    }

    /// One try; `None` when Redis is away.
    async fn take(&self, user: Uuid, micros: u64, now: DateTime<Utc>) -> Option<Tried> {
        let (user_key, day_key) = self.keys(user, now);
        let mut call = self.reserve.key(&user_key);
        call.key(&day_key)
            .arg(countable(micros))
            .arg(limit(self.limits.user_monthly))
            .arg(limit(self.limits.daily));
        let Some((verdict, detail)) = answered(self.redis.invoke::<(u8, u64)>(&call)).await else {
            self.doubt([user_key, day_key]);
            return None;
        };
        Some(match (verdict, detail) {
            (0, today) => {
                tell_spent(today);
                let basis = Basis::Counted;
                Tried::Counted(Counted::Taken(Reservation { user, at: now, micros, basis }))
            }
            (2, 1) => Tried::Counted(Counted::Over(Scope::User)),
            (2, _) => Tried::Counted(Counted::Over(Scope::Everybody)),
            (_, 1) => Tried::Missing(Scope::User),
            _ => Tried::Missing(Scope::Everybody),
        })
    }

    fn doubt(&self, keys: impl IntoIterator<Item = String>) {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
    }

    /// Removes doubtful counters; false when Redis is still away.
    async fn drop_doubtful(&self) -> bool {
        let keys =
            std::mem::take(&mut *self.doubtful.lock().unwrap_or_else(PoisonError::into_inner));
        if keys.is_empty() {
            return true;
        }
        // All have the prefix's hash tag, so that one command reaches them in a cluster.
        let dropped =
            answered(self.redis.query::<u64>(redis::cmd("DEL").arg(&keys))).await.is_some();
        if !dropped {
            self.doubt(keys);
        }
        dropped
    }

    /// Fills a missing counter from the ledger; false when Redis is away.
    async fn fill(&self, scope: Scope, user: Uuid, now: DateTime<Utc>) -> Result<bool, DbError> {
        let (user_key, day_key) = self.keys(user, now);
        let (key, whose, since) = match scope {
            Scope::User => (user_key, Some(user), month(now).start),
            Scope::Everybody => (day_key, None, day(now).start),
        };
        let spent = countable(self.ledger.spent(whose, since).await?);
        if scope == Scope::Everybody {
            tell_spent(spent.unsigned_abs());
        }
        let keep = u64::try_from(self.recount.as_millis()).unwrap_or(u64::MAX);
        let mut put = redis::cmd("SET");
        put.arg(key).arg(spent).arg("NX").arg("PX").arg(keep.clamp(1, LONGEST_KEPT));
        Ok(answered(self.redis.query::<Option<String>>(&put)).await.is_some())
    }

    /// Decides without Redis. Concurrent workers may each pass.
    async fn ask_ledger(
        &self,
        user: Uuid,
        micros: u64,
        now: DateTime<Utc>,
    ) -> Result<Counted, DbError> {
        let checks = [
            (Scope::User, self.limits.user_monthly, Some(user), month(now).start),
            (Scope::Everybody, self.limits.daily, None, day(now).start),
        ];
        for (scope, limit, whose, since) in checks {
            let Some(limit) = limit else { continue };
            if self.ledger.spent(whose, since).await?.saturating_add(micros) > limit {
                return Ok(Counted::Over(scope));
            }
        }
        Ok(Counted::Taken(Reservation { user, at: now, micros, basis: Basis::Ledger }))
    }

    fn keys(&self, user: Uuid, at: DateTime<Utc>) -> (String, String) {
        let user = format!("budget:user:{user}:{}", at.format("%Y-%m"));
        let day = format!("budget:day:{}", at.format("%Y-%m-%d"));
        (self.redis.key(&user), self.redis.key(&day))
    }
}

/// The fleet's spend of today, including reservations.
fn tell_spent(micros: u64) {
    metrics::gauge!("regimen_budget_day_micros").set(micros as f64);
}

fn limit(limit: Option<u64>) -> i64 {
    limit.map_or(-1, countable)
}

/// An amount as the counters accept it: far above any budget, exact in Lua's numbers, and
/// without overflow in a sum of a few.
fn countable(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX).min(MOST_COUNTED)
}

/// The answer of Redis, if it came in time.
async fn answered<T>(asked: impl Future<Output = Result<T, RedisError>>) -> Option<T> {
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "Redis cannot count what is spent");
            None
        }
        Err(_) => {
            tracing::warn!("Redis takes too long to count what is spent");
            None
        }
    }
}
