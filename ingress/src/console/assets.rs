//! The files of the console's pages: part of the binary, named by their content, so that
//! browsers keep them for ever.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::fault::{Answer, Fault};
use crate::error::ApiError;
use crate::extract::Word;
use crate::state::AppState;

/// The routes of the files; they are public and cost nothing, so that only the flood
/// guard limits them.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/assets/{file}", get(file))
}

struct Asset {
    /// `name-hash.ending`
    name: String,
    media_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(name: &str, ending: &str, media_type: &'static str, content: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(content.as_bytes())[..8]);
        Self { name: format!("{name}-{hash}.{ending}"), media_type, content }
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "css", "text/css; charset=utf-8", include_str!("assets/console.css"))
});
static MODULE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "js", SCRIPT, include_str!("assets/console.js")));
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
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(found.media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((headers, found.content).into_response())
}
