//! The worker's own port: metrics, and whether it lives.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

use crate::env::Env;

/// `/metrics` for Prometheus, `/livez` (the process answers), `/readyz` (it
/// takes jobs: Postgres does, and no drain has begun).
pub fn router(metrics: PrometheusHandle, env: Arc<Env>) -> Router {
    Router::new()
        .route("/metrics", get(move || std::future::ready(metrics.render())))
        .route("/livez", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(move || ready(Arc::clone(&env))))
}

async fn ready(env: Arc<Env>) -> (StatusCode, &'static str) {
    if env.shutdown.drain.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match env.db.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "Postgres takes no jobs; the log says why\n")
        }
    }
}
