//! The connection to Redis on real servers: it works only while it takes
//! writes, it is replaced when it leads to the wrong place or goes silent, and
//! passwords reach every connection.

use std::time::Duration;

use regimen_common::dispatch::notices::{self, Heard, JobNotice};
use regimen_common::dispatch::{List, Message, Queue};
use regimen_common::job::JobEventKind;
use regimen_common::redis::{Redis, RedisError, Trouble};
use regimen_common::test_support::{PrivateRedis, Proxy};
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// How long anything is waited for before the test has failed.
const LIMIT: Duration = Duration::from_secs(60);
/// What "noticed in seconds" may take, on a busy machine.
const SECONDS: Duration = Duration::from_secs(8);

fn store_at(url: &str) -> Redis {
    Redis::new(&SecretString::from(url.to_owned()), "p").unwrap()
}

/// A handle whose watch runs.
fn watched(url: &str) -> (Redis, AbortOnDropHandle<()>) {
    let store = store_at(url);
    let watch = AbortOnDropHandle::new(tokio::spawn(regimen_common::redis::watch(store.clone())));
    (store, watch)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

fn message() -> Message {
    Message::new(Uuid::new_v4(), chrono::DateTime::UNIX_EPOCH, None)
}

#[tokio::test]
async fn redis_works_only_while_it_takes_writes() {
    let redis = PrivateRedis::start().await;
    let (store, _watch) = watched(&redis.url());
    let queue = Queue::new(store.clone());
    queue.push(List::Free, &[message()]).await.unwrap();
    let refusals = [
        ("maxmemory", "1", "0", Trouble::Full),
        ("min-replicas-to-write", "1", "0", Trouble::FewReplicas),
    ];
    redis.configure("maxmemory-policy", "noeviction").await;
    for (name, refusing, sound, trouble) in refusals {
        redis.configure(name, refusing).await;
        until("it is away", async || store.trouble() == Some(trouble)).await;
        let refused = queue.push(List::Free, &[message()]).await;
        assert!(matches!(refused, Err(RedisError::Away(why)) if why == trouble), "{refused:?}");
        // It would still say what it holds, and hand it out.
        assert_eq!(queue.depth(List::Free).await.unwrap(), 1);
        redis.configure(name, sound).await;
        until("it is back", async || store.works()).await;
    }
    redis.command("REPLICAOF 127.0.0.1 1").await;
    until("it is away", async || store.trouble() == Some(Trouble::ReadOnly)).await;
    redis.command("REPLICAOF NO ONE").await;
    until("it is back", async || store.works()).await;
    redis.lose_disk().await;
    until("it is away", async || store.trouble() == Some(Trouble::CannotSave)).await;
    redis.configure("stop-writes-on-bgsave-error", "no").await;
    until("it is back", async || store.works()).await;
    redis.configure("requirepass", "new").await;
    // Who is connected stays let in, until there is a new connection.
    let _ = store
        .query::<()>(
            redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("no"),
        )
        .await;
    until("it is away", async || store.trouble() == Some(Trouble::NoAccess)).await;
    drop(redis);
    until("it is away", async || store.trouble() == Some(Trouble::Unreachable)).await;
}

/// One refusal of whatever kind is enough to have it looked at; nobody waits
/// for the next proof in turn.
#[tokio::test]
async fn a_refused_push_is_looked_into_at_once() {
    let redis = PrivateRedis::start().await;
    let (store, _watch) = watched(&redis.url());
    let queue = Queue::new(store.clone());
    redis.configure("maxmemory", "1").await;
    until("a push is refused", async || queue.push(List::Free, &[message()]).await.is_err()).await;
    let refused_at = Instant::now();
    until("it is away", async || !store.works()).await;
    assert!(refused_at.elapsed() < Duration::from_millis(700), "{:?}", refused_at.elapsed());
}

#[tokio::test]
async fn a_demoted_server_is_left_for_the_one_new_connections_reach() {
    let (old, new) = tokio::join!(PrivateRedis::start(), PrivateRedis::start());
    let proxy = Proxy::to_url(&old.url()).unwrap();
    let store = store_at(&proxy.url(&old.url()));
    let queue = Queue::new(store.clone());
    let (sender, mut heard) = mpsc::channel(100);
    let _listening = AbortOnDropHandle::new(tokio::spawn(notices::listen(store.clone(), sender)));
    assert_eq!(said(&mut heard).await, Some(Heard::Connected));
    queue.push(List::Free, &[message()]).await.unwrap();
    proxy.retarget(format!("127.0.0.1:{}", new.port()));
    // No copy of the new one: what is told there is not heard here.
    old.command("REPLICAOF 127.0.0.1 1").await;
    // The refusal comes as a value in a pipeline's reply, too.
    let mut pipeline = redis::pipe();
    pipeline.set(store.key("a"), 1).ignore();
    let refused: redis::RedisResult<()> = pipeline.query_async(&mut store.clone()).await;
    assert!(refused.is_err());
    queue.push(List::Free, &[message()]).await.unwrap();
    assert_eq!(queue.depth(List::Free).await.unwrap(), 1, "it stands in the new one");
    assert_eq!(said(&mut heard).await, Some(Heard::Disconnected));
    assert_eq!(said(&mut heard).await, Some(Heard::Connected));
    hears(&store, &mut heard).await;
}

/// The next thing a listener hears.
async fn said(heard: &mut mpsc::Receiver<Heard>) -> Option<Heard> {
    timeout(LIMIT, heard.recv()).await.unwrap_or_else(|_| panic!("nothing was heard"))
}

/// Waits until what is told is heard.
async fn hears(store: &Redis, heard: &mut mpsc::Receiver<Heard>) {
    let notice = JobNotice { job: Uuid::new_v4(), seq: 1, kind: JobEventKind::Saved };
    until("a notice is heard", async || {
        notices::publish(store, &[notice]).await;
        let told = async {
            while let Some(said) = heard.recv().await {
                if said == Heard::Notice(notice) {
                    return true;
                }
            }
            false
        };
        timeout(Duration::from_millis(20), told).await.unwrap_or(false)
    })
    .await;
}

/// As behind a NAT that has forgotten them: neither end hears of it.
#[tokio::test]
async fn silent_connections_are_replaced_within_seconds() {
    let redis = PrivateRedis::start().await;
    let proxy = Proxy::to_url(&redis.url()).unwrap();
    let (store, _watch) = watched(&proxy.url(&redis.url()));
    let (sender, mut heard) = mpsc::channel(100);
    let _listening = AbortOnDropHandle::new(tokio::spawn(notices::listen(store.clone(), sender)));
    assert_eq!(said(&mut heard).await, Some(Heard::Connected));
    until("it is connected", async || proxy.standing() == 2).await;
    proxy.freeze();
    let frozen_at = Instant::now();
    // What is under way fails with the connection, and long before its own time is up.
    let ping = redis::cmd("PING");
    let stuck = store.query::<String>(&ping).await;
    assert!(stuck.is_err(), "{stuck:?}");
    until("another connection works", async || store.query::<String>(&ping).await.is_ok()).await;
    assert_eq!(said(&mut heard).await, Some(Heard::Disconnected));
    assert_eq!(said(&mut heard).await, Some(Heard::Connected));
    hears(&store, &mut heard).await;
    assert!(frozen_at.elapsed() < SECONDS, "{:?}", frozen_at.elapsed());
    assert!(store.works());
}

/// The subscription alone is cut off, and nothing else tells of it.
#[tokio::test]
async fn a_silent_subscription_is_replaced_within_seconds() {
    let redis = PrivateRedis::start().await;
    let proxy = Proxy::to_url(&redis.url()).unwrap();
    let store = store_at(&proxy.url(&redis.url()));
    let (sender, mut heard) = mpsc::channel(100);
    let _listening = AbortOnDropHandle::new(tokio::spawn(notices::listen(store.clone(), sender)));
    assert_eq!(said(&mut heard).await, Some(Heard::Connected));
    proxy.freeze();
    let frozen_at = Instant::now();
    assert_eq!(said(&mut heard).await, Some(Heard::Disconnected));
    assert_eq!(said(&mut heard).await, Some(Heard::Connected));
    assert!(frozen_at.elapsed() < SECONDS, "{:?}", frozen_at.elapsed());
    hears(&store, &mut heard).await;
}

const PASSWORD: &str = "s3cret";

/// Everything a process does with Redis: commands, scripts, waits, notices.
async fn everything_works(url: &str) {
    let (store, _watch) = watched(url);
    let queue = Queue::new(store.clone());
    let (sender, mut heard) = mpsc::channel(100);
    let _listening = AbortOnDropHandle::new(tokio::spawn(notices::listen(store.clone(), sender)));
    assert_eq!(said(&mut heard).await, Some(Heard::Connected));
    hears(&store, &mut heard).await;
    let (mut link, wake_up_key) = (queue.blocking().await.unwrap(), queue.wake_up_key());
    let sent = message();
    queue.push(List::Free, std::slice::from_ref(&sent)).await.unwrap();
    let taken = queue.wait(&mut link, &[List::Free], &wake_up_key, 5, LIMIT).await.unwrap();
    assert_eq!(taken, [(List::Free, sent)]);
    let weights = regimen_common::dispatch::Weights { first: 1, second: 1 };
    assert_eq!(queue.pop((List::Pro, List::Free), weights, 0, 5).await.unwrap(), []);
    let mut is_proven = redis::cmd("EXISTS");
    is_proven.arg(store.key("proof"));
    until("the watch has written", async || store.query::<bool>(&is_proven).await.unwrap()).await;
    assert!(store.works(), "{:?}", store.trouble());
}

#[tokio::test]
async fn a_password_reaches_every_connection_of_a_cluster() {
    let [first, second] = PrivateRedis::start_cluster(Some(PASSWORD)).await;
    let (first, second) = (first.port(), second.port());
    let url = format!("redis-cluster://:{PASSWORD}@127.0.0.1:{first},127.0.0.1:{second}");
    everything_works(&url).await;
    everything_works(&format!("redis-cluster://default:{PASSWORD}@127.0.0.1:{first}")).await;
}

#[tokio::test]
async fn passwords_reach_sentinels_and_the_master() {
    let master = PrivateRedis::start_with_password(PASSWORD).await;
    let sentinel = PrivateRedis::start_sentinel(&master, "other").await;
    let url = format!(
        "redis-sentinel://:{PASSWORD}@127.0.0.1:{}/main/2?sentinel_password=other",
        sentinel.port()
    );
    everything_works(&url).await;
    let keys = master.command("INFO keyspace").await;
    let keys: String = redis::from_redis_value(keys).unwrap();
    assert!(keys.contains("db2:") && !keys.contains("db0:"), "{keys}");
}
