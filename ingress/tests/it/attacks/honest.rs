//! None of the attacks makes honest requests wait for long.
//!
//! The attackers share one address behind a proxy and come twice as often as
//! the flood guard lets one address; honest requests have another. Rounds with
//! and without the attack take turns, so that whatever else this machine does
//! meets both alike; the medians are compared.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::crowds::idle;
use crate::harness::{Ingress, Send, token};

/// The stated factor, as docs/security.md has it.
const MOST: f64 = 10.0;
/// What a busy machine may add to any answer.
const NOISE: Duration = Duration::from_millis(20);
const ROUNDS: usize = 4;
const REQUESTS: usize = 15;
/// Attackers at once; two cores are shared by them, the ingress and the tests.
const ATTACKERS: u32 = 8;
/// What the flood guard lets one address do: a tenth of the default, because a
/// debug build takes more than ten times as long.
const PER_SECOND: u32 = 10;
const ATTACKER: &str = "203.0.113.9";
/// The address of the next honest request; each has its own.
static SENDER: AtomicU32 = AtomicU32::new(0x0b00_0000);

/// What attackers do over and over.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Bodies as large as the limit, of JSON that is refused at its very end.
    LargeBodies,
    /// Bodies nested as deep as their size allows.
    DeepBodies,
    /// Tokens with a bad signature.
    BadTokens,
    /// Heads of the greatest size, one after the other.
    LargeHeads,
    /// Bodies that come a byte at a time, on many connections.
    SlowBodies,
}

const ATTACKS: [Attack; 5] = [
    Attack::LargeBodies,
    Attack::DeepBodies,
    Attack::BadTokens,
    Attack::LargeHeads,
    Attack::SlowBodies,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_slows_honest_requests_by_more_than_the_stated_factor() {
    let per_second = PER_SECOND.to_string();
    let settings = [
        ("HEADER_TIMEOUT_SECONDS", "300"),
        ("BODY_TIMEOUT_SECONDS", "300"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("FLOOD_PER_SECOND", per_second.as_str()),
        ("FLOOD_BURST", "10"),
    ];
    let ingress = Arc::new(Ingress::start(&settings).await);
    let user = Uuid::new_v4();
    honest(&ingress, user).await;
    for attack in ATTACKS {
        let (mut calm, mut attacked) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            calm.extend(honest(&ingress, user).await);
            let running = Running::start(&ingress, attack).await;
            attacked.extend(honest(&ingress, user).await);
            running.stop().await;
        }
        let (calm, attacked) = (median(calm), median(attacked));
        let most = calm.mul_f64(MOST) + NOISE;
        println!("{attack:?}: honest median {calm:?} without, {attacked:?} with the attack");
        assert!(attacked <= most, "{attack:?}: {attacked:?} instead of {calm:?}");
    }
}

/// How long honest requests take, one after the other.
async fn honest(ingress: &Ingress, user: Uuid) -> Vec<Duration> {
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        let address = Ipv4Addr::from_bits(SENDER.fetch_add(1, Ordering::Relaxed)).to_string();
        let request = ingress.request(Method::GET, "/v1/usage", user);
        let answer = request.header("x-forwarded-for", address).answer().await;
        assert_eq!(answer.status, 200);
        times.push(begun.elapsed());
    }
    times
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Attackers at work.
struct Running {
    over: Arc<AtomicBool>,
    attackers: Vec<JoinHandle<()>>,
    _held: Vec<TcpStream>,
}

impl Running {
    /// Returns once every attacker has attacked once.
    async fn start(ingress: &Arc<Ingress>, attack: Attack) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let held = match attack {
            Attack::SlowBodies => idle(ingress.address(), 500).await,
            _ => Vec::new(),
        };
        let (ready, mut started) = tokio::sync::mpsc::channel(1);
        let attackers = (0..ATTACKERS).map(|_| {
            let (ingress, over, ready) = (Arc::clone(ingress), Arc::clone(&over), ready.clone());
            tokio::spawn(async move {
                strike(&ingress, attack).await;
                let _ = ready.send(()).await;
                let mut pace =
                    tokio::time::interval(ATTACKERS * Duration::from_secs(1) / (2 * PER_SECOND));
                while !over.load(Ordering::Relaxed) {
                    pace.tick().await;
                    strike(&ingress, attack).await;
                }
            })
        });
        let attackers = attackers.collect();
        for _ in 0..ATTACKERS {
            started.recv().await.unwrap();
        }
        Self { over, attackers, _held: held }
    }

    async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        for attacker in self.attackers {
            attacker.await.unwrap();
        }
    }
}

/// One attempt, which must be refused: for what it is, or as one too many.
async fn strike(ingress: &Ingress, attack: Attack) {
    const LIMIT: usize = 256 * 1024;
    let user = Uuid::new_v4();
    let get = || ingress.anonymous(Method::GET, "/v1/usage");
    let post = |body: String| {
        let request = ingress.request(Method::POST, "/v1/plans", user);
        request.header("content-type", "application/json").body(body)
    };
    let (request, status) = match attack {
        Attack::LargeBodies => {
            let item = "{\"a\":\"bbbbbbbb\"},";
            let items = item.repeat(LIMIT / item.len() - 10);
            (post(format!("{{\"answers\":[{items}]]")), 400)
        }
        Attack::DeepBodies => (post("[".repeat(LIMIT - 10)), 400),
        Attack::BadTokens => (get().bearer_auth(format!("{}A", token(user))), 401),
        Attack::LargeHeads => (get().header("x-large", "a".repeat(40_000)), 431),
        Attack::SlowBodies => return trickle(ingress.address()).await,
    };
    let answer = request.header("x-forwarded-for", ATTACKER).answer().await;
    assert!([429, status].contains(&answer.status.as_u16()), "{attack:?}: {answer:?}");
}

/// A body that stops before its end, given up on by its sender.
async fn trickle(address: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /api/stripe/webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\
                x-forwarded-for: 203.0.113.9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..50 {
        let _ = stream.write_all(b"{").await;
        tokio::task::yield_now().await;
    }
    // Refused or not, the server may have closed by now.
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}
