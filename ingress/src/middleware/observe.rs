//! Gives every request an id, a log line, metrics and safe default headers;
//! turns a panic into an ordinary problem document.
//!
//! Logs and metrics name the matched route, never the path that a client wrote:
//! otherwise clients could create unlimited labels and write lines into the
//! log.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use metrics::{Counter, Gauge, Histogram};
use regimen_common::telemetry::trace_context::{self, TraceContext};
use regimen_common::telemetry::{sentry, spans};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::error::ApiError;
use crate::request_id::{self, REQUEST_ID_HEADER};

/// Added to every response that does not set them.
const DEFAULT_HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Requested every few seconds, and not traced.
const UNTRACED: [&str; 3] = ["/health", "/livez", "/readyz"];

/// The outermost layer. Continues a trace of the client.
pub(super) async fn observe(
    State(figures): State<Arc<Figures>>,
    request: Request,
    next: Next,
) -> Response {
    let trace = trace_of(request.headers());
    trace_context::within(trace, observed(&figures, request, next)).await
}

/// A repeated header is ignored.
fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::from_headers(|name| {
        let mut lines = headers.get_all(name).iter();
        let line = lines.next()?;
        if lines.next().is_some() { None } else { line.to_str().ok() }
    })
}

async fn observed(figures: &Figures, request: Request, next: Next) -> Response {
    let id = request_id::choose(request.headers());
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!("request", request_id = id, method, route, user = Empty);
    let traced = match UNTRACED.contains(&route) {
        true => Span::none(),
        false => spans::request(method, route),
    };
    sentry::name_request(method, route);
    let started = Instant::now();

    let open = Open::new(&figures.open);
    let answer = request_id::scope(id.clone(), next.run(request));
    let mut response = answer.instrument(span.clone()).instrument(traced.clone()).await;
    drop(open);

    let seconds = started.elapsed().as_secs_f64();
    let status = response.status().as_u16();
    traced.in_scope(|| span.in_scope(|| tracing::info!(status, seconds, "answered")));
    spans::answered(&traced, status);
    figures.count(route, method, status, seconds);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    for (name, value) in DEFAULT_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A panic in a handler must not end the connection.
pub(super) async fn answer_panics(answer: impl Future<Output = Response>) -> Response {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(response) => response,
        Err(_) => ApiError::internal(Panicked).into_response(),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked; the line before has the place")]
struct Panicked;

/// Methods as labels; unknown ones share one.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// A request whose response has not begun; counted until it is dropped.
struct Open<'a>(&'a Gauge);

impl<'a> Open<'a> {
    fn new(open: &'a Gauge) -> Self {
        open.increment(1);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// The metrics of requests. The recorder is asked for each series once.
pub(super) struct Figures {
    open: Gauge,
    routes: RwLock<HashMap<String, Vec<Series>>>,
}

/// The series of answers of one route.
struct Series {
    method: &'static str,
    status: u16,
    total: Counter,
    seconds: Histogram,
}

impl Figures {
    pub(super) fn new() -> Self {
        Self { open: metrics::gauge!("regimen_http_requests_open"), routes: RwLock::default() }
    }

    fn count(&self, route: &str, method: &'static str, status: u16, seconds: f64) {
        if !self.count_known(route, method, status, seconds) {
            let series = Series::new(route, method, status);
            series.count(seconds);
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            routes.entry(route.to_owned()).or_default().push(series);
        }
    }

    fn count_known(&self, route: &str, method: &'static str, status: u16, seconds: f64) -> bool {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut known = routes.get(route).into_iter().flatten();
        let series = known.find(|series| series.method == method && series.status == status);
        series.inspect(|series| series.count(seconds)).is_some()
    }
}

impl Series {
    fn new(route: &str, method: &'static str, status: u16) -> Self {
        let status_class = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        let seconds = metrics::histogram!(
            "regimen_http_request_seconds",
            "route" => route.to_owned(), "method" => method, "status_class" => status_class
        );
        let total = metrics::counter!(
            "regimen_http_requests_total",
            "route" => route.to_owned(), "method" => method, "status" => status.to_string()
        );
        Self { method, status, total, seconds }
    }

    fn count(&self, seconds: f64) {
        self.seconds.record(seconds);
        self.total.increment(1);
    }
}
