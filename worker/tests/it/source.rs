//! Taking ids from the lists: nothing that Redis hands out is lost, whatever
//! happens at that moment.

use std::collections::HashSet;
use std::time::Duration;

use chrono::DateTime;
use regimen_common::dispatch::{List, Message, Queue, Taken, Weights};
use regimen_common::redis::Redis;
use regimen_common::test_support::PrivateRedis;
use regimen_worker::runner::paused::PausedQueues;
use regimen_worker::runner::redis_source::RedisSource;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PLANS: (List, List) = (List::Pro, List::Free);
const WEIGHTS: Weights = Weights { first: 4, second: 1 };
/// More than any of this takes, and less than a source blocks by itself.
const LIMIT: Duration = Duration::from_secs(4);

/// What a source needs, with a Redis of its own: it tells how many clients block.
struct Lists {
    _redis: PrivateRedis,
    store: Redis,
    queue: Queue,
    paused: PausedQueues,
    drain: CancellationToken,
}

impl Lists {
    async fn new() -> Self {
        let redis = PrivateRedis::start().await;
        let store = Redis::new(&SecretString::from(redis.url()), "source").unwrap();
        let (queue, paused) = (Queue::new(store.clone()), PausedQueues::default());
        Self { _redis: redis, store, queue, paused, drain: CancellationToken::new() }
    }

    /// A source that has found the lists empty.
    async fn idle(&self) -> RedisSource {
        let (queue, paused) = (self.queue.clone(), self.paused.clone());
        let mut source = RedisSource::new(queue, paused, self.drain.clone(), PLANS, WEIGHTS);
        assert_eq!(ids(source.take(5).await.unwrap()), [""; 0]);
        source
    }

    /// Takes from an idle source; returns once it blocks.
    async fn blocked(&self, mut source: RedisSource) -> JoinHandle<(RedisSource, Vec<String>)> {
        let task = tokio::spawn(async move {
            let taken = source.take(5).await.unwrap();
            (source, ids(taken))
        });
        self.until_one_blocks().await;
        task
    }

    async fn until_one_blocks(&self) {
        let info = redis::cmd("INFO").arg("clients").to_owned();
        let blocks = async {
            while !self.store.query::<String>(&info).await.unwrap().contains("blocked_clients:1\r")
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, blocks).await.unwrap();
    }

    async fn push(&self, list: List, id: &str) {
        self.queue.push(list, &[Message::new(id, DateTime::UNIX_EPOCH, None)]).await.unwrap();
    }

    async fn depth(&self, list: List) -> u64 {
        self.queue.depth(list).await.unwrap()
    }
}

fn ids(taken: Taken) -> Vec<String> {
    taken.into_iter().map(|(_, message)| message.id).collect()
}

async fn ended<T>(task: JoinHandle<T>) -> T {
    timeout(LIMIT, task).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_idle_source_takes_what_is_pushed_to_either_list() {
    let lists = Lists::new().await;
    let task = lists.blocked(lists.idle().await).await;
    lists.push(List::Free, "free").await;
    let (source, taken) = ended(task).await;
    assert_eq!(taken, ["free"]);
    let task = lists.blocked(source).await;
    lists.push(List::Pro, "pro").await;
    assert_eq!(ended(task).await.1, ["pro"]);
}

#[tokio::test]
async fn a_drain_calls_an_idle_source_away() {
    let lists = Lists::new().await;
    let task = lists.blocked(lists.idle().await).await;
    lists.drain.cancel();
    assert_eq!(ended(task).await.1, [""; 0]);
    lists.push(List::Free, "later").await;
    assert_eq!(lists.depth(List::Free).await, 1, "nobody waits any more");
}

/// The push and the drain meet in every order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_while_a_source_drains_is_taken_or_still_there() {
    let mut lists = Lists::new().await;
    for round in 0..300 {
        lists.drain = CancellationToken::new();
        let task = lists.blocked(lists.idle().await).await;
        let (drain, yields) = (lists.drain.clone(), round % 30);
        let drains = tokio::spawn(async move {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            drain.cancel();
        });
        lists.push(List::Free, "id").await;
        drains.await.unwrap();
        let (_, taken) = ended(task).await;
        let left = lists.queue.pop(PLANS, WEIGHTS, 0, 10).await.unwrap();
        assert_eq!(taken.len() + left.len(), 1, "round {round}");
    }
}

#[tokio::test]
async fn a_source_leaves_a_list_alone_from_the_moment_it_is_paused() {
    let lists = Lists::new().await;
    let task = lists.blocked(lists.idle().await).await;
    lists.paused.set(HashSet::from([List::Pro]));
    let (source, taken) = ended(task).await;
    assert_eq!(taken, [""; 0], "called away");

    let task = lists.blocked(source).await;
    lists.push(List::Pro, "pro").await;
    lists.push(List::Free, "free").await;
    let (source, taken) = ended(task).await;
    assert_eq!((taken, lists.depth(List::Pro).await), (vec!["free".to_owned()], 1));

    let task = lists.blocked(source).await;
    lists.paused.set(HashSet::new());
    let (mut source, taken) = ended(task).await;
    assert_eq!(taken, [""; 0], "called away");
    assert_eq!(ids(source.take(5).await.unwrap()), ["pro"]);
}

#[tokio::test]
async fn a_broken_connection_is_told_and_made_anew() {
    let lists = Lists::new().await;
    let mut source = lists.idle().await;
    let task = tokio::spawn(async move {
        let broken = source.take(5).await.is_err();
        (source, broken)
    });
    lists.until_one_blocks().await;
    let kill = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).to_owned();
    let _: u64 = lists.store.query(&kill).await.unwrap();
    let (mut source, broken) = ended(task).await;
    assert!(broken);
    assert_eq!(ids(source.take(5).await.unwrap()), [""; 0]);
    let task = lists.blocked(source).await;
    lists.push(List::Free, "id").await;
    assert_eq!(ended(task).await.1, ["id"]);
}
