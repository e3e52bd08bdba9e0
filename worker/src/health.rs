//! The worker's own port: metrics, and whether it lives.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use regimen_common::profile::Profiler;
use regimen_common::telemetry::MetricsPage;

use crate::deps::Deps;

/// `/metrics` for Prometheus, `/livez` (the process answers), `/readyz` (it
/// takes jobs: Postgres does, and no drain has begun), and flame graphs where
/// `PROFILING` is on.
pub fn router(metrics: MetricsPage, deps: Arc<Deps>) -> Router {
    let profiling = deps.config.telemetry.profiling;
    let measured = Arc::clone(&deps);
    let page = async move || {
        measured.db.report();
        measured.heartbeat_db.report();
        metrics.render().await
    };
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/livez", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(move || ready(Arc::clone(&deps))));
    if !profiling {
        return router;
    }
    let profiler = Profiler::default();
    let answer = async move |uri: Uri| profiler.answer(uri.query()).await.map(Body::from);
    router.route("/debug/pprof/profile", get(answer))
}

async fn ready(deps: Arc<Deps>) -> (StatusCode, &'static str) {
    if deps.shutdown.drain.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match deps.db.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "Postgres takes no jobs; the log says why\n")
        }
    }
}
