//! What honest users feel of attacks: the same requests are timed in quiet and
//! under attack, by turns, and compared. The attackers share the machine with
//! the server, so their rate is bounded: what is measured is what a refusal
//! costs others, not who wins the processor.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::crowds::{CROWD, crowd, raise_limit};
use super::keys::KeyServer;
use crate::harness::{Ingress, claims, plans, signed};

/// No attack may make the median honest request slower than this many times.
const FACTOR: f64 = 5.0;
/// And the slowest tenth not slower than this many times.
const TAIL_FACTOR: f64 = 10.0;
/// Shorter times are noise: ratios are taken of at least this.
const FLOOR: Duration = Duration::from_millis(2);
/// Quiet and attacked turns of each attack.
const TURNS: usize = 3;
/// Honest users in a turn; each reads once and asks for plans once.
const USERS: usize = 25;
/// Requests an attacker begins per second.
const ATTACKS_PER_SECOND: u32 = 150;
/// What one user may hold open.
const STREAMS_PER_USER: usize = 50;
/// How often one user asks for streams and held requests.
const CALLERS: usize = 500;
/// The one address of a flood, as the proxy tells it.
const HOSTILE: &str = "198.51.100.1";
const ISSUER: &str = "https://auth.example.test";

fn token(user: Uuid) -> String {
    let mut claims = claims(user);
    claims["iss"] = json!(ISSUER);
    signed(&claims)
}

async fn start(keys: &KeyServer) -> Ingress {
    Ingress::start(&[
        ("HEADER_TIMEOUT_SECONDS", "300"),
        ("BODY_TIMEOUT_SECONDS", "300"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("FLOOD_PER_SECOND", "20"),
        ("FLOOD_BURST", "40"),
        ("STREAMS_PER_USER", &STREAMS_PER_USER.to_string()),
        ("JWKS_URL", &keys.url),
        ("JWT_ISSUER", ISSUER),
    ])
    .await
}

fn from(ingress: &Ingress, address: &str, method: Method, path: &str) -> RequestBuilder {
    ingress.anonymous(method, path).header("x-forwarded-for", address)
}

/// The times of one turn: reads and accepted requests.
#[derive(Default)]
struct Times([Vec<Duration>; 2]);

impl Times {
    async fn measure(&mut self, ingress: &Ingress) {
        for number in 0..USERS {
            let (token, home) = (token(Uuid::new_v4()), format!("192.0.2.{number}"));
            let read = from(ingress, &home, Method::GET, "/v1/usage").bearer_auth(&token);
            self.0[0].push(timed(read, StatusCode::OK).await);
            let accept = from(ingress, &home, Method::POST, "/v1/plans").bearer_auth(&token);
            self.0[1].push(timed(accept.json(&plans()), StatusCode::ACCEPTED).await);
        }
    }

    fn at(&self, what: usize, share: usize) -> Duration {
        let mut times = self.0[what].clone();
        times.sort();
        times[times.len() * share / 100]
    }
}

async fn timed(request: RequestBuilder, expected: StatusCode) -> Duration {
    let start = Instant::now();
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), expected);
    answer.bytes().await.unwrap();
    start.elapsed()
}

/// What begins the line of a figure beyond its limit.
const TOO_SLOW: &str = "too slow: ";

/// Adds to `report` how an attack compares with the quiet around it, a line a figure.
fn compare(attack: &str, quiet: &Times, attacked: &Times, report: &mut Vec<String>) {
    for (what, name) in ["read", "accept"].into_iter().enumerate() {
        for (share, most) in [(50, FACTOR), (90, TAIL_FACTOR)] {
            let (before, during) = (quiet.at(what, share), attacked.at(what, share));
            let factor = during.as_secs_f64() / before.max(FLOOR).as_secs_f64();
            let judgement = if factor > most { TOO_SLOW } else { "" };
            report.push(format!(
                "{judgement}{attack}, {name}, p{share}: {before:?} {during:?} x{factor:.1}"
            ));
        }
    }
}

