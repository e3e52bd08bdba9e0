//! The dispatch lists on a real Redis: shares, order, wake-ups, bad messages.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use regimen_common::dispatch::{List, Message, Queue, Taken, Weights};
use regimen_common::redis::{BlockingLink, Redis};
use regimen_common::test_support::TestRedis;
use secrecy::SecretString;

const PLANS: (List, List) = (List::Pro, List::Free);
const WEIGHTS: Weights = Weights { first: 4, second: 1 };

fn queue(redis: &TestRedis) -> (Redis, Queue) {
    let store = Redis::new(&SecretString::from(redis.url().to_owned()), redis.prefix()).unwrap();
    (store.clone(), Queue::new(store))
}

fn messages(name: &str, count: usize) -> Vec<Message> {
    let at = |n| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(n as i64);
    (0..count).map(|n| Message::new(format!("{name}{n}"), at(n), None)).collect()
}

async fn pop(queue: &Queue, turn: u64, count: usize) -> Vec<String> {
    let popped = queue.pop(PLANS, WEIGHTS, turn, count).await.unwrap();
    ids(popped)
}

fn ids(taken: Taken) -> Vec<String> {
    taken.into_iter().map(|(_, message)| message.id).collect()
}

#[tokio::test]
async fn both_lists_get_their_shares_in_large_and_small_pops() {
    let redis = TestRedis::new();
    let (_, queue) = queue(&redis);
    queue.push(List::Pro, &messages("pro", 100)).await.unwrap();
    queue.push(List::Free, &messages("free", 100)).await.unwrap();
    let of = |ids: &[String], name| ids.iter().filter(|id| id.starts_with(name)).count();
    let large = pop(&queue, 0, 50).await;
    assert_eq!((of(&large, "pro"), of(&large, "free")), (40, 10));
    let mut small = Vec::new();
    for turn in 0..50 {
        small.extend(pop(&queue, turn, 1).await);
    }
    assert_eq!((of(&small, "pro"), of(&small, "free")), (40, 10));
    // What one list lacks, the other gives.
    assert_eq!(pop(&queue, 0, 1_000).await.len(), 100);
}

#[tokio::test]
async fn a_list_without_turns_is_left_alone() {
    let redis = TestRedis::new();
    let (_, queue) = queue(&redis);
    queue.push(List::Pro, &messages("pro", 3)).await.unwrap();
    queue.push(List::Free, &messages("free", 3)).await.unwrap();
    let taken = async |first_paused, second_paused| {
        let weights = WEIGHTS.without(first_paused, second_paused);
        ids(queue.pop(PLANS, weights, 0, 2).await.unwrap())
    };
    assert_eq!(taken(true, true).await, [""; 0]);
    assert_eq!(taken(true, false).await, ["free0", "free1"]);
    assert_eq!(taken(false, true).await, ["pro0", "pro1"]);
    assert_eq!(queue.depth(List::Pro).await.unwrap(), 1);
}

/// Jobs claimed without Redis are shared by a rule of our own; it is the same.
#[tokio::test]
async fn the_script_and_the_rule_share_alike() {
    let redis = TestRedis::new();
    let (_, queue) = queue(&redis);
    let cases = [(0, 0), (0, 3), (3, 0), (1, 9), (9, 1), (7, 7)];
    for (turn, (pro, free)) in (0..).zip(cases) {
        for want in [1, 2, 5, 8, 30] {
            queue.push(List::Pro, &messages("pro", pro)).await.unwrap();
            queue.push(List::Free, &messages("free", free)).await.unwrap();
            let taken = pop(&queue, turn, want).await;
            let pros = taken.iter().filter(|id| id.starts_with("pro")).count();
            let shares = WEIGHTS.shares(turn, want, (pro, free));
            assert_eq!((pros, taken.len() - pros), shares, "{turn} {want} {pro} {free}");
            pop(&queue, 0, 100).await;
        }
    }
}

#[test]
fn lists_take_turns_at_being_first() {
    let order = |weights: Weights, turn| weights.order(("pro", "free"), turn);
    for turn in 0..4 {
        assert_eq!(order(WEIGHTS, turn), ["pro", "free"], "{turn}");
    }
    assert_eq!(order(WEIGHTS, 4), ["free", "pro"]);
    assert_eq!(order(WEIGHTS.without(true, false), 0), ["free"]);
    assert_eq!(order(WEIGHTS.without(false, true), 4), ["pro"]);
    assert_eq!(order(WEIGHTS.without(true, true), 0), [""; 0]);
}

#[tokio::test]
async fn oldest_first_and_what_came_back_before_all() {
    let redis = TestRedis::new();
    let (_, queue) = queue(&redis);
    queue.push(List::Free, &messages("a", 2)).await.unwrap();
    queue.push(List::Free, &messages("b", 1)).await.unwrap();
    queue.push_before(List::Free, &messages("c", 2)).await.unwrap();
    assert_eq!(pop(&queue, 0, 10).await, ["c0", "c1", "a0", "a1", "b0"]);
}

