//! Pauses and resumes queues and providers. The source of truth is a row in
//! Postgres that every claim checks; workers read it every second.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use regimen_common::db::pauses::{self, Pausable, Pause};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::operator;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::Name;
use crate::operators::{self, known_provider, known_queue};
use crate::state::AppState;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(pause_queue))
        .routes(routes!(resume_queue))
        .routes(routes!(pause_provider))
        .routes(routes!(resume_provider))
        .routes(routes!(pause_model))
        .routes(routes!(resume_model))
}

/// The pauses.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pauses {
    /// Paused queues.
    pub queues: Vec<PauseView>,
    /// Paused providers.
    pub providers: Vec<PauseView>,
    /// Models that are not called.
    pub models: Vec<PauseView>,
}

/// One pause.
#[derive(Debug, Serialize, ToSchema)]
pub struct PauseView {
    /// The queue or provider.
    pub name: String,
    /// The operator.
    pub paused_by: String,
    /// Its time.
    pub paused_at: DateTime<Utc>,
}

/// The state of a queue or provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct PauseState {
    /// The queue or provider.
    pub name: String,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether this request changed it.
    pub changed: bool,
}

/// Paused queues and providers
#[utoipa::path(get, path = "/admin/pauses", tag = "admin", security(("token" = [])),
    responses((status = OK, body = Pauses)))]
async fn list(State(state): State<AppState>, _: Admin) -> Result<Json<Pauses>, ApiError> {
    let client = state.db.get().await?;
    let all = pauses::all(&client).await?;
    let of = |what: Pausable| {
        let view = |pause: &Pause| PauseView {
            name: pause.name.clone(),
            paused_by: pause.paused_by.clone(),
            paused_at: pause.paused_at,
        };
        all.iter().filter(|pause| pause.what == what).map(view).collect()
    };
    Ok(Json(Pauses {
        queues: of(Pausable::Queue),
        providers: of(Pausable::Provider),
        models: of(Pausable::Model),
    }))
}

/// Pause a queue
///
/// Jobs are accepted and wait; none of the queue is claimed until it is resumed. Running
/// jobs continue. Plan jobs that wait longer than QUEUE_EXPIRY_SECONDS expire as usual.
#[utoipa::path(post, path = "/admin/queues/{class}/pause", tag = "admin",
    security(("token" = [])), params(("class" = String, Path, description = "pro, free or stripe")),
    responses((status = OK, body = PauseState)))]
async fn pause_queue(
    State(state): State<AppState>,
    admin: Admin,
    Name(class): Name,
) -> Result<Json<PauseState>, ApiError> {
    set(&state, &admin, Pausable::Queue, known_queue(&class)?, true).await
}

/// Resume a queue
#[utoipa::path(post, path = "/admin/queues/{class}/resume", tag = "admin",
    security(("token" = [])), params(("class" = String, Path, description = "pro, free or stripe")),
    responses((status = OK, body = PauseState)))]
async fn resume_queue(
    State(state): State<AppState>,
    admin: Admin,
    Name(class): Name,
) -> Result<Json<PauseState>, ApiError> {
    set(&state, &admin, Pausable::Queue, known_queue(&class)?, false).await
}

/// Pause a provider
///
/// It is not called until it is resumed; running calls continue. A job for which every
/// provider is paused is requeued for another round.
#[utoipa::path(post, path = "/admin/providers/{name}/pause", tag = "admin",
    security(("token" = [])),
    params(("name" = String, Path, description = "openai, anthropic, gemini or llama")),
    responses((status = OK, body = PauseState)))]
async fn pause_provider(
    State(state): State<AppState>,
    admin: Admin,
    Name(name): Name,
) -> Result<Json<PauseState>, ApiError> {
    set(&state, &admin, Pausable::Provider, known_provider(&name)?, true).await
}

/// Resume a provider
///
/// Also if it was not paused: its cool-downs end and its breakers close, and every worker
/// calls it again within about a second. Use it once the cause is fixed: money, a key, a
/// wrong `Retry-After`.
#[utoipa::path(post, path = "/admin/providers/{name}/resume", tag = "admin",
    security(("token" = [])),
    params(("name" = String, Path, description = "openai, anthropic, gemini or llama")),
    responses((status = OK, body = PauseState)))]
async fn resume_provider(
    State(state): State<AppState>,
    admin: Admin,
    Name(name): Name,
) -> Result<Json<PauseState>, ApiError> {
    set(&state, &admin, Pausable::Provider, known_provider(&name)?, false).await
}

/// Pause a model
///
/// No worker calls it until it is resumed, whoever serves it; a job that asks for it goes
/// to the next provider. Name the model that is called: for a retired one, its successor.
#[utoipa::path(post, path = "/admin/models/{name}/pause", tag = "admin",
    security(("token" = [])), params(("name" = String, Path, description = "The model's id")),
    responses((status = OK, body = PauseState)))]
async fn pause_model(
    State(state): State<AppState>,
    admin: Admin,
    Name(name): Name,
) -> Result<Json<PauseState>, ApiError> {
    set(&state, &admin, Pausable::Model, &name, true).await
}

/// Resume a model
#[utoipa::path(post, path = "/admin/models/{name}/resume", tag = "admin",
    security(("token" = [])), params(("name" = String, Path, description = "The model's id")),
    responses((status = OK, body = PauseState)))]
async fn resume_model(
    State(state): State<AppState>,
    admin: Admin,
    Name(name): Name,
) -> Result<Json<PauseState>, ApiError> {
    set(&state, &admin, Pausable::Model, &name, false).await
}

async fn set(
    state: &AppState,
    admin: &Admin,
    what: Pausable,
    name: &str,
    paused: bool,
) -> Result<Json<PauseState>, ApiError> {
    let changed = operators::set_pause(state, &operator(admin), what, name, paused).await?;
    Ok(Json(PauseState { name: name.to_owned(), paused, changed }))
}
