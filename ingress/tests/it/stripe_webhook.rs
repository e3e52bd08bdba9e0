//! The Stripe webhook from the outside: what is stored, what is refused, and
//! what the answer says.

use std::time::Duration;

use regimen_common::billing::signature::sign;
use regimen_common::db::billing::events::{self, EventState, Summary};
use regimen_common::dispatch::{List, Queue, Weights};
use regimen_common::redis::Redis;
use regimen_common::test_support::{TestDatabase, TestRedis};
use reqwest::{Response, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::ingress::Ingress;

const SECRET: &str = "whsec_test_0123456789abcdef";
const SETTINGS: [(&str, &str); 1] = [("STRIPE_WEBHOOK_SECRET", SECRET)];

struct Setup {
    ingress: Ingress,
    database: TestDatabase,
    redis: TestRedis,
}

async fn setup(settings: &[(&str, &str)]) -> Setup {
    let (database, redis) = (TestDatabase::new().await, TestRedis::new());
    Setup { ingress: Ingress::start(&database, &redis, settings).await, database, redis }
}

fn event(id: &str, livemode: bool) -> String {
    json!({"id": id, "object": "event", "type": "customer.subscription.updated",
        "created": 1_795_392_000, "livemode": livemode, "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1",
            "status": "active"}}})
    .to_string()
}

impl Setup {
    fn now(&self) -> i64 {
        self.ingress.state.clock.now().timestamp()
    }

    async fn post(&self, body: &str, signature: Option<&str>) -> Response {
        let url = format!("{}/api/stripe/webhook", self.ingress.url);
        let request = self.ingress.client.post(url).body(body.to_owned());
        let request = match signature {
            Some(signature) => request.header("Stripe-Signature", signature),
            None => request,
        };
        request.send().await.unwrap()
    }

    async fn deliver(&self, body: &str) -> Response {
        let signature = sign(&SecretString::from(SECRET), body.as_bytes(), self.now());
        self.post(body, Some(&signature)).await
    }

    async fn stored(&self, id: &str) -> Option<Summary> {
        events::find(&self.database.client().await, id).await.unwrap()
    }

    /// The ids that stand in the list of Stripe events.
    async fn queued(&self) -> Vec<String> {
        let url = SecretString::from(self.redis.url());
        let queue = Queue::new(Redis::new(&url, self.redis.prefix()).unwrap());
        let weights = Weights { first: 1, second: 1 };
        let lists = (List::Stripe, List::Notify);
        let taken = queue.pop(lists, weights, 0, 100).await.unwrap();
        taken.into_iter().map(|(_, message)| message.id).collect()
    }
}

