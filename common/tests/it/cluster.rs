//! The rate limit and the dispatch lists on a real Redis Cluster of two nodes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use regimen_common::dispatch::{List, Message, Queue};
use regimen_common::rate_limit::{RateLimiter, RatePolicy};
use regimen_common::redis::{RESPONSE_TIMEOUT, Redis};
use regimen_common::test_support::PrivateRedis;
use secrecy::SecretString;

/// Long enough that a busy machine does not turn the test to the fallback.
const PATIENCE: Duration = Duration::from_secs(30);
/// Enough that both nodes have some: each prefix is a slot of its own.
const PREFIXES: usize = 12;

fn hourly(name: &str, quota: u32) -> RatePolicy {
    let quota = NonZeroU32::new(quota).unwrap();
    RatePolicy { name: name.into(), quota, window: Duration::from_secs(3600), shadow: false }
}

/// Only one node is named; the other is found through it.
fn cluster_url(node: &PrivateRedis) -> String {
    node.url().replace("redis://", "redis-cluster://").replace("/0", "")
}

#[tokio::test]
async fn several_policies_are_one_call_on_whichever_node_has_the_slot() {
    let [first, second] = PrivateRedis::start_cluster(None).await;
    let node = cluster_url(&first);
    let policies: Arc<[RatePolicy]> = [hourly("a", 3), hourly("b", 5)].into();
    for number in 0..PREFIXES {
        let store = Redis::new(&SecretString::from(node.clone()), &format!("p{number}")).unwrap();
        let limiter = Arc::new(RateLimiter::new(store, PATIENCE));
        let takes = (0..20).map(|_| {
            let (limiter, policies) = (Arc::clone(&limiter), Arc::clone(&policies));
            tokio::spawn(async move { limiter.take("user", &policies).await })
        });
        let mut passed = 0;
        for take in takes.collect::<Vec<_>>() {
            let decision = take.await.unwrap();
            assert!(!decision.degraded, "the cluster decides, not this process");
            passed += u32::from(decision.passes());
        }
        assert_eq!(passed, 3, "prefix p{number}");
        let left = limiter.look("user", &policies).await;
        assert_eq!((left.checks[0].remaining, left.checks[1].remaining), (0, 2));
    }
    for node in [&first, &second] {
        let client = redis::Client::open(node.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let keys: usize = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
        assert!(keys > 0, "both nodes have a part of the keys");
    }
}

#[tokio::test]
async fn an_idle_worker_blocks_for_longer_than_other_commands_may_take() {
    let [first, _second] = PrivateRedis::start_cluster(None).await;
    let url = SecretString::from(cluster_url(&first));
    let waits = (0..PREFIXES).map(|number| {
        let queue = Queue::new(Redis::new(&url, &format!("p{number}")).unwrap());
        async move {
            let (mut link, wake_up_key) = (queue.blocking().await.unwrap(), queue.wake_up_key());
            let long = RESPONSE_TIMEOUT + Duration::from_secs(2);
            let mut wait =
                async || queue.wait(&mut link, &[List::Free], &wake_up_key, 5, long).await;
            assert_eq!(wait().await.unwrap(), [], "nothing came");
            queue.wake(&wake_up_key).await.unwrap();
            assert_eq!(wait().await.unwrap(), [], "called away");
            let message = Message::new("id", DateTime::UNIX_EPOCH, None);
            queue.push(List::Free, std::slice::from_ref(&message)).await.unwrap();
            assert_eq!(wait().await.unwrap(), [(List::Free, message)]);
        }
    });
    futures_util::future::join_all(waits).await;
}
