//! The API documentation: the OpenAPI document, and a page with Swagger UI and samples,
//! whose files are part of the binary.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use askama::Template;
use axum::Extension;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, serve};

use crate::asset::{self, Asset};
use crate::error::ApiError;
use crate::extract::Word;
use crate::openapi::Document;
use crate::state::AppState;

/// The files of Swagger UI that the page uses.
const SWAGGER_UI: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("docs", "css", asset::STYLE, include_str!("documentation/docs.css"))
});
static MODULE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("docs", "js", asset::SCRIPT, include_str!("documentation/docs.js"))
});

/// The page's content security policy: its own scripts and calls to this API. It loads
/// nothing from other hosts.
const POLICY: (HeaderName, HeaderValue) = (
    header::CONTENT_SECURITY_POLICY,
    HeaderValue::from_static(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
);

/// The routes of the documentation.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(openapi_json))
        .routes(routes!(docs))
        .routes(routes!(docs_page))
        .routes(routes!(docs_file))
}

/// This OpenAPI document
#[utoipa::path(get, path = "/openapi.json", tag = "documentation",
    responses((status = OK, content_type = "application/json", body = Value)))]
async fn openapi_json(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.json())
}

/// This documentation for people
///
/// Redirects to the page, whose files are beside it.
#[utoipa::path(get, path = "/docs", tag = "documentation",
    responses((status = SEE_OTHER, description = "The page", headers(("Location" = String)))))]
async fn docs() -> Redirect {
    Redirect::to("/docs/")
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Page<'a> {
    style: &'a str,
    module: &'a str,
}

/// The page of this documentation
///
/// Swagger UI, which can send requests, with samples of the calls used most.
#[utoipa::path(get, path = "/docs/", tag = "documentation",
    responses((status = OK, content_type = "text/html", body = String)))]
async fn docs_page() -> Result<Response, ApiError> {
    let page = Page { style: &STYLE.name, module: &MODULE.name };
    let page = page.render().map_err(ApiError::internal)?;
    Ok(([POLICY], Html(page)).into_response())
}

/// A file of the page
#[utoipa::path(get, path = "/docs/{file}", tag = "documentation",
    params(("file" = String, Path, description = "Its name")),
    responses((status = OK, content(
        (String = "text/css"), (String = "text/javascript"), (String = "image/png")))))]
async fn docs_file(Word(name): Word) -> Result<Response, ApiError> {
    if let Some(own) = [&STYLE, &MODULE].into_iter().find(|asset| asset.name == name) {
        return Ok(([POLICY], &**own).into_response());
    }
    let none = || ApiError::NotFound("the page has no such file".to_owned());
    let name = SWAGGER_UI.into_iter().find(|known| *known == name).ok_or_else(none)?;
    let found = serve(name, Arc::new(Config::default()));
    let found = found.map_err(|error| ApiError::internal(error.to_string()))?.ok_or_else(none)?;
    let content_type = [(header::CONTENT_TYPE, found.content_type)];
    let encoding = found.gzpipped.then_some([(header::CONTENT_ENCODING, "gzip")]);
    Ok(([POLICY], content_type, encoding, shared(found.bytes)).into_response())
}

/// A file of the binary is not copied: strangers may ask for it as often as they like.
fn shared(file: Cow<'static, [u8]>) -> Bytes {
    match file {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::openapi;

    async fn bytes(answer: impl IntoResponse) -> Bytes {
        to_bytes(answer.into_response().into_body(), usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn all_answers_share_the_bytes_of_a_file() {
        let document = Document::of(&openapi::base::<()>().into_openapi(), |_| false);
        let file = async || bytes(docs_file(Word("swagger-ui-bundle.js".to_owned())).await).await;
        let description = async || bytes(openapi_json(Extension(document.clone())).await).await;
        for (one, two) in [(file().await, file().await), (description().await, description().await)]
        {
            assert!(one.len() > 1_000, "{}", one.len());
            assert_eq!(one.as_ptr(), two.as_ptr());
        }
    }
}
