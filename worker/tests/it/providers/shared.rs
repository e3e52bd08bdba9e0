//! Cool-downs and breakers between workers, through a real Redis, and without it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use regimen_common::redis::Redis;
use regimen_common::test_support::TestRedis;
use regimen_worker::llm::breaker::{Admission, Breakers};
use regimen_worker::llm::policy::FallbackPolicy;
use regimen_worker::llm::retry::Health;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use url::Url;

const SLOT: &str = "openai:test:m";

fn store(url: &str, prefix: &str) -> Redis {
    Redis::new(&SecretString::from(url), prefix).unwrap()
}

/// Three workers' gates on one Redis.
fn fleet(redis: &TestRedis, policy: FallbackPolicy) -> Vec<Breakers> {
    (0..3).map(|_| Breakers::new(Some(store(redis.url(), redis.prefix())), policy)).collect()
}

fn policy() -> FallbackPolicy {
    FallbackPolicy {
        breaker_threshold: 3,
        breaker_open: Duration::from_millis(200),
        breaker_cap: Duration::from_secs(1),
        ..FallbackPolicy::default()
    }
}

/// What the breakers says once it says anything but "not yet"; waits as long as it is told to.
async fn when_free(breakers: &Breakers) -> Admission {
    loop {
        match breakers.admit(SLOT).await {
            Admission::Cooling(wait) | Admission::Open(wait) => sleep(wait).await,
            free => return free,
        }
    }
}

#[tokio::test]
async fn one_workers_rate_limit_cools_all_workers_down() {
    let redis = TestRedis::new();
    let fleet = fleet(&redis, policy());
    let hint = Duration::from_secs(20);
    fleet[0].record(SLOT, Health::Busy, Some(hint)).await;
    for breakers in &fleet {
        let Admission::Cooling(wait) = breakers.admit(SLOT).await else { panic!("not cooling") };
        assert!(wait <= hint && wait > hint - Duration::from_secs(5), "{wait:?}");
        assert!(breakers.blocked(SLOT).is_some());
    }
    // Another model of the provider is another limit.
    assert_eq!(fleet[1].admit("openai:test:n").await, Admission::Call);
    // A shorter hint does not shorten the longer one.
    fleet[1].record(SLOT, Health::Busy, Some(Duration::from_millis(1))).await;
    assert!(matches!(fleet[2].admit(SLOT).await, Admission::Cooling(_)));
}

#[tokio::test]
async fn failures_of_all_workers_open_one_breaker_and_one_of_them_probes() {
    let redis = TestRedis::new();
    let fleet = fleet(&redis, policy());
    for breakers in &fleet {
        assert_eq!(breakers.admit(SLOT).await, Admission::Call);
    }
    for breakers in &fleet {
        breakers.record(SLOT, Health::Failing(1), None).await;
    }
    for breakers in &fleet {
        assert!(matches!(breakers.admit(SLOT).await, Admission::Open(_)));
    }
    let Admission::Open(wait) = fleet[0].admit(SLOT).await else { panic!("not open") };
    sleep(wait).await;
    let answers = join_all(fleet.iter().map(|breakers| breakers.admit(SLOT))).await;
    let probes = answers.iter().filter(|answer| **answer == Admission::Probe).count();
    assert_eq!(probes, 1, "{answers:?}");

    // The probe fails: open for twice as long. Then one succeeds: closed for all.
    fleet[0].record(SLOT, Health::Failing(1), None).await;
    let Admission::Open(wait) = fleet[1].admit(SLOT).await else { panic!("not open") };
    assert!(wait > Duration::from_millis(200), "{wait:?}");
    assert_eq!(when_free(&fleet[2]).await, Admission::Probe);
    fleet[2].record(SLOT, Health::Fine, None).await;
    for breakers in &fleet {
        assert_eq!(breakers.admit(SLOT).await, Admission::Call);
    }
}

#[tokio::test]
async fn what_redis_says_of_a_sound_provider_holds_for_a_moment_and_no_longer() {
    const MOMENT: Duration = Duration::from_millis(60);
    let redis = TestRedis::new();
    // Open for longer than a busy machine keeps a test waiting.
    let policy = FallbackPolicy { breaker_open: Duration::from_secs(1), ..policy() };
    let fleet = fleet(&redis, policy);
    assert_eq!(fleet[0].admit(SLOT).await, Admission::Call);
    fleet[1].record(SLOT, Health::Failing(3), None).await;
    sleep(MOMENT).await;
    let Admission::Open(wait) = fleet[0].admit(SLOT).await else { panic!("not open") };

    // To look ahead takes no probe.
    sleep(wait).await;
    fleet[0].look(SLOT).await;
    assert_eq!(fleet[2].admit(SLOT).await, Admission::Probe);
    fleet[2].record(SLOT, Health::Fine, None).await;

    // A success is told where others have failed, so that failures in between do not add up.
    fleet[0].look(SLOT).await;
    fleet[1].record(SLOT, Health::Failing(2), None).await;
    sleep(MOMENT).await;
    assert_eq!(fleet[0].admit(SLOT).await, Admission::Call);
    fleet[0].record(SLOT, Health::Fine, None).await;
    fleet[1].record(SLOT, Health::Failing(2), None).await;
    assert_eq!(fleet[2].admit(SLOT).await, Admission::Call);

    // A failure of one's own ends the moment at once.
    fleet[0].record(SLOT, Health::Fine, None).await;
    fleet[0].look(SLOT).await;
    fleet[0].record(SLOT, Health::Failing(3), None).await;
    assert!(matches!(fleet[0].admit(SLOT).await, Admission::Open(_)));
}

