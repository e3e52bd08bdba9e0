//! Budgets under many workers at once, with a real Redis that forgets and goes away.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, join_all};
use regimen_common::db::DbError;
use regimen_common::redis::Redis;
use regimen_common::test_support::{PrivateRedis, TestRedis};
use regimen_worker::budget::{BudgetConfig, BudgetError, BudgetLimits, Budgets, Ledger, Scope};
use secrecy::SecretString;
use uuid::Uuid;

/// What Postgres would say; the truth that outlives Redis. Counts how often it
/// is asked, and how often about everybody.
#[derive(Debug, Default, Clone)]
struct Book(Arc<(AtomicU64, AtomicUsize, AtomicUsize)>);

impl Book {
    fn add(&self, micros: u64) {
        self.0.0.fetch_add(micros, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    fn asked_about_everybody(&self) -> usize {
        self.0.2.load(Ordering::SeqCst)
    }
}

impl Ledger for Book {
    fn spent(&self, user: Option<Uuid>, _: DateTime<Utc>) -> BoxFuture<'_, Result<u64, DbError>> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        self.0.2.fetch_add(usize::from(user.is_none()), Ordering::SeqCst);
        let spent = self.0.0.load(Ordering::SeqCst);
        Box::pin(async move { Ok(spent) })
    }
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn now() -> DateTime<Utc> {
    at("2026-11-22T10:00:00Z")
}

/// One worker's budgets on this Redis.
fn worker(redis: &TestRedis, limits: BudgetLimits, book: &Book) -> Budgets {
    let store = Redis::new(&SecretString::from(redis.url()), redis.prefix()).unwrap();
    Budgets::new(store, BudgetConfig::new(limits), Box::new(book.clone()))
}

fn daily(limit: u64) -> BudgetLimits {
    BudgetLimits { daily: Some(limit), user_monthly: None }
}

async fn forget(redis: &TestRedis) {
    let store = Redis::new(&SecretString::from(redis.url()), redis.prefix()).unwrap();
    let keys: Vec<String> = store
        .query(redis::cmd("KEYS").arg(format!("{{{}}}:budget:*", redis.prefix())))
        .await
        .unwrap();
    if !keys.is_empty() {
        let _: u64 = store.query(redis::cmd("DEL").arg(keys)).await.unwrap();
    }
}

#[tokio::test]
async fn fifty_workers_at_once_never_reserve_more_than_the_budget() {
    let (redis, book) = (TestRedis::new(), Book::default());
    let fleet: Vec<_> = (0..50).map(|_| worker(&redis, daily(1_000), &book)).collect();
    let asked =
        join_all(fleet.iter().map(|budgets| budgets.reserve(Uuid::new_v4(), 90, now()))).await;
    let taken: Vec<_> = asked
        .into_iter()
        .zip(&fleet)
        .filter_map(|(asked, budgets)| Some((asked.ok()?, budgets)))
        .collect();
    assert_eq!(taken.len(), 11, "11 × 90 fit into 1000");

    // The calls were cheaper than feared: there is room again, exactly as much.
    join_all(taken.into_iter().map(|(reservation, budgets)| budgets.settle(reservation, 10))).await;
    let again =
        join_all(fleet.iter().map(|budgets| budgets.reserve(Uuid::new_v4(), 89, now()))).await;
    assert_eq!(again.iter().filter(|asked| asked.is_ok()).count(), 10, "890 are left");
}

/// Workers that go on until they are refused, while Redis forgets everything
/// in between: what is really spent passes the budget by no more than one
/// attempt each.
#[tokio::test]
async fn even_a_forgetful_redis_lets_each_worker_overspend_by_one_attempt_at_most() {
    const LIMIT: u64 = 20_000;
    const COST: u64 = 70;
    const WORKERS: usize = 50;
    let (redis, book) = (TestRedis::new(), Book::default());
    let fleet: Vec<_> = (0..WORKERS).map(|_| worker(&redis, daily(LIMIT), &book)).collect();
    let work = fleet.iter().map(async |budgets| {
        for n in 0.. {
            let Ok(reservation) = budgets.reserve(Uuid::new_v4(), 100, now()).await else { break };
            book.add(COST);
            budgets.settle(reservation, COST).await;
            if n % 7 == 0 {
                forget(&redis).await;
            }
        }
    });
    join_all(work).await;
    let spent = book.0.0.load(Ordering::SeqCst);
    let most = LIMIT + u64::try_from(WORKERS).unwrap() * COST;
    assert!(spent <= most, "{spent} of {LIMIT}");
    assert!(spent > LIMIT / 2, "{spent}: the budget was hardly used");
}

#[tokio::test]
async fn the_refusal_names_the_budget_and_when_it_starts_anew() {
    let (redis, book) = (TestRedis::new(), Book::default());
    let limits = BudgetLimits { user_monthly: Some(100), daily: Some(150) };
    let budgets = worker(&redis, limits, &book);
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    budgets.settle(budgets.reserve(ann, 80, now()).await.unwrap(), 80).await;
    let over = |error| match error {
        BudgetError::Over { scope, renewed_at } => (scope, renewed_at),
        BudgetError::Ledger(error) => unreachable!("{error}"),
    };
    let ann_again = over(budgets.reserve(ann, 30, now()).await.unwrap_err());
    assert_eq!(ann_again, (Scope::User, at("2026-12-01T00:00:00Z")));
    let everybody = over(budgets.reserve(bob, 80, now()).await.unwrap_err());
    assert_eq!(everybody, (Scope::Everybody, at("2026-11-23T00:00:00Z")));
    // A refusal takes nothing: what fits still fits.
    budgets.settle(budgets.reserve(bob, 70, now()).await.unwrap(), 70).await;
}

#[tokio::test]
async fn lost_counters_are_filled_from_the_ledger() {
    let (redis, book) = (TestRedis::new(), Book::default());
    let budgets = worker(&redis, daily(1_000), &book);
    let user = Uuid::new_v4();
    budgets.settle(budgets.reserve(user, 600, now()).await.unwrap(), 600).await;
    book.add(600);
    forget(&redis).await;
    assert!(budgets.reserve(user, 500, now()).await.is_err(), "the ledger remembers");
    let asked = book.asked();
    budgets.settle(budgets.reserve(user, 300, now()).await.unwrap(), 100).await;
    assert_eq!(book.asked(), asked, "a counter that is there is not filled");
}

#[tokio::test]
async fn without_redis_the_ledger_decides() {
    let book = Book::default();
    let store = Redis::new(&SecretString::from("redis://127.0.0.1:1/"), "away").unwrap();
    let budgets = Budgets::new(store, BudgetConfig::new(daily(1_000)), Box::new(book.clone()));
    let reservation = budgets.reserve(Uuid::new_v4(), 900, now()).await.unwrap();
    book.add(900);
    budgets.settle(reservation, 900).await;
    assert!(budgets.reserve(Uuid::new_v4(), 200, now()).await.is_err());
}

#[tokio::test]
async fn without_limits_nobody_is_asked() {
    let book = Book::default();
    let store = Redis::new(&SecretString::from("redis://127.0.0.1:1/"), "away").unwrap();
    let budgets =
        Budgets::new(store, BudgetConfig::new(BudgetLimits::default()), Box::new(book.clone()));
    budgets.settle(budgets.reserve(Uuid::new_v4(), u64::MAX, now()).await.unwrap(), 1).await;
    assert_eq!(book.asked(), 0);
}

/// A Redis that stands still takes the command and answers nobody: what it
/// counted then belongs to no call, and must not stay taken.
#[tokio::test]
async fn a_reservation_whose_answer_never_came_is_not_kept() {
    let (redis, book) = (PrivateRedis::start().await, Book::default());
    let store = || Redis::new(&SecretString::from(redis.url()), "slow").unwrap();
    let budgets = Budgets::new(store(), BudgetConfig::new(daily(1_000)), Box::new(book.clone()));
    let user = Uuid::new_v4();
    budgets.settle(budgets.reserve(user, 100, now()).await.unwrap(), 100).await;
    book.add(100);
    redis.stop();
    let unanswered = budgets.reserve(user, 500, now()).await.unwrap();
    book.add(50);
    redis.cont();
    budgets.settle(unanswered, 50).await;
    // 850 are left to the last cent.
    let rest = budgets.reserve(user, 850, now()).await.unwrap();
    budgets.settle(rest, 850).await;
    assert!(budgets.reserve(user, 1, now()).await.is_err());
}

/// A user's first call of the month is about them, and not about everybody.
#[tokio::test]
async fn only_the_counter_that_is_missing_is_filled() {
    let (redis, book) = (TestRedis::new(), Book::default());
    let budgets = worker(&redis, daily(1_000), &book);
    for _ in 0..20 {
        let user = Uuid::new_v4();
        budgets.settle(budgets.reserve(user, 1, now()).await.unwrap(), 1).await;
    }
    assert_eq!((book.asked(), book.asked_about_everybody()), (21, 1));
}

/// Whatever stands where a counter should: the ledger knows better, and nobody
/// waits for more than that.
#[tokio::test]
async fn what_is_no_counter_is_filled_from_the_ledger() {
    let (redis, book) = (TestRedis::new(), Book::default());
    book.add(400);
    let store = Redis::new(&SecretString::from(redis.url()), redis.prefix()).unwrap();
    let day = store.key("budget:day:2026-11-22");
    let budgets = worker(&redis, daily(1_000), &book);
    for odd in
        ["", "much", "1e3", "0x10", "-", "nan", "9223372036854775807", "99999999999999999999"]
    {
        let _: () = store.query(redis::cmd("SET").arg(&day).arg(odd)).await.unwrap();
        let reservation = budgets.reserve(Uuid::new_v4(), 600, now()).await.unwrap();
        assert!(budgets.reserve(Uuid::new_v4(), 1, now()).await.is_err(), "{odd:?}: 400 and 600");
        let _: () = store.query(redis::cmd("SET").arg(&day).arg(odd)).await.unwrap();
        budgets.settle(reservation, 0).await;
        let _: u64 = store.query(redis::cmd("DEL").arg(&day)).await.unwrap();
    }
    let _: u64 = store.query(redis::cmd("RPUSH").arg(&day).arg("1")).await.unwrap();
    let reservation = budgets.reserve(Uuid::new_v4(), 600, now()).await.unwrap();
    budgets.settle(reservation, 600).await;
    assert!(budgets.reserve(Uuid::new_v4(), 1, now()).await.is_err());
}

/// Amounts no call can cost: they neither wrap around nor break the counting.
#[tokio::test]
async fn absurd_amounts_are_counted_as_very_much() {
    let (redis, book) = (TestRedis::new(), Book::default());
    let limits = BudgetLimits { daily: Some(10_000_000_000_000), user_monthly: None };
    let budgets = worker(&redis, limits, &book);
    assert!(budgets.reserve(Uuid::new_v4(), u64::MAX, now()).await.is_err());
    let small = budgets.reserve(Uuid::new_v4(), 1, now()).await.unwrap();
    budgets.settle(small, u64::MAX).await;
    assert!(budgets.reserve(Uuid::new_v4(), 1, now()).await.is_err(), "used up, and by far");
    book.add(u64::MAX);
    forget(&redis).await;
    assert!(budgets.reserve(Uuid::new_v4(), 1, now()).await.is_err());
}
