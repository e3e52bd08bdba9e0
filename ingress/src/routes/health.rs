//! Liveness, readiness and the legacy health answer.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use regimen_common::redis::Trouble;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

/// Health checks come often, each from few addresses.
pub const FLOOD_EXEMPT: &[&str] = &["/health", "/livez", "/readyz"];

/// The health routes.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(live)).routes(routes!(ready))
}

/// The health answer of the replaced service.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, or `degraded` without a database.
    pub status: &'static str,
    /// The service's name.
    pub service: &'static str,
    /// The release.
    pub version: &'static str,
    /// Which providers have a key.
    pub ai_providers: AiProviders,
    /// Whether Postgres takes jobs.
    pub database: bool,
}

/// Which providers have a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct AiProviders {
    openai: bool,
    anthropic: bool,
    gemini: bool,
    llama: bool,
}

/// The replaced service's health answer
///
/// 200 as long as the process answers; the body says what is missing.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = OK, body = Health)))]
async fn health(State(state): State<AppState>) -> Json<Health> {
    let database = postgres_takes_jobs(&state).await;
    let providers = state.config.providers;
    Json(Health {
        status: if database { "healthy" } else { "degraded" },
        service: "regimen",
        version: env!("CARGO_PKG_VERSION"),
        ai_providers: AiProviders {
            openai: providers.openai,
            anthropic: providers.anthropic,
            gemini: providers.gemini,
            llama: providers.llama,
        },
        database,
    })
}

/// Whether the process is alive
#[utoipa::path(get, path = "/livez", tag = "health",
    responses((status = OK, body = String, content_type = "text/plain")))]
async fn live() -> &'static str {
    "alive\n"
}

/// Whether requests can be accepted, and with what.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`, `degraded` (Redis is away; everything is still accepted) or `unavailable`.
    pub status: &'static str,
    /// Whether Postgres takes jobs: it answers, is not read-only, and its tables are not locked.
    pub postgres: bool,
    /// Whether Redis works: it takes writes.
    pub redis: bool,
    /// While Redis is away: why, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_trouble: Option<&'static str>,
}

/// Whether requests can be accepted
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = OK, body = Readiness, description = "Ready, or degraded: Redis is away"),
    (status = SERVICE_UNAVAILABLE, body = Readiness, description = "Postgres takes no jobs")))]
async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Readiness>) {
    let (postgres, trouble) = (postgres_takes_jobs(&state).await, state.redis.trouble());
    let redis = trouble.is_none();
    let (code, status) = match (postgres, redis) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let redis_trouble = trouble.map(Trouble::as_str);
    (code, Json(Readiness { status, postgres, redis, redis_trouble }))
}

/// A connection alone says little: it may be to a standby, or the tables locked.
async fn postgres_takes_jobs(state: &AppState) -> bool {
    match state.db.ready().await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "not ready");
            false
        }
    }
}
