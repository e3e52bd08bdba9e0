//! All routes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State as App};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::calls::{self, Request};
use crate::connection::Connection;
use crate::control;
use crate::provider::{Api, Provider};
use crate::state::State;
use crate::wire::GeminiPath;
use crate::wire::problem::Problem;

/// The largest accepted request, bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// Every route of the simulator.
pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/chat/completions", model(Api::Chat))
        .route("/v1/responses", model(Api::Responses))
        .route("/v1/messages", model(Api::Messages))
        .route("/v1/models/{call}", generate("v1"))
        .route("/v1beta/models/{call}", generate("v1beta"))
        .route("/llama/v1/chat/completions", model(Api::LlamaChat))
        .route("/v1/models", get(models))
        .route("/v1beta/models", get(gemini_models))
        .route("/llama/v1/models", get(llama_models))
        .merge(control::router())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(state)
}

async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "service": "regimen-simulator"}))
}

fn model(api: Api) -> MethodRouter<Arc<State>> {
    post(
        move |App(state): App<Arc<State>>,
              Extension(connection): Extension<Connection>,
              headers: HeaderMap,
              body: Bytes| async move {
            calls::serve(state, Request { api, headers, body, path: None, connection }).await
        },
    )
}

/// `{model}:{method}` of both Gemini versions.
fn generate(version: &'static str) -> MethodRouter<Arc<State>> {
    post(
        move |App(state): App<Arc<State>>,
              Extension(connection): Extension<Connection>,
              Path(call): Path<String>,
              Query(query): Query<HashMap<String, String>>,
              headers: HeaderMap,
              body: Bytes| async move {
            let (model, method) = call.split_once(':').unwrap_or((&call, ""));
            let path = Some(GeminiPath {
                version: version.to_owned(),
                model: model.to_owned(),
                method: method.to_owned(),
                sse: query.get("alt").is_some_and(|alt| alt == "sse"),
                key_in_query: query.contains_key("key"),
            });
            calls::serve(state, Request { api: Api::Generate, headers, body, path, connection })
                .await
        },
    )
}

/// The list of models of the provider that the caller means: three services use this
/// path, and each has its own way to send a key.
async fn models(App(state): App<Arc<State>>, headers: HeaderMap) -> Response {
    let api = if headers.contains_key("x-goog-api-key") {
        Api::Generate
    } else if headers.contains_key("x-api-key") || headers.contains_key("anthropic-version") {
        Api::Messages
    } else {
        Api::Chat
    };
    list(&state, api, &headers)
}

async fn gemini_models(App(state): App<Arc<State>>, headers: HeaderMap) -> Response {
    list(&state, Api::Generate, &headers)
}

async fn llama_models(App(state): App<Arc<State>>, headers: HeaderMap) -> Response {
    list(&state, Api::LlamaChat, &headers)
}

fn list(state: &State, api: Api, headers: &HeaderMap) -> Response {
    let provider = api.provider();
    if let Err(problem) = crate::wire::authorise(api, headers) {
        return refused(provider, &problem);
    }
    let names = state.models.names(provider);
    Json(match provider {
        Provider::OpenAi | Provider::Llama => {
            let entry = |id: &String| json!({"id": id, "object": "model", "created": 0, "owned_by": "system"});
            json!({"object": "list", "data": names.iter().map(entry).collect::<Vec<_>>()})
        }
        Provider::Anthropic => {
            let entry = |id: &String| json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"});
            let data: Vec<Value> = names.iter().map(entry).collect();
            json!({"data": data, "has_more": false, "first_id": names.first(), "last_id": names.last()})
        }
        Provider::Gemini => {
            let entry = |id: &String| json!({"name": format!("models/{id}"), "supportedGenerationMethods": ["generateContent"]});
            json!({"models": names.iter().map(entry).collect::<Vec<_>>()})
        }
    })
    .into_response()
}

fn refused(provider: Provider, problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(problem.body(provider, "req_models"))).into_response()
}
