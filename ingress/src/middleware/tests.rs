//! The middleware in front of a small router, over real sockets and byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::error::PROBLEM_JSON;
use crate::extract::Json;
use crate::serve::{Ending, serve};

/// More than the kernel keeps of a response for a client that does not read.
const LARGE: usize = 64 * 1024 * 1024;
/// Nothing takes this long unless it hangs.
const HANG: Duration = Duration::from_secs(60);

async fn start(limits: LimitsConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/echo", post(async |Json(body): Json<Value>| axum::Json(body)))
        .route("/health", get(async || "healthy"))
        .route("/large", get(async || vec![0; LARGE]))
        .route("/panic", get(async || if true { panic!("secret detail") } else { "" }));
    let router = wrap(router, &limits, |path| path == "/health");
    tokio::spawn(async move {
        let ending = Ending { delay: Duration::ZERO, grace: Duration::ZERO };
        serve(listener, router, &limits, &CancellationToken::new(), ending).await;
    });
    address
}

/// Sends `bytes` and reads until the server closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn send(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\
         content-type: application/json\r\n{headers}\r\n{body}"
    );
    exchange(address, request.as_bytes()).await
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {answer:?}")).parse().unwrap()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name).map(|h| h.1)
}

fn problem(answer: &str) -> Value {
    assert_eq!(header(answer, "content-type"), Some(PROBLEM_JSON), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    for member in ["type", "title", "status", "detail", "instance", "code"] {
        assert!(!body[member].is_null(), "{member} in {answer}");
    }
    assert_eq!(body["status"], status(answer));
    assert_eq!(body["instance"].as_str(), header(answer, "x-request-id"));
    body
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let address = start(LimitsConfig::default()).await;
    let nowhere = send(address, "GET", "/nowhere", "", "").await;
    assert_eq!(problem(&nowhere)["code"], "not-found");
    let wrong = send(address, "DELETE", "/echo", "", "").await;
    assert_eq!(problem(&wrong)["code"], "method-not-allowed");
    assert_eq!(header(&wrong, "allow"), Some("POST"));
    let invented = send(address, "BREW", "/health", "", "").await;
    assert_eq!(status(&invented), 405);
    assert_eq!(header(&invented, "allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_request_keeps_a_harmless_id_and_loses_any_other() {
    let address = start(LimitsConfig::default()).await;
    let kept = send(address, "GET", "/health", "x-request-id: trace-1.a_B\r\n", "").await;
    assert_eq!(header(&kept, "x-request-id"), Some("trace-1.a_B"));
    let long = format!("x-request-id: {}\r\n", "a".repeat(65));
    for bad in ["x-request-id: a b\r\n", "x-request-id: \u{1b}[2J\r\n", "x-request-id:\r\n", &long]
    {
        let answer = send(address, "GET", "/health", bad, "").await;
        // hyper itself refuses control characters in values.
        if status(&answer) == 200 {
            let id = header(&answer, "x-request-id").unwrap();
            assert!(uuid::Uuid::try_parse(id).is_ok(), "{id}");
        } else {
            assert_eq!(status(&answer), 400);
        }
    }
    assert_eq!(header(&kept, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&kept, "cache-control"), Some("no-store"));
}

#[tokio::test]
async fn sizes_are_limited() {
    let address = start(LimitsConfig { body_bytes: 1024, ..LimitsConfig::default() }).await;
    let body = format!("\"{}\"", "a".repeat(1022));
    assert_eq!(status(&send(address, "POST", "/echo", "", &body).await), 200);
    let body = format!("\"{}\"", "a".repeat(1023));
    let refused = send(address, "POST", "/echo", "", &body).await;
    assert_eq!(problem(&refused)["code"], "payload-too-large");
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         content-type: application/json\r\n\r\n401\r\n{body}\r\n0\r\n\r\n"
    );
    assert_eq!(status(&exchange(address, chunked.as_bytes()).await), 413);
    let path = format!("/health?{}", "a".repeat(8 * 1024));
    assert_eq!(problem(&send(address, "GET", &path, "", "").await)["code"], "url-too-long");
    let headers = format!("x-a: {}\r\n", "a".repeat(48 * 1024));
    let refused = send(address, "GET", "/health", &headers, "").await;
    assert_eq!(problem(&refused)["code"], "headers-too-large");
    let lines = "x-a: 1\r\n".repeat(200);
    assert_eq!(status(&send(address, "GET", "/health", &lines, "").await), 431);
}

#[tokio::test]
async fn slow_senders_are_cut_off() {
    let limits = LimitsConfig {
        body_timeout: Duration::from_millis(50),
        header_timeout: Duration::from_millis(50),
        ..LimitsConfig::default()
    };
    let address = start(limits).await;
    let body = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{\"a\":";
    let cut = exchange(address, body.as_bytes()).await;
    assert_eq!(problem(&cut)["code"], "request-timeout");
    assert_eq!(header(&cut, "connection"), Some("close"));
    // Ends only because the server closes the connection.
    exchange(address, b"GET /health HTTP/1.1\r\nhost:").await;
    exchange(address, b"").await;
    let kept_alive = exchange(address, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&kept_alive), 200);
}

#[tokio::test]
async fn whoever_does_not_read_makes_room_for_others() {
    let limits = LimitsConfig {
        write_timeout: Duration::from_millis(50),
        max_connections: 1,
        ..LimitsConfig::default()
    };
    let address = start(limits).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let other = send(address, "GET", "/health", "", "");
    let other = tokio::time::timeout(HANG, other).await.expect("the silent client keeps its place");
    assert_eq!(status(&other), 200);
    let mut part = Vec::new();
    let _ = silent.read_to_end(&mut part).await;
    assert!(part.len() < LARGE, "all was sent");
}

#[tokio::test]
async fn connections_in_the_queue_of_a_listener_that_closes_are_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        waiting.push(stream);
    }
    let limits = LimitsConfig::default();
    let router = Router::new().route("/health", get(async || "healthy"));
    let router = wrap(router, &limits, |path| path == "/health");
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let ending = Ending { delay: Duration::ZERO, grace: Duration::from_secs(10) };
    serve(listener, router, &limits, &shutdown, ending).await;
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(status(&answer), 200);
    }
}

