//! The effective settings of this process: where each value comes from, and the value
//! where it is no secret.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use regimen_common::config::Setting;

use super::fault::Answer;
use super::page::{Frame, html};
use super::session::Session;
use crate::state::AppState;

/// The route; it reads nothing, and only the flood guard limits it.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/settings", get(page))
}

#[derive(Template)]
#[template(path = "console/settings.html")]
struct SettingsPage {
    frame: Frame,
    settings: Vec<Setting>,
}

async fn page(State(state): State<AppState>, session: Session) -> Answer {
    session.require_admin()?;
    let frame = Frame::within("/console/settings", "Settings", &session);
    let settings = state.config.settings.clone();
    Ok(html(SettingsPage { frame, settings }.render()?).into_response())
}
