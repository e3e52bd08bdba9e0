//! The one table of routes.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Extension, State as App};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::calls::{self, Request};
use crate::connection::Connection;
use crate::control;
use crate::provider::Api;
use crate::state::State;

/// Requests larger than this are refused, bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// Every route of the simulator.
pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/chat/completions", model(Api::Chat))
        .route("/llama/v1/chat/completions", model(Api::LlamaChat))
        .merge(control::router())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(state)
}

async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "service": "regimen-simulator"}))
}

fn model(api: Api) -> axum::routing::MethodRouter<Arc<State>> {
    post(
        move |App(state): App<Arc<State>>,
              Extension(connection): Extension<Connection>,
              headers: HeaderMap,
              body: Bytes| async move {
            let request = Request { api, headers, body, path: None, connection };
            Response::from(calls::serve(state, request).await)
        },
    )
}
