//! The operators' console, and `/try` for newcomers. Every page is rendered here and
//! readable without JavaScript; a small module of our own makes parts of it live.
//! `CONSOLE=off` removes every route.

mod actions;
mod assets;
mod audit;
mod batch;
mod chart;
mod dead;
mod fault;
mod form;
mod guard;
mod jobs;
mod limit;
mod live;
mod money;
mod overview;
mod page;
mod plan;
mod queues;
mod session;
mod settings;
mod sign_in;
mod stripe_events;
mod trying;
mod users;
mod workers;

pub use session::{SignInLink, sign_in_link};

use axum::Router;
use axum::middleware::from_fn;

use crate::state::AppState;

/// Every route of the console; none with `CONSOLE=off`.
pub fn router(state: &AppState) -> Router<AppState> {
    if !state.config.console.on {
        return Router::new();
    }
    let trying = if state.config.console.demo { trying::router() } else { Router::new() };
    trying
        .merge(actions::router(state))
        .merge(assets::router())
        .merge(audit::router())
        .merge(batch::router(state))
        .merge(dead::router())
        .merge(jobs::router(state))
        .merge(money::router())
        .merge(overview::router())
        .merge(queues::router())
        .merge(settings::router())
        .merge(sign_in::router(state))
        .merge(stripe_events::router())
        .merge(users::router(state))
        .layer(from_fn(guard::guard))
}