/// Connections that each say something and then stay.
struct Held<'a> {
    attack: &'a str,
    count: usize,
    /// What each says, by its number.
    opening: &'a dyn Fn(usize) -> String,
    /// What each goes on to say, ten times a second.
    drip: Option<u8>,
    /// How many the server leaves without an answer, and answers with 200. It
    /// refuses the others; any other numbers are another attack than the one meant.
    unanswered: usize,
    welcome: usize,
}

impl Held<'_> {
    /// Compares quiet with these connections.
    async fn run(&self, ingress: &Ingress, report: &mut Vec<String>) {
        let (mut quiet, mut attacked) = (Times::default(), Times::default());
        for _ in 0..TURNS {
            quiet.measure(ingress).await;
            let crowd = crowd(ingress.address(), self.count, self.opening).await;
            self.wait_for_answers(&crowd).await;
            tokio::select! {
                () = attacked.measure(ingress) => {}
                () = self.drips(&crowd) => {}
            }
            self.check(&crowd);
        }
        compare(self.attack, &quiet, &attacked, report);
    }

    async fn wait_for_answers(&self, crowd: &[TcpStream]) {
        let readable: FuturesUnordered<_> = crowd.iter().map(TcpStream::readable).collect();
        let answered = readable.take(self.count - self.unanswered).count();
        let answered = timeout(Duration::from_secs(60), answered).await;
        assert!(answered.is_ok(), "{}: the server owes answers", self.attack);
    }

    async fn drips(&self, crowd: &[TcpStream]) {
        let Some(byte) = self.drip else { return std::future::pending().await };
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            for stream in crowd {
                // A socket that takes no byte now is found out by `check`.
                let _ = stream.try_write(&[byte]);
            }
        }
    }

    fn check(&self, crowd: &[TcpStream]) {
        let (mut unanswered, mut welcome) = (0, 0);
        for stream in crowd {
            let mut head = [0; 12];
            match stream.try_read(&mut head) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => unanswered += 1,
                Ok(_) => welcome += usize::from(head == *b"HTTP/1.1 200"),
                Err(_) => {}
            }
        }
        let expected = (self.unanswered, self.welcome);
        assert_eq!((unanswered, welcome), expected, "unanswered and welcome: {}", self.attack);
    }
}

