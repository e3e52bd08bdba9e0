//! An ingress that cannot start, or starts without what it needs, names the
//! variable, its value, and what to do: the real binary.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use regimen_common::test_support::{Process, TestDatabase, TestRedis};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::harness::{Ingress, JWT_SECRET, Send, claims, signed};

/// Settings, and what must be said of them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// What it says when it ends, which it must.
async fn said(settings: &[(&str, &str)]) -> String {
    let basics = [
        ("ENVIRONMENT", "development"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("DATABASE_URL", "postgres://ada:s3cret@127.0.0.1:1/app"),
        ("REDIS_URL", "redis://:s3cret@127.0.0.1:1"),
        ("JWT_SECRET", JWT_SECRET),
    ];
    let unset = |(name, _): &&(&str, &str)| !settings.iter().any(|(set, _)| set == name);
    let pairs: Vec<_> = basics.iter().filter(unset).chain(settings).copied().collect();
    let mut process = Process::spawn("regimen-ingress", pairs);
    let status = process.wait_exit().await;
    assert_eq!(status.code(), Some(1), "{}", process.output());
    let output = process.output();
    assert!(!output.contains("s3cret") && !output.contains(JWT_SECRET), "{output}");
    output
}

#[tokio::test]
async fn a_start_that_fails_names_the_variable_its_value_and_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let (empty, taken) = (empty.to_str().unwrap(), taken.to_string());
    let roots = "postgres://ada@127.0.0.1:1/app?sslmode=verify-full&sslrootcert=/nowhere/ca.pem";
    let no_port = "postgres://ada:s3cret@127.0.0.1:port/app";
    let cases: &[Case<'_>] = &[
        (&[("LISTEN_ADDR", &taken)], &["LISTEN_ADDR: cannot listen on", &taken, "another port"]),
        (&[("METRICS_ADDR", &taken)], &["METRICS_ADDR: cannot listen on", &taken, "another port"]),
        (&[("LISTEN_ADDR", "192.0.2.1:80")], &["LISTEN_ADDR", "192.0.2.1:80", "0.0.0.0:80"]),
        (&[("LISTEN_ADDR", "8080")], &["LISTEN_ADDR: is \"8080\"", "such as 127.0.0.1:8080"]),
        (&[("DATABASE_URL", no_port)], &["DATABASE_URL: ", "percent-encode"]),
        (&[("DATABASE_URL", roots)], &["DATABASE_URL: ", "/nowhere/ca.pem"]),
        (&[("DATABASE_URL", "")], &["DATABASE_URL: is required", "password"]),
        (&[("REDIS_URL", "http://127.0.0.1")], &["REDIS_URL: must be redis://"]),
        (&[("REDIS_URL", "")], &["REDIS_URL: is required", ".env.example"]),
        (&[("JWT_SECRET", ""), ("JWT_SECRET_FILE", empty)], &["JWT_SECRET_FILE: ", empty, "empty"]),
        (
            &[("JWT_SECRET", ""), ("JWT_SECRET_FILE", "/nowhere/secret")],
            &["JWT_SECRET_FILE: ", "/nowhere/secret", "readable"],
        ),
        (&[("JWT_SECRET", "a,b")], &["JWT_SECRET: holds a comma", "at least 32 bytes"]),
        (&[("JWKS_URL", "ref.supabase.co")], &["JWKS_URL: is no web address", "https://"]),
        (&[("MAX_QUEUED", "many")], &["MAX_QUEUED: is \"many\"", "between"]),
        (&[("MONTHLY_QUOTA", "maybe")], &["MONTHLY_QUOTA: is \"maybe\"", "true or false"]),
        (&[("SENTRY_DSN", "nonsense")], &["SENTRY_DSN", "https://key@host/project"]),
    ];
    for (settings, expected) in cases {
        let said = said(settings).await;
        for part in *expected {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
    }
}

#[tokio::test]
async fn a_start_without_its_stores_or_keys_says_so_and_goes_on() {
    let settings = [
        ("DATABASE_URL", "postgres://ada:s3cret@127.0.0.1:1/app"),
        ("REDIS_URL", "redis://:s3cret@127.0.0.1:1"),
        ("JWKS_URL", "http://127.0.0.1:1/auth/v1/.well-known/jwks.json"),
    ];
    let ingress = Ingress::start(&settings).await;
    ingress.await_log("DATABASE_URL: cannot use the database app at 127.0.0.1:1");
    ingress.await_log("the Redis of REDIS_URL");
    ingress.await_log("the keys at JWKS_URL cannot be fetched");
    assert!(!ingress.logs().contains("s3cret"), "{}", ingress.logs());
}

#[tokio::test]
async fn long_tokens_work_up_to_thirty_kilobytes_and_then_say_why_not() {
    let ingress = Ingress::start(&[]).await;
    let answer = async |filler: usize| {
        let mut claims = claims(Uuid::new_v4());
        claims["user_metadata"] = json!({"avatar": "a".repeat(filler)});
        ingress.anonymous(Method::GET, "/v1/usage").bearer_auth(signed(&claims)).answer().await
    };
    for filler in [6_000, 15_000, 22_000] {
        assert_eq!(answer(filler).await.status, 200, "{filler}");
    }
    // Beyond the token's limit, the limit of all headers, and the read buffer.
    for filler in [24_000, 36_000, 80_000] {
        let refused = answer(filler).await;
        let got = (refused.status.as_u16(), refused.problem());
        assert_eq!(got, (431, "headers-too-large"), "{filler}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(filler > 24_000 || detail.contains("user_metadata"), "{detail}");
    }
}

#[tokio::test]
async fn both_secrets_of_a_roll_hold() {
    let (old, new) = (JWT_SECRET, "the-next-secret-of-more-than-32-bytes");
    let both = format!("{old},{new}");
    let ingress = Ingress::start(&[("JWT_SECRET", &both)]).await;
    for secret in [old, new] {
        let key = EncodingKey::from_secret(secret.as_bytes()).unwrap();
        let token = encode(&Header::new(Algorithm::HS256), &claims(Uuid::new_v4()), &key).unwrap();
        let request = ingress.anonymous(Method::GET, "/v1/usage").bearer_auth(token);
        assert_eq!(request.answer().await.status, 200, "{secret}");
    }
}

#[tokio::test]
async fn an_undeclared_proxy_is_told_of_once() {
    let ingress = Ingress::start(&[]).await;
    for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let request = ingress.request(Method::GET, "/v1/usage", Uuid::new_v4());
        assert_eq!(request.header(name, "203.0.113.9").answer().await.status, 200);
    }
    let metrics = ingress.metrics().await;
    assert!(metrics.contains("regimen_undeclared_proxy_requests_total 3"), "{metrics}");
    assert!(!metrics.contains("203.0.113.9"));
    assert_eq!(ingress.logs().matches("is not among TRUSTED_PROXIES").count(), 1);
    let declared = Ingress::start(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let request = declared.request(Method::GET, "/v1/usage", Uuid::new_v4());
    assert_eq!(request.header("x-forwarded-for", "203.0.113.9").answer().await.status, 200);
    assert!(!declared.logs().contains("TRUSTED_PROXIES"));
}

/// The stores of a start that succeeds are used by nobody else.
#[tokio::test]
async fn an_address_file_that_cannot_be_written_is_named() {
    let (database, redis) = (TestDatabase::new().await, TestRedis::new());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_regimen-ingress"));
    command.env_clear().envs([
        ("ENVIRONMENT", "development"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("DATABASE_URL", database.url()),
        ("REDIS_URL", redis.url()),
        ("JWT_SECRET", JWT_SECRET),
        ("ADDRESS_FILE", "/nowhere/at/all/addresses"),
    ]);
    let mut process = Process::start("regimen-ingress", command);
    assert_eq!(process.wait_exit().await.code(), Some(1));
    let output = process.output();
    assert!(output.contains("ADDRESS_FILE: cannot write /nowhere/at/all/addresses"), "{output}");
}
