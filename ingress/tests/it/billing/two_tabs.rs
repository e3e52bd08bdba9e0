//! One open payment page a user, and customers that Stripe does not know.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::shop::Shop;
use super::stand_in::{Call, Instead, error, object};
use crate::harness::{Answer, Send};

const CHECKOUT: &str = "/v1/billing/checkout";
const PORTAL: &str = "/v1/billing/portal";

/// A shop in which every checkout session has a number.
async fn numbered() -> Shop {
    let shop = Shop::new().await;
    let mut session = object("checkout_session");
    session["id"] = json!("cs_#");
    shop.stripe.set("POST /v1/checkout/sessions", session);
    for number in 1..=20 {
        let path = format!("POST /v1/checkout/sessions/cs_{number}/expire");
        shop.stripe.set(&path, json!({"id": format!("cs_{number}"), "status": "expired"}));
    }
    shop
}

fn whats(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| call.what.as_str()).collect()
}

fn url(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["url"].as_str().unwrap()
}

#[tokio::test]
async fn a_second_tab_closes_the_first() {
    let shop = numbered().await;
    let user = shop.user().await;
    let first = shop.ingress.post(CHECKOUT, user, &json!({})).await;
    assert!(url(&first).ends_with("cs_1"));
    assert_eq!(whats(&shop.stripe.calls()), ["POST /v1/checkout/sessions"]);
    let second = shop.ingress.post(CHECKOUT, user, &json!({"plan": "yearly"})).await;
    assert!(url(&second).ends_with("cs_2"));
    let expected = ["POST /v1/checkout/sessions", "POST /v1/checkout/sessions/cs_1/expire"];
    assert_eq!(whats(&shop.stripe.calls()), expected);
    // Another user's is left alone.
    let other = shop.user().await;
    assert!(url(&shop.ingress.post(CHECKOUT, other, &json!({})).await).ends_with("cs_3"));
    assert_eq!(whats(&shop.stripe.calls()), ["POST /v1/checkout/sessions"]);
}

#[tokio::test]
async fn of_many_tabs_at_once_one_page_stays_open() {
    let shop = numbered().await;
    let user = shop.user().await;
    let body = json!({});
    let tabs = (0..6).map(|_| shop.ingress.post(CHECKOUT, user, &body));
    let answers = futures_util::future::join_all(tabs).await;
    let told: BTreeSet<_> = answers.iter().filter(|answer| answer.status == 200).map(url).collect();
    assert!(!told.is_empty());
    let calls = shop.stripe.calls();
    let closed = |url: &str| {
        let id = url.rsplit('/').next().unwrap();
        let expire = format!("POST /v1/checkout/sessions/{id}/expire");
        calls.iter().any(|call| call.what == expire)
    };
    let open: Vec<_> = told.iter().filter(|url| !closed(url)).collect();
    assert_eq!(open.len(), 1, "{told:?}");
}

#[tokio::test]
async fn who_has_just_paid_in_one_tab_is_not_sold_a_second_one() {
    let shop = numbered().await;
    let user = shop.user().await;
    shop.ingress.post(CHECKOUT, user, &json!({})).await;
    shop.stripe.calls();
    // Paid, and the event is still on its way.
    let over = error("invalid_request_error", "checkout_session_not_open", "session");
    let made = json!({"id": "cs_2", "url": "https://checkout.stripe.test/cs_2"});
    shop.stripe.next(Instead::Answer(StatusCode::OK, made, None));
    shop.stripe.next(Instead::Answer(StatusCode::BAD_REQUEST, over.clone(), None));
    let paid = json!({"id": "cs_1", "status": "complete", "subscription": "sub_1", "url": null});
    shop.stripe.set("GET /v1/checkout/sessions/cs_1", paid);
    let second = shop.ingress.post(CHECKOUT, user, &json!({})).await;
    assert_eq!((second.status.as_u16(), second.problem()), (409, "conflict"));
    let expected = [
        "POST /v1/checkout/sessions",
        "POST /v1/checkout/sessions/cs_1/expire",
        "GET /v1/checkout/sessions/cs_1",
        "POST /v1/checkout/sessions/cs_2/expire",
    ];
    assert_eq!(whats(&shop.stripe.calls()), expected);
    // It has arrived, and its payment takes some days.
    shop.link("cus_Own", user).await;
    let sql =
        "insert into regimen.subscriptions (id, customer_id, user_id, status, basis, basis_at)
               values ('sub_1', 'cus_Own', $1, 'incomplete', 'event', now())";
    shop.sql(sql, user).await;
    let made = json!({"id": "cs_2", "url": "https://checkout.stripe.test/cs_2"});
    shop.stripe.next(Instead::Answer(StatusCode::OK, made, None));
    shop.stripe.next(Instead::Answer(StatusCode::BAD_REQUEST, over.clone(), None));
    let third = shop.ingress.post(CHECKOUT, user, &json!({})).await;
    assert_eq!((third.status.as_u16(), third.problem()), (409, "conflict"));
    // It was ended: then a new one may be bought.
    let sql = "update regimen.subscriptions set status = 'canceled' where user_id = $1";
    shop.sql(sql, user).await;
    let made = json!({"id": "cs_3", "url": "https://checkout.stripe.test/cs_3"});
    shop.stripe.next(Instead::Answer(StatusCode::OK, made, None));
    shop.stripe.next(Instead::Answer(StatusCode::BAD_REQUEST, over, None));
    assert!(url(&shop.ingress.post(CHECKOUT, user, &json!({})).await).ends_with("cs_3"));
}

