//! The OpenAPI 3.1 document and its page, made from the routes themselves.
//!
//! Each handler describes its path and what it answers when all is well; the
//! refusals that follow from what a route reads are added here by rule
//! (`refusals`), so that they are the same everywhere.

mod page;
mod quiz;
mod refusals;
mod webhooks;

use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse};
use regimen_common::callbacks::JobCallback;
use serde_json::{Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{FieldError, Problem};
use crate::state::AppState;

pub use quiz::{QuizAnswers, example_request};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Regimen",
        description = "Turns a fitness quiz into meal and workout plans. Requests are answered \
            at once; plans are made by workers and watched through their jobs. Every refusal is \
            a problem document (RFC 9457).",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(Problem, FieldError, JobCallback)),
    modifiers(&Token),
    tags(
        (name = "plans", description = "Asking for plans and reading them"),
        (name = "jobs", description = "Watching plans being made"),
        (name = "account", description = "Your limits and your subscription"),
        (name = "legacy", description = "The replaced service's routes, for existing front ends"),
        (name = "stripe", description = "Deliveries from Stripe"),
        (name = "health", description = "For load balancers and monitors"),
        (name = "admin", description = "For operators"),
        (name = "documentation", description = "This description"),
    ),
)]
struct Base;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "A Supabase access token; its subject is the user. A trusted backend sends its \
                 service key instead and names the user in `user_id` or `X-User-Id`.",
            ))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// What can be wrong with asking for plans, beyond what can be wrong anywhere.
#[derive(IntoResponses)]
pub enum SubmissionRefusals {
    /// quiz_result_id is none of yours
    #[response(status = NOT_FOUND, content_type = "application/problem+json")]
    NoSuchQuiz(#[to_schema] Problem),
    /// A request with this Idempotency-Key is being answered
    #[response(status = CONFLICT, content_type = "application/problem+json")]
    InFlight(#[to_schema] Problem),
}

/// An empty router that collects descriptions.
pub fn base() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Base::openapi()).merge(router())
}

/// The document as it is served.
#[derive(Debug, Clone)]
pub struct Served {
    json: Arc<str>,
    page: Arc<str>,
}

/// Completes what the routes collected.
pub fn finish(collected: &utoipa::openapi::OpenApi, is_flood_exempt: fn(&str) -> bool) -> Served {
    // Serialising plain data cannot fail; an empty document would fail the tests.
    let mut document = serde_json::to_value(collected).unwrap_or_else(|_| json!({}));
    document["info"]["version"] = Value::from(env!("CARGO_PKG_VERSION"));
    refusals::add(&mut document, is_flood_exempt);
    webhooks::add(&mut document);
    Served { page: page::render(&document).into(), json: document.to_string().into() }
}

fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(openapi_json)).routes(routes!(docs))
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "documentation",
    responses((status = OK, content_type = "application/json", body = Value)))]
async fn openapi_json(Extension(served): Extension<Served>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], served.json.to_string())
}

/// This description for people
#[utoipa::path(get, path = "/docs", tag = "documentation",
    responses((status = OK, content_type = "text/html", body = String)))]
async fn docs(Extension(served): Extension<Served>) -> impl IntoResponse {
    // The page has styles of its own and nothing else: no script, no other host.
    const POLICY: (HeaderName, HeaderValue) = (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    );
    ([POLICY], Html(served.page.to_string()))
}
