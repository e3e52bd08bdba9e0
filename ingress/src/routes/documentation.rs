//! The API documentation: the OpenAPI document, and Swagger UI, whose files are
//! part of the binary.

use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, serve};

use crate::error::ApiError;
use crate::extract::Word;
use crate::openapi::Document;
use crate::state::AppState;

const DOCUMENT: &str = "/openapi.json";

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
async fn openapi_json(Extension(Document(json)): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], json.to_string())
}

/// This documentation for people
///
/// Redirects to the page, whose files are beside it.
#[utoipa::path(get, path = "/docs", tag = "documentation",
    responses((status = SEE_OTHER, description = "The page", headers(("Location" = String)))))]
async fn docs() -> Redirect {
    Redirect::to("/docs/")
}

/// The page of this documentation
///
/// Swagger UI; it can send requests.
#[utoipa::path(get, path = "/docs/", tag = "documentation",
    responses((status = OK, content_type = "text/html", body = String)))]
async fn docs_page() -> Result<Response, ApiError> {
    file("index.html")
}

/// A file of the page
#[utoipa::path(get, path = "/docs/{file}", tag = "documentation",
    params(("file" = String, Path, description = "Its name")),
    responses((status = OK, content(
        (String = "text/html"), (String = "text/css"), (String = "text/javascript"),
        (String = "image/png")))))]
async fn docs_file(Word(name): Word) -> Result<Response, ApiError> {
    file(&name)
}

fn file(name: &str) -> Result<Response, ApiError> {
    // The badge of a public validator would disclose this deployment.
    let config = Config::new([DOCUMENT]).use_base_layout().validator_url("none");
    let found = serve(name, Arc::new(config));
    let found = found.map_err(|error| ApiError::internal(error.to_string()))?;
    let found = found.ok_or_else(|| ApiError::NotFound("the page has no such file".to_owned()))?;
    let content_type = [(header::CONTENT_TYPE, found.content_type)];
    let encoding = found.gzpipped.then_some([(header::CONTENT_ENCODING, "gzip")]);
    Ok(([POLICY], content_type, encoding, found.bytes.into_owned()).into_response())
}