#[tokio::test]
async fn money_and_keys_open_the_breaker_for_long() {
    let redis = TestRedis::new();
    let fleet = fleet(&redis, policy());
    fleet[0].record("a", Health::Broke, None).await;
    fleet[0].record("b", Health::Misconfigured, None).await;
    let Admission::Open(broke) = fleet[1].admit("a").await else { panic!("not open") };
    let Admission::Open(misconfigured) = fleet[1].admit("b").await else { panic!("not open") };
    let quarter = Duration::from_secs(14 * 60)..=Duration::from_secs(15 * 60);
    assert!(quarter.contains(&broke), "{broke:?}");
    assert!(quarter.contains(&misconfigured), "{misconfigured:?}");
}

#[tokio::test]
async fn one_reply_shuts_a_model_for_minutes_and_repetition_for_longer() {
    let redis = TestRedis::new();
    let (broke, misconfigured) = (Duration::from_secs(2), Duration::from_secs(3));
    let policy = FallbackPolicy { broke, misconfigured, ..policy() };
    let fleet = fleet(&redis, policy);
    let open = async |slot: &str| match fleet[0].admit(slot).await {
        Admission::Open(wait) => wait,
        other => panic!("{other:?}"),
    };
    // A wish that comes with it changes nothing.
    let week = Some(Duration::from_secs(7 * 24 * 3600));
    fleet[1].record("money", Health::Broke, week).await;
    assert!(open("money").await <= broke);
    // Whoever was under way does not make it longer.
    for breakers in &fleet {
        breakers.record(SLOT, Health::Misconfigured, None).await;
    }
    let wait = open(SLOT).await;
    assert!(wait <= broke, "{wait:?}");
    sleep(wait).await;
    assert_eq!(when_free(&fleet[1]).await, Admission::Probe);
    fleet[1].record(SLOT, Health::Misconfigured, None).await;
    let wait = open(SLOT).await;
    assert!(wait > broke && wait <= misconfigured, "{wait:?}");
    let probed = when_free(&fleet[1]).await;
    assert_eq!(probed, Admission::Probe);
    fleet[1].record(SLOT, Health::Fine, None).await;
    assert_eq!(fleet[0].admit(SLOT).await, Admission::Call);
}

#[tokio::test]
async fn nothing_stays_in_redis_for_ever() {
    let redis = TestRedis::new();
    let breakers = &fleet(&redis, policy())[0];
    breakers.record("a", Health::Failing(1), None).await;
    breakers.record("b", Health::Broke, None).await;
    breakers.record("c", Health::Busy, None).await;
    let store = store(redis.url(), redis.prefix());
    for key in ["breaker:a", "breaker:b", "cool:c"] {
        let ttl: i64 = store.query(redis::cmd("PTTL").arg(store.key(key))).await.unwrap();
        assert!(ttl > 0, "{key}: {ttl}");
    }
}

/// A way to Redis that can be cut and mended.
struct Line {
    address: SocketAddr,
    up: Arc<AtomicBool>,
}

impl Line {
    async fn to(redis: &TestRedis) -> Self {
        let target = Url::parse(redis.url()).unwrap();
        let target = (target.host_str().unwrap().to_owned(), target.port().unwrap_or(6379));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let up = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&up);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, state) = (target.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    let ways = tokio::io::copy_bidirectional(&mut near, &mut far);
                    let cut = async {
                        while state.load(Ordering::SeqCst) {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! { _ = ways => {} () = cut => {} }
                });
            }
        });
        Self { address, up }
    }

    fn breakers(&self, redis: &TestRedis) -> Breakers {
        let mut url = Url::parse(redis.url()).unwrap();
        url.set_ip_host(self.address.ip()).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        Breakers::new(Some(store(url.as_str(), redis.prefix())), policy())
    }
}

#[tokio::test]
async fn without_redis_each_worker_goes_by_what_it_knows_and_comes_back() {
    let redis = TestRedis::new();
    let line = Line::to(&redis).await;
    let (cut_off, other) = (line.breakers(&redis), &fleet(&redis, policy())[0]);
    other.record("known", Health::Busy, Some(Duration::from_secs(30))).await;
    assert!(matches!(cut_off.admit("known").await, Admission::Cooling(_)));

    line.up.store(false, Ordering::SeqCst);
    assert!(matches!(cut_off.admit("known").await, Admission::Cooling(_)), "remembered");
    assert_eq!(cut_off.admit(SLOT).await, Admission::Call);
    cut_off.record(SLOT, Health::Busy, Some(Duration::from_secs(30))).await;
    assert!(matches!(cut_off.admit(SLOT).await, Admission::Cooling(_)), "its own rules go on");
    assert_eq!(other.admit(SLOT).await, Admission::Call, "the other one cannot know");

    line.up.store(true, Ordering::SeqCst);
    other.record("new", Health::Busy, Some(Duration::from_secs(30))).await;
    // It asks Redis again within a few seconds.
    let back = async {
        while cut_off.admit("new").await == Admission::Call {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
}