#[tokio::test]
async fn a_repeated_request_gets_its_page_while_that_is_the_open_one() {
    let shop = numbered().await;
    let user = shop.user().await;
    let ask = async |key: &str| {
        let request = shop.ingress.request(Method::POST, CHECKOUT, user).json(&json!({}));
        request.header("Idempotency-Key", key).answer().await
    };
    let first = ask("one").await;
    assert_eq!(url(&ask("one").await), url(&first));
    assert!(!whats(&shop.stripe.calls()).iter().any(|what| what.ends_with("expire")));
    assert!(url(&ask("two").await).ends_with("cs_2"));
    shop.stripe.set("GET /v1/checkout/sessions/cs_1", json!({"id": "cs_1", "status": "expired"}));
    let late = ask("one").await;
    assert_eq!((late.status.as_u16(), late.problem()), (409, "conflict"));
    assert!(late.body["detail"].as_str().unwrap().contains("new Idempotency-Key"));
    assert!(url(&ask("two").await).ends_with("cs_2"), "the open page is left alone");
}

#[tokio::test]
async fn a_customer_that_stripe_does_not_know_is_given_up() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    shop.link("cus_Gone", user).await;
    let gone = error("invalid_request_error", "resource_missing", "customer");
    shop.stripe.next(Instead::Answer(StatusCode::BAD_REQUEST, gone.clone(), None));
    url(&shop.ingress.post(CHECKOUT, user, &json!({})).await);
    let calls = shop.stripe.calls();
    assert!(calls[0].fields().contains(&("customer", "cus_Gone")), "{calls:?}");
    assert!(calls[1].fields().contains(&("customer_email", "ada@example.com")), "{calls:?}");
    assert_ne!(calls[0].header("idempotency-key"), calls[1].header("idempotency-key"));
    let logs = shop.ingress.logs();
    assert!(logs.contains("Stripe does not know a user's customer"), "{logs}");
    assert!(logs.contains("cus_Gone") && !logs.contains(&user.to_string()), "{logs}");
    let alert = "regimen_stripe_alerts_total{alert=\"missing_customer\"} 1";
    assert!(shop.ingress.metrics().await.contains(alert));
    // The next one is asked for without it at once.
    url(&shop.ingress.post(CHECKOUT, user, &json!({})).await);
    let calls = shop.stripe.calls();
    assert!(calls[0].fields().contains(&("customer_email", "ada@example.com")), "{calls:?}");
    // And there is nothing a portal could show.
    let answer = shop.ingress.post(PORTAL, user, &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (409, "conflict"));
    let other = shop.user().await;
    shop.link("cus_Lost", other).await;
    shop.stripe.next(Instead::Answer(StatusCode::BAD_REQUEST, gone, None));
    let answer = shop.ingress.post(PORTAL, other, &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (409, "conflict"));
    assert!(shop.ingress.logs().contains("cus_Lost"));
}

#[tokio::test]
async fn a_subscription_to_something_else_is_no_subscription_of_ours() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    shop.link("cus_Own", user).await;
    let subscribe = async |items: &str, paused: bool, user: Uuid| {
        let sql = format!(
            "insert into regimen.subscriptions (id, customer_id, user_id, status, basis, basis_at,
                 price_id, items, collection_paused)
             values ('sub_1', 'cus_Own', $1, 'active', 'event', now(), ('{items}'::text[])[1],
                 '{items}', {paused})
             on conflict (id) do update set items = excluded.items, price_id = excluded.price_id,
                 collection_paused = excluded.collection_paused"
        );
        shop.sql(&sql, user).await;
        shop.ingress.post(CHECKOUT, user, &json!({})).await.status.as_u16()
    };
    assert_eq!(subscribe("{price_Cups,prod_Cups}", false, user).await, 200);
    assert_eq!(subscribe("{price_Cups,price_Yearly}", false, user).await, 409);
    assert_eq!(subscribe("{price_Yearly}", true, user).await, 409, "it would go on beside");
}