/// Compares quiet with a flood of what `request` makes, each refused with `refusal`.
async fn flooded(
    ingress: &Ingress,
    attack: &str,
    report: &mut Vec<String>,
    refusal: StatusCode,
    request: impl Fn() -> RequestBuilder,
) {
    let (mut quiet, mut attacked) = (Times::default(), Times::default());
    let refused = AtomicUsize::new(0);
    for _ in 0..TURNS {
        quiet.measure(ingress).await;
        let flood = async {
            let mut ticks = interval(Duration::from_secs(1) / ATTACKS_PER_SECOND);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut calls = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    _ = ticks.tick() => drop(calls.spawn(request().send())),
                    Some(answer) = calls.join_next(), if !calls.is_empty() => {
                        let refusals = matches!(answer, Ok(Ok(answer)) if answer.status() == refusal);
                        refused.fetch_add(usize::from(refusals), Ordering::Relaxed);
                    }
                }
            }
        };
        tokio::select! {
            () = attacked.measure(ingress) => {}
            () = flood => {}
        }
    }
    // A flood that never arrived would compare quiet with quiet.
    let refused = refused.into_inner();
    assert!(refused >= TURNS * USERS / 2, "{attack}: only {refused} refusals");
    compare(attack, &quiet, &attacked, report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_slows_honest_requests_beyond_the_stated_factor() {
    raise_limit();
    let keys = KeyServer::start(Some(json!({"keys": []}))).await;
    let ingress = start(&keys).await;
    let mut report = Vec::new();
    Times::default().measure(&ingress).await;

    hold_lines(&ingress, &mut report).await;
    flood(&ingress, &mut report).await;
    let report = report.join("\n");
    println!("{report}");
    assert!(!report.contains(TOO_SLOW), "{report}");
}

/// Attacks by what never ends.
async fn hold_lines(ingress: &Ingress, report: &mut Vec<String>) {
    let user = Uuid::new_v4();
    let accept = from(ingress, "192.0.2.200", Method::POST, "/v1/plans").bearer_auth(token(user));
    let accepted: Value = accept.json(&plans()).send().await.unwrap().json().await.unwrap();
    let job = accepted["jobs"][0]["id"].as_str().unwrap();
    // Each of these comes from an address of its own, past the flood guard.
    let begin = |line: &str, user: Uuid, number: usize, rest: &str| {
        let address = format!("10.200.{}.{}", number / 256, number % 256);
        let token = token(user);
        format!(
            "{line} HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {address}\r\n\
             authorization: Bearer {token}\r\n{rest}"
        )
    };
    let usage = "GET /v1/usage";
    let half_a_head = |number: usize| begin(usage, user, number, "x-long: ");
    let body = "content-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
    // And each of these from a user of its own, past the limit of plans.
    let half_a_body = |number| begin("POST /v1/plans", Uuid::new_v4(), number, body);
    let events = format!("GET /v1/jobs/{job}/events");
    let stream = |number: usize| begin(&events, user, number, "\r\n");
    let status = format!("GET /v1/jobs/{job}");
    let wait = |number: usize| begin(&status, user, number, "prefer: wait=60\r\n\r\n");
    let silent = |attack, count, opening, drip| Held {
        attack,
        count,
        opening,
        drip,
        unanswered: count,
        welcome: 0,
    };
    let slots = STREAMS_PER_USER;
    for held in [
        silent("idle connections", CROWD, &|_| "G".to_owned(), None),
        silent("dripped heads", 300, &half_a_head, Some(b'a')),
        silent("dripped bodies", 300, &half_a_body, Some(b' ')),
        Held {
            attack: "streams of one user",
            count: CALLERS,
            opening: &stream,
            drip: None,
            unanswered: 0,
            welcome: slots,
        },
        Held {
            attack: "held requests of one user",
            count: CALLERS,
            opening: &wait,
            drip: None,
            unanswered: slots,
            // Who holds enough is answered at once.
            welcome: CALLERS - slots,
        },
    ] {
        held.run(ingress, report).await;
    }
}

/// Attacks by what is refused, again and again.
async fn flood(ingress: &Ingress, report: &mut Vec<String>) {
    // Each of these comes from ever new addresses, past the flood guard.
    let strangers = AtomicUsize::new(0);
    let stranger = || {
        let n = strangers.fetch_add(1, Ordering::Relaxed);
        format!("10.{}.{}.1", n / 256 % 256, n % 256)
    };
    let user = token(Uuid::new_v4());
    let post = |body: String| {
        from(ingress, &stranger(), Method::POST, "/v1/plans")
            .bearer_auth(token(Uuid::new_v4()))
            .header("content-type", "application/json")
            .body(body)
    };
    let (deep, long) = ("[".repeat(100_000), " ".repeat(300_000));
    flooded(ingress, "deep JSON", report, StatusCode::BAD_REQUEST, || post(deep.clone())).await;
    flooded(ingress, "large bodies", report, StatusCode::PAYLOAD_TOO_LARGE, || post(long.clone()))
        .await;
    let read = |address: &str, token: &str| {
        from(ingress, address, Method::GET, "/v1/usage").bearer_auth(token)
    };
    // {"alg":"ES256","kid":"made-up-0"} with claims and a signature of nothing.
    let unknown = "eyJhbGciOiJFUzI1NiIsImtpZCI6Im1hZGUtdXAtMCJ9.e30.AAAA";
    flooded(ingress, "unknown key ids", report, StatusCode::SERVICE_UNAVAILABLE, || {
        read(&stranger(), unknown)
    })
    .await;
    let forged = format!("{}A", &user[..user.len() - 2]);
    flooded(ingress, "forged tokens", report, StatusCode::UNAUTHORIZED, || {
        read(&stranger(), &forged)
    })
    .await;
    flooded(ingress, "one address", report, StatusCode::TOO_MANY_REQUESTS, || read(HOSTILE, &user))
        .await;
}
