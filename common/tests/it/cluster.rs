//! The rate limit on a real Redis Cluster of two nodes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use regimen_common::kv::Kv;
use regimen_common::rate_limit::{Policy, RateLimiter};
use regimen_common::test_support::PrivateRedis;
use secrecy::SecretString;

/// Long enough that a busy machine does not turn the test to the fallback.
const PATIENCE: Duration = Duration::from_secs(30);
/// Enough that both nodes have some: each prefix is a slot of its own.
const PREFIXES: usize = 12;

fn hourly(name: &str, quota: u32) -> Policy {
    let quota = NonZeroU32::new(quota).unwrap();
    Policy { name: name.into(), quota, window: Duration::from_secs(3600), shadow: false }
}

#[tokio::test]
async fn several_policies_are_one_call_on_whichever_node_has_the_slot() {
    let [first, second] = PrivateRedis::start_cluster().await;
    // Only one node is named; the other is found through it.
    let node = first.url().replace("redis://", "redis-cluster://").replace("/0", "");
    let policies: Arc<[Policy]> = [hourly("a", 3), hourly("b", 5)].into();
    for number in 0..PREFIXES {
        let kv = Kv::new(&SecretString::from(node.clone()), &format!("p{number}")).unwrap();
        let limiter = Arc::new(RateLimiter::new(kv, PATIENCE));
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