async fn problem(response: Response) -> (StatusCode, String) {
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = response.json().await.unwrap();
    (status, body["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_delivery_is_stored_acknowledged_and_a_worker_told() {
    let setup = setup(&SETTINGS).await;
    let response = setup.deliver(&event("evt_1", false)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.json::<Value>().await.unwrap(), json!({"status": "success"}));
    let stored = setup.stored("evt_1").await.unwrap();
    assert_eq!(stored.state, EventState::Received);
    assert_eq!(stored.customer.as_deref(), Some("cus_1"));
    assert_eq!(setup.queued().await, ["evt_1"]);
}

#[tokio::test]
async fn many_deliveries_of_one_event_store_it_once() {
    let setup = setup(&SETTINGS).await;
    let body = event("evt_1", false);
    let all = futures_util::future::join_all((0..20).map(|_| setup.deliver(&body))).await;
    for response in all {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.json::<Value>().await.unwrap(), json!({"status": "success"}));
    }
    assert_eq!(setup.queued().await, ["evt_1"], "pushed by the one that stored it");
}

#[tokio::test]
async fn what_is_not_stripes_is_refused_with_a_reason() {
    let setup = setup(&SETTINGS).await;
    let body = event("evt_1", false);
    let sign_at =
        |secret: &str, seconds| sign(&SecretString::from(secret), body.as_bytes(), seconds);
    let (good, now) = (sign_at(SECRET, setup.now()), setup.now());
    let (foreign, stale) = (sign_at("whsec_other", now), sign_at(SECRET, now - 400));
    let changed = body.replace("cus_1", "cus_2");
    let cases = [
        (&body, None, "missing"),
        (&body, Some("hello"), "malformed"),
        (&body, Some("v1=00"), "no timestamp"),
        (&body, Some("t=1"), "no v1"),
        (&body, Some("t=x,v1=00"), "whole number"),
        (&body, Some(foreign.as_str()), "no signature matches"),
        (&body, Some(stale.as_str()), "seconds old"),
        (&changed, Some(good.as_str()), "no signature matches"),
    ];
    for (body, signature, reason) in cases {
        let (status, detail) = problem(setup.post(body, signature).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{signature:?}");
        assert!(detail.contains(reason), "{signature:?}: {detail}");
        assert!(!detail.contains(SECRET));
    }
    assert!(setup.stored("evt_1").await.is_none());
}

#[tokio::test]
async fn a_signed_body_that_is_no_event_is_refused_with_a_reason() {
    let setup = setup(&SETTINGS).await;
    for (body, reason) in [
        ("", "not JSON"),
        ("{oops", "not JSON"),
        ("{}", "not a Stripe event"),
        (r#"{"id":"ch_1","object":"charge","type":"x"}"#, "not a Stripe event"),
    ] {
        let (status, detail) = problem(setup.deliver(body).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(detail.contains(reason), "{body}: {detail}");
    }
}

#[tokio::test]
async fn the_barest_event_and_text_postgres_cannot_index_are_stored() {
    let setup = setup(&SETTINGS).await;
    let bare = r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;
    assert_eq!(setup.deliver(bare).await.status(), StatusCode::OK);
    let odd =
        r#"{"id":"evt_2","object":"event","type":"new.kind","data":{"object":{"id":"\u0000"}}}"#;
    assert_eq!(setup.deliver(odd).await.status(), StatusCode::OK);
    assert!(setup.stored("evt_1").await.is_some() && setup.stored("evt_2").await.is_some());
}

#[tokio::test]
async fn both_secrets_count_while_one_is_rolled() {
    let secrets = [("STRIPE_WEBHOOK_SECRET", "whsec_new, whsec_test_0123456789abcdef")];
    let setup = setup(&secrets).await;
    assert_eq!(setup.deliver(&event("evt_1", false)).await.status(), StatusCode::OK);
    let body = event("evt_2", false);
    let signature = sign(&SecretString::from("whsec_new"), body.as_bytes(), setup.now());
    assert_eq!(setup.post(&body, Some(&signature)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_tolerance_can_be_set() {
    let settings = [SETTINGS[0], ("STRIPE_TOLERANCE_SECONDS", "1000")];
    let setup = setup(&settings).await;
    let body = event("evt_1", false);
    let signature = sign(&SecretString::from(SECRET), body.as_bytes(), setup.now() - 400);
    assert_eq!(setup.post(&body, Some(&signature)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_a_secret_nothing_can_be_verified() {
    let setup = setup(&[]).await;
    let (status, detail) = problem(setup.deliver(&event("evt_1", false)).await).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(detail.contains("STRIPE_WEBHOOK_SECRET"), "{detail}");
}

#[tokio::test]
async fn an_event_of_the_other_mode_is_kept_and_never_applied() {
    let setup = setup(&SETTINGS).await;
    let response = setup.deliver(&event("evt_1", true)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let stored = setup.stored("evt_1").await.unwrap();
    assert_eq!(stored.state, EventState::Mismatched);
    assert_eq!(stored.error.0.as_deref(), Some("livemode"));
    assert!(setup.queued().await.is_empty());
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_is_asked_for_again() {
    let settings = [SETTINGS[0], ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")];
    let setup = setup(&settings).await;
    let response = setup.deliver(&event("evt_1", false)).await;
    assert!(response.headers().contains_key("retry-after"));
    let (status, _) = problem(response).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn without_redis_events_are_stored_all_the_same() {
    let settings = [SETTINGS[0], ("REDIS_URL", "redis://127.0.0.1:1/0")];
    let setup = setup(&settings).await;
    let body = event("evt_1", false);
    let delivered = setup.deliver(&body);
    let response = tokio::time::timeout(Duration::from_secs(2), delivered).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(setup.stored("evt_1").await.unwrap().state, EventState::Received);
}

#[tokio::test]
async fn monitors_may_look() {
    let setup = setup(&SETTINGS).await;
    let url = format!("{}/api/stripe/webhook", setup.ingress.url);
    let response = setup.ingress.client.get(&url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.json::<Value>().await.unwrap(), json!({"status": "ok"}));
    let response = setup.ingress.client.head(&url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_rust_library_signs_what_we_verify() {
    let setup = setup(&SETTINGS).await;
    let body = event("evt_1", false);
    let now = setup.now();
    let theirs = stripe_webhook::Webhook::generate_test_header(&body, SECRET, Some(now));
    assert_eq!(setup.post(&body, Some(&theirs)).await.status(), StatusCode::OK);
    let ours = sign(&SecretString::from(SECRET), body.as_bytes(), now);
    assert_eq!(ours, theirs);
}