#[tokio::test]
async fn after_a_body_that_is_not_read_whole_the_connection_is_said_to_end() {
    let address = start(LimitsConfig::default()).await;
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 3000000\r\n\r\n";
    let request = [head.as_bytes(), &vec![b' '; 1024 * 1024 + 1]].concat();
    let refused = exchange(address, &request).await;
    assert_eq!(status(&refused), 413);
    assert_eq!(header(&refused, "connection"), Some("close"));
}

#[tokio::test]
async fn a_panic_is_an_answer_without_its_text() {
    let address = start(LimitsConfig::default()).await;
    let answer = send(address, "GET", "/panic", "", "").await;
    assert_eq!(problem(&answer)["code"], "internal");
    assert!(!answer.contains("secret detail"));
}

#[tokio::test]
async fn a_flood_is_refused_but_health_is_not() {
    let flood = FloodConfig { per_second: 1, burst: 2 };
    let address = start(LimitsConfig { flood, ..LimitsConfig::default() }).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(status(&send(address, "POST", "/echo", "", "1").await));
    }
    assert_eq!(statuses[..2], [200, 200]);
    let refused = send(address, "GET", "/nowhere", "", "").await;
    assert_eq!(problem(&refused)["code"], "quota-exceeded");
    assert_eq!(header(&refused, "retry-after"), Some("1"));
    assert_eq!(status(&send(address, "GET", "/health", "", "").await), 200);
}

#[tokio::test]
async fn only_listed_origins_may_call_from_a_browser() {
    let allowed_origins = AllowedOrigins::Exactly(vec!["https://app.example".to_owned()]);
    let address = start(LimitsConfig { allowed_origins, ..LimitsConfig::default() }).await;
    let preflight = async |origin: &str| {
        let headers = format!(
            "origin: {origin}\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: authorization,baggage,content-type,sentry-trace\r\n"
        );
        send(address, "OPTIONS", "/echo", &headers, "").await
    };
    let allowed = preflight("https://app.example").await;
    assert_eq!(status(&allowed), 200);
    assert_eq!(header(&allowed, "access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(header(&allowed, "access-control-allow-credentials"), Some("true"));
    assert_eq!(header(&allowed, "access-control-max-age"), Some("7200"));
    let listed = header(&allowed, "access-control-allow-headers").unwrap();
    let listed: Vec<_> = listed.split(',').map(str::trim).collect();
    for sent in [
        "authorization",
        "apikey",
        "x-client-info",
        "content-type",
        "idempotency-key",
        "prefer",
        "if-none-match",
        "baggage",
        "sentry-trace",
        "traceparent",
        "tracestate",
        "cache-control",
        "last-event-id",
    ] {
        assert!(listed.contains(&sent), "{sent} is not in {listed:?}");
    }
    for origin in ["https://app.example.evil.test", "http://app.example", "null", "*"] {
        assert_eq!(header(&preflight(origin).await, "access-control-allow-origin"), None);
    }
    // A refusal must be readable by the page too.
    let refused = send(address, "GET", "/nowhere", "origin: https://app.example\r\n", "").await;
    assert_eq!(header(&refused, "access-control-allow-origin"), Some("https://app.example"));
    assert!(header(&refused, "vary").unwrap().contains("origin"));
    let readable = header(&refused, "access-control-expose-headers").unwrap();
    for read in [
        "location",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "idempotency-replayed",
        "etag",
        "x-request-id",
        "preference-applied",
    ] {
        assert!(readable.split(',').any(|name| name == read), "{read} is not in {readable}");
    }
}
