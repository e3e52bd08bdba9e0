//! A stand-in for Stripe's API: real HTTP, objects of the real shape, and
//! whatever truth, clock or fault a test gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What the stand-in holds.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Objects by path, such as `subscriptions/sub_1`.
    pub(crate) objects: BTreeMap<String, Value>,
    /// Every event, oldest first.
    pub(crate) events: Vec<Value>,
    /// Its clock, in Unix seconds; its own time when unset.
    pub(crate) now: Option<i64>,
    /// Answered instead of anything else.
    pub(crate) fault: Option<(StatusCode, Value)>,
    /// What was asked, in order.
    pub(crate) asked: Vec<String>,
    /// Ids of the events that an endpoint took, as Stripe knows.
    pub(crate) delivered: BTreeSet<String>,
    /// Events on one page, unless fewer are asked for.
    pub(crate) size_of_page: usize,
    /// Makes answers about objects, once thought out, wait for the test.
    pub(crate) held_up: Option<HoldUp>,
    /// Makes the next page of subscriptions, once thought out, wait for the test.
    pub(crate) list_held_up: Option<HoldUp>,
    /// Makes the next page of events that is not the first one wait for the test.
    pub(crate) page_held_up: Option<HoldUp>,
}

/// Tells that an answer is ready, and when it may go.
#[derive(Debug, Clone, Default)]
pub(crate) struct HoldUp {
    pub(crate) ready: Arc<Notify>,
    pub(crate) go: Arc<Notify>,
}

/// A running stand-in; it stops when the value is dropped.
pub(crate) struct StripeApi {
    pub(crate) url: String,
    pub(crate) truth: Arc<Mutex<Truth>>,
    serving: JoinHandle<()>,
}

impl StripeApi {
    pub(crate) const KEY: &'static str = "rk_test_stand_in";

    pub(crate) async fn start() -> Self {
        let truth = Arc::new(Mutex::new(Truth { size_of_page: 100, ..Truth::default() }));
        let router = Router::new()
            .route("/v1/events", get(events))
            .route("/v1/subscriptions", get(subscriptions))
            .route("/v1/customers", get(customers))
            .route("/v1/{kind}/{id}", get(object))
            .with_state(Arc::clone(&truth));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, truth, serving }
    }

    /// Sets an object under its path.
    pub(crate) fn set(&self, path: &str, object: Value) {
        self.truth.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    pub(crate) fn fail_with(&self, fault: Option<(StatusCode, Value)>) {
        self.truth.lock().unwrap().fault = fault;
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.truth.lock().unwrap().asked.clone()
    }
}

impl Drop for StripeApi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn object(
    State(truth): State<Arc<Mutex<Truth>>>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let answer = object_now(&truth, &kind, &id, &headers);
    let held_up = truth.lock().unwrap().held_up.take();
    if let Some(held_up) = held_up {
        held_up.ready.notify_one();
        held_up.go.notified().await;
    }
    answer
}

fn object_now(truth: &Mutex<Truth>, kind: &str, id: &str, headers: &HeaderMap) -> Response {
    let mut truth = truth.lock().unwrap();
    let path = format!("{kind}/{id}");
    truth.asked.push(path.clone());
    if let Some(refusal) = refusal(&truth, headers) {
        return refusal;
    }
    match truth.objects.get(&path) {
        Some(object) => answer(&truth, StatusCode::OK, object),
        None => {
            let missing = json!({"error": {"type": "invalid_request_error",
                "code": "resource_missing", "message": format!("No such {kind}: '{id}'")}});
            answer(&truth, StatusCode::NOT_FOUND, &missing)
        }
    }
}

async fn events(
    State(truth): State<Arc<Mutex<Truth>>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let held_up = match query.get("starting_after") {
        Some(_) => truth.lock().unwrap().page_held_up.take(),
        None => None,
    };
    if let Some(held_up) = held_up {
        held_up.ready.notify_one();
        held_up.go.notified().await;
    }
    events_now(&truth, &query, &headers)
}

