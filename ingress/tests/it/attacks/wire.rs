//! Attacks below HTTP's surface, written byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::crowds::idle;
use crate::harness::{Ingress, token};

/// Sends `bytes`; what the server says until it closes.
async fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect()
}

/// A second request hidden in the first must never be answered.
#[tokio::test]
async fn no_request_is_smuggled_behind_another() {
    let ingress = Ingress::start(&[("HEADER_TIMEOUT_SECONDS", "1")]).await;
    let hidden = "GET /livez HTTP/1.1\r\nhost: hidden\r\n\r\n";
    let post = "POST /v1/plans HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let shapes = [
        ("two lengths", format!("{post}content-length: 0\r\ncontent-length: 44\r\n\r\n{hidden}")),
        ("a list of lengths", format!("{post}content-length: 0, 44\r\n\r\n{hidden}")),
        ("a signed length", format!("{post}content-length: +0\r\n\r\n{hidden}")),
        (
            "an unknown coding",
            format!("{post}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunked not last",
            format!("{post}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a broken chunk size",
            format!("{post}transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}"),
        ),
        ("a space before the colon", format!("{post}content-length : 0\r\n\r\n{hidden}")),
        ("a folded header", format!("{post}x: a\r\n content-length: 0\r\n\r\n{hidden}")),
        ("a bare line feed in a name", format!("{post}x\ny: a\r\n\r\n{hidden}")),
        ("a bare carriage return in a value", format!("{post}x: a\rb\r\n\r\n{hidden}")),
        ("NUL in a value", format!("{post}x: a\0b\r\n\r\n{hidden}")),
        (
            "chunked twice",
            format!("{post}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a coding after chunked",
            format!(
                "{post}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n\
                 0\r\n\r\n{hidden}"
            ),
        ),
        (
            "a tab before the coding's colon",
            format!("{post}transfer-encoding\t: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a chunk size beyond numbers",
            format!("{post}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}"),
        ),
        (
            "a chunk size with a sign",
            format!("{post}transfer-encoding: chunked\r\n\r\n-1\r\n{hidden}"),
        ),
        (
            "a line feed in a chunk extension",
            format!("{post}transfer-encoding: chunked\r\n\r\n0;x\n\r\n\r\n{hidden}"),
        ),
        (
            "chunks in HTTP/1.0",
            format!(
                "POST /v1/plans HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        ("two spaces in the request line", format!("GET  /livez HTTP/1.1\r\n\r\n{hidden}")),
        ("no version", format!("GET /livez\r\n\r\n{hidden}")),
        ("HTTP/2's preface", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}")),
    ];
    for (shape, bytes) in shapes {
        let answer = exchange(ingress.address(), bytes.as_bytes()).await;
        let statuses = statuses(&answer);
        assert!(!statuses.contains(&"200"), "{shape}: {answer}");
        assert!(statuses.iter().all(|status| status.starts_with('4')), "{shape}: {answer}");
    }
}

/// With both framings hyper follows `transfer-encoding`, as RFC 9112 says, and
/// closes: what follows is not a request.
#[tokio::test]
async fn length_and_chunks_together_end_the_connection_or_the_request() {
    let ingress = Ingress::start(&[("HEADER_TIMEOUT_SECONDS", "1")]).await;
    let bytes = "POST /v1/plans HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
                 transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nhost: h\r\n\r\n";
    let answer = exchange(ingress.address(), bytes.as_bytes()).await;
    assert!(statuses(&answer).len() <= 2, "{answer}");
    assert!(statuses(&answer)[0].starts_with('4'), "{answer}");
}

#[tokio::test]
async fn slow_heads_and_bodies_are_cut_off() {
    let settings = [("HEADER_TIMEOUT_SECONDS", "0.2"), ("BODY_TIMEOUT_SECONDS", "0.2")];
    let ingress = Ingress::start(&settings).await;
    let head = exchange(ingress.address(), b"POST /v1/plans HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert!(!head.contains("200 OK"), "{head}");
    let body = format!(
        "POST /v1/plans HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         authorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n{{\"answers\":",
        token(Uuid::new_v4())
    );
    let answer = exchange(ingress.address(), body.as_bytes()).await;
    assert_eq!(statuses(&answer), ["408"], "{answer}");
}

#[tokio::test]
async fn idle_connections_neither_stay_nor_block_others() {
    let ingress = Ingress::start(&[("HEADER_TIMEOUT_SECONDS", "3")]).await;
    let mut idle = idle(ingress.address(), 900).await;
    assert_eq!(ingress.get("/v1/usage", Uuid::new_v4()).await.status, 200);
    for stream in idle.iter_mut() {
        // Ends only because the server closes.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_idle_ones_to_be_cut_off() {
    let settings = [("HEADER_TIMEOUT_SECONDS", "0.2"), ("MAX_CONNECTIONS", "20")];
    let ingress = Ingress::start(&settings).await;
    let _idle = idle(ingress.address(), 100).await;
    assert_eq!(ingress.get("/v1/usage", Uuid::new_v4()).await.status, 200);
}

#[tokio::test]
async fn oversized_heads_are_refused() {
    let ingress = Ingress::start(&[]).await;
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n")
    };
    let long = "a".repeat(40_000);
    for (request, status) in [
        (get(&format!("/livez?{}", &long[..9_000]), ""), "414"),
        (get("/livez", &format!("x: {}\r\n", &long.repeat(2)[..50_000])), "431"),
        (get("/livez", &"x: 1\r\n".repeat(150)), "431"),
        (get("/livez", &format!("x: {}\r\n", long.repeat(3))), "431"),
    ] {
        let answer = exchange(ingress.address(), request.as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{}", &request[..60]);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"].to_string(), status);
        assert!(head.contains(&format!("x-request-id: {}", problem["instance"].as_str().unwrap())));
    }
}
