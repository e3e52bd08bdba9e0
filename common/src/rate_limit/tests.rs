//! The script on a real Redis, held against a plain model of GCRA.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::prelude::*;
use redis::cmd;
use secrecy::SecretString;

use super::*;
use crate::test_support::TestRedis;

fn policy(name: &str, quota: u32, window: Duration) -> RatePolicy {
    let quota = NonZeroU32::new(quota).unwrap();
    RatePolicy { name: name.into(), quota, window, shadow: false }
}

fn hourly(name: &str, quota: u32) -> RatePolicy {
    policy(name, quota, Duration::from_secs(3600))
}

/// Long enough that a busy machine does not turn a test to the fallback.
const PATIENCE: Duration = Duration::from_secs(30);

fn limiter(redis: &TestRedis) -> RateLimiter {
    let url = SecretString::from(redis.url().to_owned());
    RateLimiter::new(Redis::new(&url, redis.prefix()).unwrap(), PATIENCE)
}

/// GCRA as written down: the latest theoretical arrival times, nothing else.
#[derive(Default)]
struct Model {
    tats: Vec<i64>,
}

impl Model {
    /// Whether a request at `now` passes all policies; counts it when it does.
    fn take(&mut self, now: i64, policies: &[RatePolicy]) -> bool {
        self.tats.resize(policies.len(), 0);
        let next: Vec<i64> = policies
            .iter()
            .zip(&self.tats)
            .map(|(policy, tat)| (*tat).max(now) + interval(policy))
            .collect();
        let fits = |(policy, next): (&RatePolicy, &i64)| {
            next - interval(policy) * i64::from(policy.quota.get()) <= now
        };
        let passes = policies.iter().zip(&next).all(fits);
        if passes {
            self.tats = next;
        }
        passes
    }

    fn remaining(&self, now: i64, policy: &RatePolicy, at: usize) -> i64 {
        let span = interval(policy) * i64::from(policy.quota.get());
        (span - (self.tats[at] - now).max(0)) / interval(policy)
    }
}

fn interval(policy: &RatePolicy) -> i64 {
    i64::try_from(policy.interval_micros()).unwrap()
}

