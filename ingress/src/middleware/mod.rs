//! Middleware of every route: request ids, limits on size and time, the flood
//! guard, metrics.

mod body;
mod config;
mod cors;
mod flood;
mod observe;
mod refuse;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;

use regimen_common::telemetry::sentry::hub_per_request;
use tower::ServiceBuilder;

pub use body::BodyRefused;
pub use config::LimitsConfig;
pub(crate) use config::{HEADER_LINES, MAX_BUFFER_BYTES};
pub use cors::AllowedOrigins;
pub use flood::{FloodConfig, FloodGuard};

/// Wraps `router`. Must be called inside a Tokio runtime.
///
/// The order of refusal, the same for every route:
///
/// 1. head too large or URL too long: 431, 414 (here)
/// 2. body too large or too slow: 413, 408 (here, while an extractor reads it)
/// 3. too many requests from one address: 429 (here; not webhooks and health)
/// 4. no such path or method: 404, 405 (here)
/// 5. credentials: 401, 403 (extractor [`crate::auth::Caller`])
/// 6. the caller's rate limit: 429 (the limited routes)
/// 7. the body's content: 400, 415, 422 (extractors and validation)
/// 8. monthly quota, backpressure: 429, 503 (the handler's one call)
///
/// A preflight request is answered before all of these.
pub fn wrap<S>(
    router: Router<S>,
    limits: &LimitsConfig,
    is_flood_exempt: fn(&str) -> bool,
) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let refusals = Arc::new(refuse::EarlyRefusals::new(limits, is_flood_exempt));
    refuse::sweep_while_alive(&refusals);
    let figures = Arc::new(observe::Figures::new());
    // As one layer: each one of the router's own would be cloned with every request.
    let layers = ServiceBuilder::new()
        .option_layer(hub_per_request::<Request>())
        .layer(from_fn_with_state(figures, observe::observe))
        .layer(cors::layer(&limits.allowed_origins))
        .layer(from_fn_with_state(refusals, refuse::refuse_early));
    router
        .fallback(refuse::unknown_route)
        .method_not_allowed_fallback(refuse::unknown_method)
        .layer(layers)
}

#[cfg(test)]
mod tests;
