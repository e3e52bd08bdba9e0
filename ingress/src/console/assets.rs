//! The files of the console's pages, and their addresses.

use std::sync::LazyLock;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;

use super::fault::{Answer, Fault};
use crate::asset::{self, Asset};
use crate::error::ApiError;
use crate::extract::Word;
use crate::state::AppState;

/// The routes of the files; they are public and cost nothing, so that only the flood
/// guard limits them.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/assets/{file}", get(file))
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "css", asset::STYLE, include_str!("assets/console.css"))
});
static MODULE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "js", asset::SCRIPT, include_str!("assets/console.js")));
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

/// The paths of the files that every page names.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// The style sheet.
    pub(super) style: String,
    /// The module.
    pub(super) module: String,
    /// The icon.
    pub(super) icon: String,
}

/// The paths of the files.
pub(super) fn paths() -> Paths {
    let path = |asset: &Asset| format!("/console/assets/{}", asset.name);
    Paths { style: path(&STYLE), module: path(&MODULE), icon: path(&ICON) }
}

async fn file(Word(name): Word) -> Answer {
    let all = [&STYLE, &MODULE, &ICON];
    let found = all.into_iter().find(|asset| asset.name == name).ok_or_else(|| {
        Fault::from(ApiError::NotFound("the console has no such file".to_owned()))
    })?;
    Ok((&**found).into_response())
}
