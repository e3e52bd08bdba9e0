//! A file of a page: part of the binary, named by its content, so that browsers keep it
//! for ever.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// The media type of modules.
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
/// The media type of style sheets.
pub(crate) const STYLE: &str = "text/css; charset=utf-8";

/// A file of a page.
#[derive(Debug)]
pub(crate) struct Asset {
    /// `name-hash.ending`
    pub(crate) name: String,
    media_type: &'static str,
    content: &'static str,
}

impl Asset {
    /// A file with the name `name-hash.ending`.
    pub(crate) fn new(
        name: &str,
        ending: &str,
        media_type: &'static str,
        content: &'static str,
    ) -> Self {
        let hash = hex::encode(&Sha256::digest(content.as_bytes())[..8]);
        Self { name: format!("{name}-{hash}.{ending}"), media_type, content }
    }
}

impl IntoResponse for &Asset {
    fn into_response(self) -> Response {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.media_type)),
            (header::CACHE_CONTROL, forever),
        ];
        (headers, self.content).into_response()
    }
}