async fn subscriptions(
    State(truth): State<Arc<Mutex<Truth>>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    assert_eq!(query.get("status").map(String::as_str), Some("all"));
    let page = list_now(&truth, "subscriptions", &query, &headers);
    let held_up = truth.lock().unwrap().list_held_up.take();
    if let Some(held_up) = held_up {
        held_up.ready.notify_one();
        held_up.go.notified().await;
    }
    page
}

async fn customers(
    State(truth): State<Arc<Mutex<Truth>>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    list_now(&truth, "customers", &query, &headers)
}

/// All objects of a kind, in the order of their ids, page by page.
fn list_now(
    truth: &Mutex<Truth>,
    kind: &str,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
) -> Response {
    let mut truth = truth.lock().unwrap();
    truth.asked.push(kind.to_owned());
    if let Some(refusal) = refusal(&truth, headers) {
        return refusal;
    }
    let prefix = format!("{kind}/");
    let of_kind = truth.objects.iter().filter(|(path, _)| path.starts_with(&prefix));
    let mut objects: Vec<Value> = of_kind.map(|(_, object)| object.clone()).collect();
    objects.sort_by_key(|object| object["id"].as_str().map(str::to_owned));
    if let Some(after) = query.get("starting_after") {
        let at = objects.iter().position(|object| object["id"] == after.as_str()).unwrap();
        objects.drain(..=at);
    }
    let has_more = objects.len() > truth.size_of_page;
    objects.truncate(truth.size_of_page);
    let page = json!({"object": "list", "has_more": has_more, "data": objects});
    answer(&truth, StatusCode::OK, &page)
}

fn events_now(
    truth: &Mutex<Truth>,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
) -> Response {
    let mut truth = truth.lock().unwrap();
    truth.asked.push("events".to_owned());
    if let Some(refusal) = refusal(&truth, headers) {
        return refusal;
    }
    let since: i64 = query.get("created[gte]").map_or(0, |since| since.parse().unwrap());
    let mut newest_first: Vec<Value> = truth.events.iter().rev().cloned().collect();
    newest_first.retain(|event| event["created"].as_i64().unwrap() >= since);
    if let Some(success) = query.get("delivery_success") {
        let delivered = |event: &Value| truth.delivered.contains(event["id"].as_str().unwrap());
        newest_first.retain(|event| delivered(event).to_string() == *success);
    }
    if let Some(after) = query.get("starting_after") {
        let at = newest_first.iter().position(|event| event["id"] == after.as_str()).unwrap();
        newest_first.drain(..=at);
    }
    let asked: usize = query.get("limit").map_or(10, |limit| limit.parse().unwrap());
    let size = asked.min(truth.size_of_page);
    let has_more = newest_first.len() > size;
    newest_first.truncate(size);
    let page =
        json!({"object": "list", "url": "/v1/events", "has_more": has_more, "data": newest_first});
    answer(&truth, StatusCode::OK, &page)
}

fn refusal(truth: &Truth, headers: &HeaderMap) -> Option<Response> {
    let key = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if key != Some(&format!("Bearer {}", StripeApi::KEY)) {
        let wrong =
            json!({"error": {"type": "invalid_request_error", "message": "Invalid API Key"}});
        return Some(answer(truth, StatusCode::UNAUTHORIZED, &wrong));
    }
    assert_eq!(headers["stripe-version"], "2026-10-28.endive");
    truth.fault.as_ref().map(|(status, body)| answer(truth, *status, body))
}

fn answer(truth: &Truth, status: StatusCode, body: &Value) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(now) = truth.now {
        let date = chrono::DateTime::from_timestamp(now, 0).unwrap();
        let date = httpdate::fmt_http_date(date.into());
        response.headers_mut().insert(header::DATE, date.parse().unwrap());
    }
    response
}