/// Arrivals as steps of time, from none to several windows.
fn arrivals() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        4 => Just(0_i64),
        4 => 1..500_000_i64,
        2 => 500_000..40_000_000_i64,
        1 => 40_000_000..8_000_000_000_i64,
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn redis_decides_as_the_model(
        steps in arrivals(),
        quotas in proptest::collection::vec((1..12_u32, 1..4_000_u64), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let redis = TestRedis::new();
            let limiter = limiter(&redis);
            let policies: Vec<_> = quotas.iter().enumerate()
                .map(|(at, (quota, seconds))| {
                    policy(&format!("p{at}"), *quota, Duration::from_secs(*seconds))
                })
                .collect();
            let (mut model, mut offset) = (Model::default(), 0);
            for step in steps {
                offset += step;
                let (now, decision) =
                    limiter.run_script(Units::Take, "user", &policies, offset).await.unwrap();
                prop_assert_eq!(decision.passes(), model.take(now, &policies));
                for (at, check) in decision.checks.iter().enumerate() {
                    let remaining = i64::from(check.remaining);
                    prop_assert_eq!(remaining, model.remaining(now, &check.policy, at));
                    prop_assert!(check.next_unit <= check.policy.interval());
                }
                let waits: Vec<_> = decision.violated().map(|check| check.retry_after).collect();
                prop_assert!(waits.iter().all(|wait| !wait.is_zero()));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn asking_again_after_the_wait_passes_and_a_microsecond_before_does_not() {
    let redis = TestRedis::new();
    let limiter = limiter(&redis);
    // One unit in three thousand seconds: the test's own duration stays far below.
    let policies = [policy("a", 1, Duration::from_secs(3_000))];
    let (first, decision) = limiter.run_script(Units::Take, "user", &policies, 0).await.unwrap();
    assert!(decision.passes());
    let (second, refused) = limiter.run_script(Units::Take, "user", &policies, 0).await.unwrap();
    let wait = i64::try_from(refused.retry_after().as_micros()).unwrap();
    assert_eq!(second + wait, first + 3_000_000_000, "exact to the microsecond");
    let early = 2_900_000_000;
    assert!(!limiter.run_script(Units::Take, "user", &policies, early).await.unwrap().1.passes());
    assert!(limiter.run_script(Units::Take, "user", &policies, wait).await.unwrap().1.passes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_never_pass_more_than_the_quota() {
    let redis = TestRedis::new();
    let limiters = [Arc::new(limiter(&redis)), Arc::new(limiter(&redis))];
    let policies: Arc<[RatePolicy]> = [hourly("a", 7), hourly("b", 9)].into();
    let barrier = Arc::new(tokio::sync::Barrier::new(200));
    let requests = (0..200).map(|number| {
        let (limiter, policies) = (Arc::clone(&limiters[number % 2]), Arc::clone(&policies));
        let barrier = Arc::clone(&barrier);
        tokio::spawn(async move {
            barrier.wait().await;
            limiter.take("user", &policies).await.passes()
        })
    });
    let mut passed = 0;
    for request in requests.collect::<Vec<_>>() {
        passed += u32::from(request.await.unwrap());
    }
    assert_eq!(passed, 7);
    let left = limiters[0].look("user", &policies).await;
    assert_eq!((left.checks[0].remaining, left.checks[1].remaining), (0, 2));
}

#[tokio::test]
async fn a_refusal_counts_nowhere_and_a_shadow_never_refuses() {
    let redis = TestRedis::new();
    let limiter = limiter(&redis);
    let (wide, narrow) = (hourly("wide", 4), hourly("narrow", 1));
    let shadow = RatePolicy { shadow: true, ..hourly("shadow", 2) };
    let all = [wide.clone(), narrow, shadow.clone()];
    assert!(limiter.take("user", &all).await.passes());
    let refused = limiter.take("user", &all).await;
    assert_eq!(refused.violated().map(|check| &*check.policy.name).collect::<Vec<_>>(), ["narrow"]);
    assert_eq!(limiter.look("user", std::slice::from_ref(&wide)).await.checks[0].remaining, 3);

    let tried = [wide, shadow];
    assert!(limiter.take("user", &tried).await.checks[1].passes);
    let decision = limiter.take("user", &tried).await;
    assert!(decision.passes() && !decision.checks[1].passes);
    assert_eq!(decision.checks[0].remaining, 1, "counted although the shadow objects");
}

#[tokio::test]
async fn what_is_given_back_can_be_taken_again() {
    let redis = TestRedis::new();
    let limiter = limiter(&redis);
    let policies = [hourly("a", 2)];
    for _ in 0..2 {
        assert!(limiter.take("user", &policies).await.passes());
    }
    assert!(!limiter.take("user", &policies).await.passes());
    assert_eq!(limiter.give_back("user", &policies).await.checks[0].remaining, 1);
    assert!(limiter.take("user", &policies).await.passes());
    for _ in 0..5 {
        limiter.give_back("user", &policies).await;
    }
    assert_eq!(limiter.look("user", &policies).await.checks[0].remaining, 2, "never above full");
}

#[tokio::test]
async fn keys_share_one_cluster_slot_and_expire() {
    let redis = TestRedis::new();
    let limiter = limiter(&redis);
    let policies = [hourly("a", 5), hourly("b", 10), hourly("c", 1)];
    for user in ["one", "two"] {
        limiter.take(user, &policies).await;
    }
    let store = &limiter.redis;
    let pattern = store.key("rate:*").replace('{', "\\{");
    let keys: Vec<String> = store.query(cmd("KEYS").arg(pattern)).await.unwrap();
    assert_eq!(keys.len(), 6);
    let mut slots = HashSet::new();
    for key in &keys {
        let left: i64 = store.query(cmd("PTTL").arg(key)).await.unwrap();
        assert!(left > 0 && left <= 3_600_000, "{key} stays for {left} ms");
        slots.insert(hash_slot(key));
    }
    assert_eq!(slots.len(), 1, "{keys:?}");
}

/// The slot of a key in a Redis Cluster: CRC16 (XMODEM) of its hash tag, modulo 16384.
fn hash_slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let crc = tag.filter(|tag| !tag.is_empty()).unwrap_or(key).bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % 16_384
}

#[test]
fn the_slot_is_computed_as_redis_does() {
    // From the cluster specification: CRC16("123456789") is 0x31C3.
    assert_eq!(hash_slot("123456789"), 0x31c3);
    assert_eq!(hash_slot("{user}.a"), hash_slot("x{user}.b"));
}

#[tokio::test]
async fn without_redis_the_same_quota_holds_in_this_process() {
    let store = Redis::new(&SecretString::from("redis://127.0.0.1:1/0"), "away").unwrap();
    let limiter = RateLimiter::new(store, PATIENCE);
    let policies = [hourly("a", 5)];
    for left in (0..5).rev() {
        let decision = limiter.take("user", &policies).await;
        assert!(decision.passes() && decision.degraded);
        assert_eq!(decision.checks[0].remaining, left);
    }
    let refused = limiter.take("user", &policies).await;
    assert!(!refused.passes() && limiter.is_degraded());
    assert!(refused.retry_after() > Duration::from_secs(700));
    assert!(limiter.take("another", &policies).await.passes());
}
