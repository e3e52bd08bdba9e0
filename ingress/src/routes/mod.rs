//! The one route table: each module owns its routes, this file merges them.

pub mod admin;
pub mod billing;
pub mod health;
pub mod jobs;
pub mod legacy;
pub mod plans;
pub mod stripe;
pub mod usage;

use axum::Router;
use axum::middleware::from_fn_with_state;

use crate::limits;
use crate::state::AppState;

/// Every route of the API, behind the users' limits.
pub fn router(state: AppState) -> Router {
    Router::new()
        .merge(health::router())
        .merge(jobs::router())
        .merge(legacy::router())
        .merge(plans::router())
        .merge(stripe::router())
        .merge(usage::router())
        .layer(from_fn_with_state(state.clone(), limits::enforce))
        .with_state(state)
}
