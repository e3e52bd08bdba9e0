//! Calls that Stripe does not simply answer: repeated under one key, given up
//! in time, and told of without what only we may know.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::shop::{KEY, Shop};
use super::stand_in::{Instead, error, object};
use crate::harness::{Answer, Send};
use reqwest::Method;
use uuid::Uuid;

const PATH: &str = "/v1/billing/checkout";

fn trouble(status: u16) -> Instead {
    let status = StatusCode::from_u16(status).unwrap();
    Instead::Answer(status, error("api_error", "lock_timeout", "x"), None)
}

async fn buy(shop: &Shop, user: Uuid, key: &str) -> Answer {
    let request = shop.ingress.request(Method::POST, PATH, user).json(&json!({}));
    request.header("Idempotency-Key", key).answer().await
}

/// The idempotency keys of the calls since the last look.
fn keys(shop: &Shop) -> Vec<String> {
    let calls = shop.stripe.calls();
    calls.iter().map(|call| call.header("idempotency-key").to_owned()).collect()
}

#[tokio::test]
async fn a_call_is_repeated_under_its_key() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    for status in [500, 503, 409] {
        shop.stripe.next(trouble(status));
        assert_eq!(buy(&shop, user, &format!("k{status}")).await.status, 200, "{status}");
        let keys = keys(&shop);
        assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "{status}");
    }
    // Stripe's own word counts over the status.
    let body = error("api_error", "x", "y");
    shop.stripe.next(Instead::Answer(StatusCode::INTERNAL_SERVER_ERROR, body, Some("false")));
    assert_eq!(buy(&shop, user, "no").await.status, 503);
    assert_eq!(keys(&shop).len(), 1);
    let body = error("invalid_request_error", "x", "y");
    shop.stripe.next(Instead::Answer(StatusCode::BAD_REQUEST, body, Some("true")));
    assert_eq!(buy(&shop, user, "yes").await.status, 200);
    assert_eq!(keys(&shop).len(), 2);
}

#[tokio::test]
async fn trouble_that_lasts_is_told_with_a_time_to_come_back() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    for status in [500, 500, 502] {
        shop.stripe.next(trouble(status));
    }
    let answer = buy(&shop, user, "k").await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (503, "stripe-unavailable"));
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(keys(&shop).len(), 3);
    shop.stripe.next(trouble(429));
    assert_eq!(buy(&shop, user, "k").await.status, 503);
    assert_eq!(keys(&shop).len(), 1, "who asks too often does not ask again at once");
}

#[tokio::test]
async fn a_stripe_that_hangs_is_given_up_and_asked_again() {
    let shop = Shop::with(&[("STRIPE_TIMEOUT_SECONDS", "0.3")]).await;
    let user = shop.user().await;
    let started = Instant::now();
    for _ in 0..3 {
        shop.stripe.next(Instead::Hang);
    }
    let answer = buy(&shop, user, "k").await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (503, "stripe-unavailable"));
    assert!(started.elapsed() < Duration::from_secs(30), "the test's own limit is 60 s");
    let made = keys(&shop);
    assert!(!made.is_empty() && made.iter().all(|key| *key == made[0]), "{made:?}");
}

#[tokio::test]
async fn nobody_at_the_address_is_trouble_too() {
    // Nothing listens on port 1.
    let shop = Shop::with(&[("STRIPE_BASE_URL", "http://127.0.0.1:1")]).await;
    let answer = buy(&shop, shop.user().await, "k").await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (503, "stripe-unavailable"));
}

#[tokio::test]
async fn a_callers_key_gets_the_same_session_and_no_other_one() {
    let shop = Shop::new().await;
    let (user, other) = (shop.user().await, shop.user().await);
    assert_eq!(buy(&shop, user, "k").await.body, buy(&shop, user, "k").await.body);
    let same = keys(&shop);
    assert_eq!(same[0], same[1]);
    let request = shop.ingress.request(Method::POST, PATH, user).json(&json!({"plan": "yearly"}));
    let answer = request.header("Idempotency-Key", "k").answer().await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (422, "idempotency-mismatch"));
    assert_eq!(keys(&shop)[0], same[0]);
    buy(&shop, other, "k").await;
    assert_ne!(keys(&shop)[0], same[0], "keys of two users never meet");
    for _ in 0..2 {
        assert_eq!(shop.ingress.post(PATH, user, &json!({})).await.status, 200);
    }
    let fresh = keys(&shop);
    assert_ne!(fresh[0], fresh[1]);
}

#[tokio::test]
async fn refusals_are_told_without_keys_and_causes() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    let cases = [
        (401, "invalid_request_error", "x", "502 stripe-refused"),
        (403, "invalid_request_error", "x", "502 stripe-refused"),
        (400, "invalid_request_error", "line_items[0][price]", "502 stripe-refused"),
        (404, "invalid_request_error", "x", "502 stripe-refused"),
        (400, "invalid_request_error", "customer", "502 stripe-refused"),
        (402, "card_error", "x", "409 conflict"),
    ];
    for (status, kind, param, expected) in cases {
        let body = error(kind, "resource_missing", param);
        let status = StatusCode::from_u16(status).unwrap();
        shop.stripe.next(Instead::Answer(status, body, None));
        let answer = shop.ingress.post(PATH, user, &json!({})).await;
        let told = format!("{} {}", answer.status.as_u16(), answer.problem());
        assert_eq!(told, expected, "{status} {kind} {param}");
        let text = answer.body.to_string();
        for secret in ["leak", "Leak", KEY, "dashboard", "127.0.0.1"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let logs = shop.ingress.logs();
    for secret in ["sk_test_***leak", "cus_Leak", KEY] {
        assert!(!logs.contains(secret), "{secret} is logged");
    }
    assert!(logs.contains("Stripe refused STRIPE_SECRET_KEY"), "the operators are told");
}

#[tokio::test]
async fn a_reply_that_is_none_is_no_success() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    for body in [json!("<html>"), json!([]), json!({"id": "cs_1", "url": null}), Value::Null] {
        shop.stripe.next(Instead::Answer(StatusCode::OK, body, None));
        let answer = shop.ingress.post(PATH, user, &json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (502, "stripe-refused"));
    }
    // Fields we have never heard of are fine.
    let mut session = object("checkout_session");
    session["status"] = json!("a_word_of_2031");
    session["automatic_tax"] = json!(7);
    shop.stripe.next(Instead::Answer(StatusCode::OK, session, None));
    assert_eq!(shop.ingress.post(PATH, user, &json!({})).await.status, 200);
}
