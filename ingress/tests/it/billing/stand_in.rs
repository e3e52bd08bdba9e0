//! A stand-in for Stripe: takes calls as the real one does (form bodies, keys,
//! versions), answers with full objects, and remembers everything.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A call it took.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Method and path.
    pub(super) what: String,
    pub(super) query: String,
    /// The decoded fields, in the order of their names.
    pub(super) form: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn fields(&self) -> Vec<(&str, &str)> {
        self.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// What it does with the next call instead of answering as usual.
#[derive(Debug, Clone)]
pub(super) enum Instead {
    /// Answers so, with a Stripe-Should-Retry when given.
    Answer(StatusCode, Value, Option<&'static str>),
    /// Takes the call and says nothing for longer than anybody waits.
    Hang,
}

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    instead: VecDeque<Instead>,
    objects: HashMap<String, Value>,
    /// Pages of a list; the one after an id follows the page that ends with it.
    pages: HashMap<String, Vec<Value>>,
    /// Numbers given to objects whose id ends in `#`.
    made: usize,
    done: HashMap<String, (Vec<(String, String)>, Value)>,
}

#[derive(Clone, Default)]
pub(crate) struct StripeStandIn {
    inner: Arc<Mutex<Inner>>,
    arrivals: Arc<Notify>,
    pub(crate) url: String,
}

/// The real service's object of one kind, as its documentation shows it.
pub(crate) fn object(kind: &str) -> Value {
    let text = match kind {
        "checkout_session" => include_str!("../../fixtures/stripe/checkout_session.json"),
        "portal_session" => include_str!("../../fixtures/stripe/portal_session.json"),
        "price" => include_str!("../../fixtures/stripe/price.json"),
        "subscription" => include_str!("../../fixtures/stripe/subscription.json"),
        "invoice" => include_str!("../../fixtures/stripe/invoice.json"),
        "refund" => include_str!("../../fixtures/stripe/refund.json"),
        "customer" => include_str!("../../fixtures/stripe/customer.json"),
        other => panic!("no object {other}"),
    };
    serde_json::from_str(text).unwrap()
}

/// A list of objects, as the real service sends it.
pub(crate) fn list(url: &str, data: &[Value]) -> Value {
    json!({"object": "list", "url": url, "has_more": false, "data": data})
}

/// An error, as the real service sends it.
pub(super) fn error(kind: &str, code: &str, param: &str) -> Value {
    json!({"error": {"type": kind, "code": code, "param": param,
        "message": "No such thing; your key is sk_test_***leak and the customer cus_Leak",
        "doc_url": "https://docs.stripe.test/error-codes",
        "request_log_url": "https://dashboard.stripe.test/logs/req_1"}})
}

impl StripeStandIn {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = Self { url, ..Self::default() };
        let app = Router::new().fallback(take).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        stand_in
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// What it answers to `what` (method and path).
    pub(crate) fn set(&self, what: &str, object: Value) {
        self.inner().objects.insert(what.to_owned(), object);
    }

    /// The pages it answers to `what`, one after the other.
    pub(super) fn set_pages(&self, what: &str, pages: Vec<Value>) {
        self.inner().pages.insert(what.to_owned(), pages);
    }

    pub(super) fn next(&self, instead: Instead) {
        self.inner().instead.push_back(instead);
    }

    /// Returns once a call has come that nobody waited for yet.
    pub(super) async fn called(&self) {
        self.arrivals.notified().await;
    }

    /// All calls so far; forgets them.
    pub(super) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.inner().calls)
    }

    fn answer(&self, call: &Call) -> (StatusCode, Value, bool) {
        let mut inner = self.inner();
        let key = call.header("idempotency-key").to_owned();
        if let Some((form, earlier)) = inner.done.get(&key) {
            return if *form == call.form {
                (StatusCode::OK, earlier.clone(), true)
            } else {
                let body = json!({"error": {"type": "idempotency_error", "message": "other"}});
                (StatusCode::BAD_REQUEST, body, false)
            };
        }
        if let Some(pages) = inner.pages.get(&call.what) {
            return (StatusCode::OK, page_after(pages, &call.query), false);
        }
        let Some(mut object) = inner.objects.get(&call.what).cloned() else {
            let missing = error("invalid_request_error", "resource_missing", "id");
            return (StatusCode::NOT_FOUND, missing, false);
        };
        if let Some(id) = object["id"].as_str().filter(|id| id.ends_with('#')) {
            inner.made += 1;
            let id = id.replace('#', &inner.made.to_string());
            object["url"] = json!(format!("https://checkout.stripe.test/{id}"));
            object["id"] = json!(id);
        }
        if !key.is_empty() {
            inner.done.insert(key, (call.form.clone(), object.clone()));
        }
        (StatusCode::OK, object, false)
    }
}

/// The page behind the id that a query names, or the first one.
fn page_after(pages: &[Value], query: &str) -> Value {
    let after = query.split('&').find_map(|part| part.strip_prefix("starting_after="));
    let ends_so = |page: &Value| {
        page["data"]
            .as_array()
            .and_then(|data| data.last())
            .is_some_and(|last| last["id"].as_str() == after)
    };
    let index = after.and(pages.iter().position(ends_so)).map_or(0, |index| index + 1);
    pages[index].clone()
}

async fn take(State(stripe): State<StripeStandIn>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    form.sort();
    let call = Call {
        what: format!("{} {}", parts.method, parts.uri.path()),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        form,
        headers: parts.headers,
    };
    let instead = {
        let mut inner = stripe.inner();
        inner.calls.push(call.clone());
        stripe.arrivals.notify_one();
        inner.instead.pop_front()
    };
    match instead {
        Some(Instead::Hang) => std::future::pending().await,
        Some(Instead::Answer(status, body, should_retry)) => {
            let mut response = (status, axum::Json(body)).into_response();
            if let Some(word) = should_retry {
                response.headers_mut().insert("stripe-should-retry", word.parse().unwrap());
            }
            response
        }
        None => {
            let (status, body, replayed) = stripe.answer(&call);
            let mut response = (status, axum::Json(body)).into_response();
            if replayed {
                response.headers_mut().insert("idempotent-replayed", "true".parse().unwrap());
            }
            response
        }
    }
}
