//! The effective settings of this process and of the workers: where each value comes from,
//! and the value where it is no secret.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use regimen_common::config::Setting;
use regimen_common::db::workers::{self, ShownSetting};

use super::fault::Answer;
use super::page::{Frame, html};
use super::session::Session;
use crate::state::AppState;

/// The route; it reads the workers' rows, and only the flood guard limits it.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/settings", get(page))
}

#[derive(Template)]
#[template(path = "console/settings.html")]
struct SettingsPage {
    frame: Frame,
    settings: Vec<Setting>,
    /// Workers with the same settings, and these.
    workers: Vec<(Vec<String>, Vec<ShownSetting>)>,
}

async fn page(State(state): State<AppState>, session: Session) -> Answer {
    session.require_admin()?;
    let frame = Frame::within("/console/settings", "Settings", &session);
    let settings = state.config.settings.clone();
    let workers = workers::settings(&state.db.get().await?).await?;
    Ok(html(SettingsPage { frame, settings, workers }.render()?).into_response())
}
