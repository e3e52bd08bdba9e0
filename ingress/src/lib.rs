//! The ingress: authenticates, validates, limits, verifies webhooks, commits
//! jobs and answers. It does no slow work itself.

pub mod acceptance;
mod announce;
mod asset;
pub mod auth;
pub mod billing;
mod check;
pub mod client_address;
pub mod commands;
pub mod config;
pub mod console;
pub mod cursor;
pub mod descriptors;
pub mod error;
pub mod etag;
mod explained;
pub mod export;
pub mod extract;
pub mod idempotency;
pub mod limits;
mod measurement;
pub mod metrics;
pub mod middleware;
pub mod openapi;
pub mod operators;
pub mod passwords;
pub mod prefer;
pub mod probes;
pub mod request_id;
pub mod routes;
pub mod serve;
pub mod state;
pub mod stripe_api;
pub mod submission;
mod unread;
pub mod views;
pub mod waiting;
pub mod watching;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Uri;
use axum::routing::get;
use regimen_common::db::DbError;
use regimen_common::profile::Profiler;
use regimen_common::redis;
use regimen_common::start::{self, StartError};
use regimen_common::telemetry::MetricsPage;
use tokio::net::TcpListener;

use state::AppState;

/// Why the ingress ended without a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The bound address could not be written.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The ingress cannot work with the server of `DATABASE_URL`.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A socket that was bound has no address.
    #[error("a socket of LISTEN_ADDR or METRICS_ADDR failed: {0}; start the process again")]
    Socket(#[from] std::io::Error),
}

/// Serves the API until the first signal, sends its clients elsewhere, and finishes open
/// requests; at the second signal it stops at once.
///
/// # Errors
/// `ADDRESS_FILE` cannot be written, a socket failed, or the ingress cannot work with the
/// server of `DATABASE_URL`.
pub async fn run(
    api: TcpListener,
    operators: TcpListener,
    state: AppState,
    metrics: MetricsPage,
) -> Result<(), RunError> {
    state.db.inspect().await?;
    let (api_address, metrics_address) = (api.local_addr()?, operators.local_addr()?);
    state.vital.spawn("redis_watch", redis::watch(state.redis.clone()));
    state.vital.spawn("changes", state.watching.changes.clone().run());
    let (url, db, redis) =
        (state.config.database_url.clone(), state.db.clone(), state.redis.clone());
    tokio::spawn(start::look_at_stores(url, db, redis));
    let authenticator = Arc::clone(&state.authenticator);
    tokio::spawn(async move { authenticator.look_at_keys().await });
    state.limits.sweep_while_alive();
    state.vital.spawn("metrics", metrics.clone().watch());
    let measured = state.db.clone();
    let page = async move || {
        measured.report();
        metrics.render().await
    };
    let mut metrics = Router::new().route("/metrics", get(page));
    if state.config.telemetry.profiling {
        let profiler = Profiler::default();
        let answer = async move |uri: Uri| profiler.answer(uri.query()).await.map(Body::from);
        metrics = metrics.route("/debug/pprof/profile", get(answer));
    }
    tokio::spawn(async move { axum::serve(operators, metrics).await });
    if let Some(path) = &state.config.address_file {
        let entries = [
            ("INGRESS_URL", format!("http://{api_address}")),
            ("METRICS_URL", format!("http://{metrics_address}")),
        ];
        start::tell_address(path, &entries)?;
    }
    tracing::info!(address = %api_address, metrics = %metrics_address, "ingress ready");
    let (config, shutdown) = (state.config.clone(), state.shutdown.clone());
    let db = state.db.clone();
    let mut limits = config.limits.clone();
    limits.max_connections =
        descriptors::room_for(limits.max_connections, config.database_pool_size);
    let app = middleware::wrap(routes::router(state), &limits, routes::is_flood_exempt);
    let served = serve::serve(api, app, &limits, &shutdown.drain, config.ending);
    tokio::select! {
        () = served => {}
        refused = db.refused() => return Err(refused.into()),
        () = shutdown.now.cancelled() => tracing::warn!("stopped with requests open"),
    }
    tracing::info!("ingress stopped");
    Ok(())
}
