//! A server that keeps whatever is sent to it: Sentry's envelopes, OTLP's
//! exports, a provider's calls.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use sentry::Envelope;
use sentry::protocol::{EnvelopeItem, Event, Transaction};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::fleet::{PATIENCE, soon};

/// What the server does with a request it has kept.
pub(super) enum Then {
    /// Says thanks.
    Thanks,
    /// Nothing, for ever.
    Silence,
    /// Asks the server at this address in its place.
    Forward(String),
}

/// One request as it came.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) struct Recorder {
    pub(super) url: String,
    received: watch::Sender<Vec<Received>>,
}

impl Recorder {
    pub(super) async fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = watch::Sender::new(Vec::new());
        let state = Arc::new((received.clone(), then));
        let app = Router::new().fallback(keep).with_state(state);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, received }
    }

    pub(super) fn dsn(&self) -> String {
        format!("{}/1", self.url.replace("http://", "http://public@"))
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until `find` finds something in all that has come.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&[Received]) -> Option<T>,
    ) -> T {
        let mut received = self.received.subscribe();
        let look = async {
            loop {
                if let Some(found) = find(&received.borrow_and_update()) {
                    return found;
                }
                received.changed().await.unwrap();
            }
        };
        soon(what, look).await
    }

    /// Waits until there is a span that `is_it`, and returns all that have come.
    pub(super) async fn spans_until(
        &self,
        what: &str,
        is_it: impl Fn(&[Seen]) -> bool,
    ) -> Vec<Seen> {
        self.until(what, |received| Some(spans(received)).filter(|spans| is_it(spans))).await
    }

    pub(super) fn events(&self) -> Vec<Event<'static>> {
        items(&self.received(), |item| match item {
            EnvelopeItem::Event(event) => Some(Event::clone(event)),
            _ => None,
        })
    }

    /// Waits for an event with this code as its incident.
    pub(super) async fn incident(&self, code: &str) -> Event<'static> {
        self.until(code, |received| events_of(received, code).pop()).await
    }

    /// All events with this code as their incident.
    pub(super) fn incidents(&self, code: &str) -> Vec<Event<'static>> {
        events_of(&self.received(), code)
    }

    /// Waits for a transaction of this name.
    pub(super) async fn transaction(&self, name: &str) -> Transaction<'static> {
        self.until(name, |received| transactions(received, name).pop()).await
    }
}

async fn keep(
    State(state): State<Arc<(watch::Sender<Vec<Received>>, Then)>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (received, then) = &*state;
    let path = uri.path().to_owned();
    let request = Received { path, headers: headers.clone(), body: body.clone() };
    received.send_modify(|all| all.push(request));
    match then {
        Then::Thanks => (StatusCode::OK, "{}").into_response(),
        Then::Silence => std::future::pending().await,
        Then::Forward(base) => forward(&format!("{base}{uri}"), &headers, body).await,
    }
}

async fn forward(url: &str, headers: &HeaderMap, body: Bytes) -> Response {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let mut request = client.post(url).body(body);
    for name in [header::CONTENT_TYPE, header::AUTHORIZATION] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let mut response = (status, answer.bytes().await.unwrap()).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// What Sentry's own types find in the envelopes.
fn items<T>(received: &[Received], pick: impl Fn(&EnvelopeItem) -> Option<T>) -> Vec<T> {
    let envelopes = received.iter().filter(|request| request.path == "/api/1/envelope/");
    let envelopes = envelopes.map(|request| Envelope::from_slice(&request.body).unwrap());
    envelopes.flat_map(|envelope| envelope.items().filter_map(&pick).collect::<Vec<_>>()).collect()
}

fn events_of(received: &[Received], code: &str) -> Vec<Event<'static>> {
    let is_it = |event: &Event<'static>| fields(event)["incident"] == code;
    items(received, |item| match item {
        EnvelopeItem::Event(event) if is_it(event) => Some(Event::clone(event)),
        _ => None,
    })
}

pub(super) fn transactions(received: &[Received], name: &str) -> Vec<Transaction<'static>> {
    items(received, |item| match item {
        EnvelopeItem::Transaction(found) if found.name.as_deref() == Some(name) => {
            Some(Transaction::clone(found))
        }
        _ => None,
    })
}

/// The fields of the log line that became an event.
pub(super) fn fields(event: &Event<'_>) -> Value {
    json!(event.contexts.get("Rust Tracing Fields"))
}

/// A span as the collector sees it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) service: String,
    pub(super) span: Span,
}

impl Seen {
    pub(super) fn id(&self) -> String {
        hex::encode(&self.span.span_id)
    }

    pub(super) fn parent(&self) -> String {
        hex::encode(&self.span.parent_span_id)
    }

    pub(super) fn trace(&self) -> String {
        hex::encode(&self.span.trace_id)
    }

    pub(super) fn attribute(&self, name: &str) -> Value {
        let found = self.span.attributes.iter().find(|pair| pair.key == name);
        found.map_or(Value::Null, value)
    }
}

pub(super) fn spans(received: &[Received]) -> Vec<Seen> {
    let exports = received.iter().filter(|request| request.path == "/v1/traces");
    let mut seen = Vec::new();
    for export in exports {
        assert_eq!(export.headers[header::CONTENT_TYPE], "application/x-protobuf");
        let export = ExportTraceServiceRequest::decode(export.body.clone()).unwrap();
        for resource in export.resource_spans {
            let about: HashMap<_, _> = resource
                .resource
                .iter()
                .flat_map(|resource| &resource.attributes)
                .map(|pair| (pair.key.as_str(), value(pair)))
                .collect();
            assert_eq!(about["service.version"], "regimen@test");
            let service = about["service.name"].as_str().unwrap().to_owned();
            let of_scopes = resource.scope_spans.iter().flat_map(|scope| scope.spans.clone());
            seen.extend(of_scopes.map(|span| Seen { service: service.clone(), span }));
        }
    }
    seen
}

fn value(pair: &KeyValue) -> Value {
    one(pair.value.as_ref().and_then(|value| value.value.as_ref()))
}

fn one(value: Option<&OtlpValue>) -> Value {
    match value {
        Some(OtlpValue::StringValue(text)) => json!(text),
        Some(OtlpValue::IntValue(number)) => json!(number),
        Some(OtlpValue::BoolValue(truth)) => json!(truth),
        Some(OtlpValue::ArrayValue(list)) => {
            list.values.iter().map(|value| one(value.value.as_ref())).collect()
        }
        other => panic!("no attribute of ours is {other:?}"),
    }
}
