//! The worker's HTTP port: metrics, liveness and readiness.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use axum::{Json, Router};
use regimen_common::profile::Profiler;
use regimen_common::readiness::{Liveness, Readiness, Stores};
use regimen_common::telemetry::MetricsPage;

use crate::deps::Deps;

/// `/metrics` for Prometheus, `/livez` (vital tasks are running), `/readyz` (it can work:
/// Postgres is available, and no drain has begun), and flame graphs if `PROFILING` is
/// enabled.
pub fn router(metrics: MetricsPage, deps: Arc<Deps>) -> Router {
    let profiling = deps.config.telemetry.profiling;
    let stores = Stores::new(deps.db.clone(), deps.redis.clone(), deps.shutdown.drain.clone());
    let (measured, living) = (Arc::clone(&deps), deps);
    let page = async move || {
        measured.db.report();
        measured.heartbeat_db.report();
        metrics.render().await
    };
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/livez", get(async move || live(living.vital.liveness())))
        .route("/readyz", get(async move || ready(&stores).await));
    if !profiling {
        return router;
    }
    let profiler = Profiler::default();
    let answer = async move |uri: Uri| profiler.answer(uri.query()).await.map(Body::from);
    router.route("/debug/pprof/profile", get(answer))
}

fn live(liveness: Liveness) -> (StatusCode, Json<Liveness>) {
    let alive = liveness.is_alive();
    (if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(liveness))
}

async fn ready(stores: &Stores) -> (StatusCode, Json<Readiness>) {
    let postgres = stores.postgres().await;
    let readiness = stores.readiness(postgres.as_ref().err());
    let takes_work = readiness.takes_work();
    (if takes_work { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(readiness))
}
