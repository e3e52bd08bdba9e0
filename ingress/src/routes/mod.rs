//! The route table: each module defines its routes, this file merges them.

pub mod account;
pub mod admin;
pub mod app_admin;
pub mod billing;
pub mod documentation;
pub mod health;
pub mod jobs;
pub mod legacy;
pub mod plans;
pub mod stripe;
pub mod stripe_admin;
pub mod usage;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Extension, Router};
use regimen_common::db::StatementLimits;
use regimen_common::db::limits::within;
use utoipa_axum::router::OpenApiRouter;

use crate::console;
use crate::openapi::{self, Document};
use crate::state::AppState;

/// Whether the flood guard exempts this path.
pub fn is_flood_exempt(path: &str) -> bool {
    [health::FLOOD_EXEMPT, stripe::FLOOD_EXEMPT].iter().any(|exempt| exempt.contains(&path))
}

/// Every route of the API, and the console's pages, which the API's description does not
/// tell of. Each module sets the limits beside its routes.
pub fn router(state: AppState) -> Router {
    let (routes, collected) = described(&state).split_for_parts();
    routes
        .merge(console::router(&state))
        .layer(from_fn(wait_for_postgres_within_limits))
        .layer(Extension(Document::of(&collected, is_flood_exempt)))
        .with_state(state)
}

/// However many statements a request needs, their waits together are limited like one
/// statement's.
async fn wait_for_postgres_within_limits(request: Request, next: Next) -> Response {
    within(StatementLimits::REQUEST.usual, next.run(request)).await
}

/// The route table: each route with its description.
fn described(state: &AppState) -> OpenApiRouter<AppState> {
    openapi::base()
        .merge(account::router(state))
        .merge(admin::router())
        .merge(app_admin::router(state))
        .merge(billing::router(state))
        .merge(documentation::router())
        .merge(health::router())
        .merge(jobs::router())
        .merge(legacy::router(state))
        .merge(plans::router(state))
        .merge(stripe::router())
        .merge(stripe_admin::router())
        .merge(usage::router())
}
