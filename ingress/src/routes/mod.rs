//! The one route table: each module owns its routes, this file merges them.

pub mod admin;
pub mod billing;
mod events;
pub mod health;
pub mod jobs;
pub mod legacy;
pub mod plans;
pub mod stripe;
pub mod usage;

use axum::Router;

use crate::state::AppState;

/// Every route of the API.
pub fn router() -> Router<AppState> {
    Router::new()
        .merge(health::router())
        .merge(jobs::router())
        .merge(legacy::router())
        .merge(plans::router())
        .merge(stripe::router())
}