#[tokio::test]
async fn ten_thousand_messages_pass_in_one_push_and_one_pop() {
    let redis = TestRedis::new();
    let (_, queue) = queue(&redis);
    queue.push(List::Free, &messages("m", 10_000)).await.unwrap();
    assert_eq!(queue.depth(List::Free).await.unwrap(), 10_000);
    assert_eq!(queue.oldest(List::Free).await.unwrap(), Some(DateTime::UNIX_EPOCH));
    assert_eq!(pop(&queue, 0, 20_000).await.len(), 10_000);
    assert_eq!(queue.oldest(List::Free).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_put_back_stands_where_it_stood() {
    let redis = TestRedis::new();
    let (_, queue) = queue(&redis);
    queue.push(List::Pro, &messages("pro", 3)).await.unwrap();
    queue.push(List::Free, &messages("free", 3)).await.unwrap();
    let taken = queue.pop(PLANS, WEIGHTS, 3, 3).await.unwrap();
    assert_eq!(ids(taken.clone()), ["pro0", "pro1", "free0"]);
    queue.put_back(&taken).await.unwrap();
    assert_eq!(queue.depth(List::Pro).await.unwrap(), 3);
    assert_eq!(pop(&queue, 0, 10).await, ["pro0", "pro1", "pro2", "free0", "free1", "free2"]);
}

const LONG: Duration = Duration::from_secs(60);

/// Redis gives a blocked worker what it can take and the rest to the next one.
#[tokio::test]
async fn one_push_reaches_as_many_sleepers_as_it_takes() {
    let redis = TestRedis::new();
    let (store, queue) = queue(&redis);
    let sleeper = async |count: usize| {
        let mut link = named_link(&queue, &redis).await;
        let (lists, wake_up_key) = ([List::Pro, List::Free], queue.wake_up_key());
        queue.wait(&mut link, &lists, &wake_up_key, count, LONG).await.unwrap()
    };
    let push = async {
        until_blocked(&store, &redis, 3).await;
        queue.push(List::Free, &messages("m", 4)).await.unwrap();
    };
    let (first, second, third, ()) = tokio::join!(sleeper(1), sleeper(2), sleeper(1), push);
    assert!(first.iter().chain(&second).chain(&third).all(|(list, _)| *list == List::Free));
    let mut taken = [ids(first), ids(second), ids(third)].concat();
    taken.sort();
    assert_eq!(taken, ["m0", "m1", "m2", "m3"]);
}

#[tokio::test]
async fn a_bell_calls_its_owner_away_and_nobody_else() {
    let redis = TestRedis::new();
    let (store, queue) = queue(&redis);
    let (mine, other) = (queue.wake_up_key(), queue.wake_up_key());
    let sleeper = async |wake_up_key| {
        let mut link = named_link(&queue, &redis).await;
        ids(queue.wait(&mut link, &[List::Free], wake_up_key, 5, LONG).await.unwrap())
    };
    let ring = async {
        until_blocked(&store, &redis, 2).await;
        queue.wake(&mine).await.unwrap();
        until_blocked(&store, &redis, 1).await;
        queue.push(List::Free, &messages("m", 1)).await.unwrap();
    };
    let (called, stayed, ()) = tokio::join!(sleeper(&mine), sleeper(&other), ring);
    assert_eq!((called, stayed), (vec![], vec!["m0".to_owned()]));
    // A ring that comes first is heard, too; what stands in the lists stays.
    queue.push(List::Free, &messages("n", 1)).await.unwrap();
    queue.wake(&mine).await.unwrap();
    assert_eq!(sleeper(&mine).await, [""; 0]);
    assert_eq!(queue.depth(List::Free).await.unwrap(), 1);
}

/// A blocking connection that goes by the test's prefix: the server is shared.
async fn named_link(queue: &Queue, redis: &TestRedis) -> BlockingLink {
    let mut link = queue.blocking().await.unwrap();
    let name = redis::cmd("CLIENT").arg("SETNAME").arg(redis.prefix()).to_owned();
    link.query::<()>(&name).await.unwrap();
    link
}

/// Waits until so many of the test's connections block.
async fn until_blocked(store: &Redis, redis: &TestRedis, count: usize) {
    let name = format!(" name={} ", redis.prefix());
    loop {
        let clients: String = store.query(redis::cmd("CLIENT").arg("LIST")).await.unwrap();
        let blocked = |line: &&str| line.contains(&name) && line.contains(" flags=b ");
        if clients.lines().filter(blocked).count() == count {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn messages_nobody_can_read_are_dropped_and_the_rest_served() {
    let redis = TestRedis::new();
    let (store, queue) = queue(&redis);
    let other_version = r#"{"v":99,"id":"x","at":0}"#;
    for bad in ["no json", other_version, "{}"] {
        let key = store.key("queue:free");
        store.query::<i64>(redis::cmd("LPUSH").arg(key).arg(bad)).await.unwrap();
    }
    queue.push(List::Free, &messages("good", 1)).await.unwrap();
    assert_eq!(pop(&queue, 0, 10).await, ["good0"]);
}
