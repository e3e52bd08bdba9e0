//! The floor of an HTTP server: axum with static answers, of the size that Regimen's have.

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

const VERSION: &str = "\"1\"";
const JSON: (header::HeaderName, &str) = (header::CONTENT_TYPE, "application/json");
/// The length of a job as its owner sees it.
const LENGTH: usize = 600;

/// Static answers: a resource with a version, and a submission.
pub(crate) fn router() -> Router {
    let body: &'static str = format!("{{\"text\":\"{}\"}}", "x".repeat(LENGTH)).leak();
    Router::new()
        .route("/job", get(move |headers: HeaderMap| async move { job(&headers, body) }))
        .route("/plans", post(move |_: axum::body::Bytes| async move { accepted(body) }))
}

fn job(headers: &HeaderMap, body: &'static str) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == VERSION);
    let version = (header::ETAG, VERSION);
    if known {
        return (StatusCode::NOT_MODIFIED, [version]).into_response();
    }
    ([JSON, version], body).into_response()
}

fn accepted(body: &'static str) -> Response {
    (StatusCode::ACCEPTED, [JSON], body).into_response()
}
