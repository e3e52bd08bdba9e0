//! The OpenAPI 3.1 document, generated from the routes.
//!
//! Each handler describes its path and its successful responses; the errors
//! that follow from what a route reads are added here by rule (`refusals`), so
//! that they are the same everywhere.

mod quiz;
mod refusals;
mod responses;
mod samples;
mod webhooks;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use regimen_common::callbacks::JobCallback;
use serde_json::{Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::error::{FieldError, Problem};

pub use quiz::{QuizAnswers, example_request};
pub use responses::{StripeRefusals, SubmissionRefusals, UnknownAtStripe};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Regimen",
        description = "Turns a fitness quiz into meal and workout plans. Requests are answered \
            at once; plans are made by workers and watched through their jobs. Every refusal is \
            a problem document (RFC 9457). The samples read an access token from the environment \
            variable TOKEN and, where they need one, a job's id from JOB and the user's from USER_ID.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(Problem, FieldError, JobCallback)),
    modifiers(&Token),
    tags(
        (name = "plans", description = "Requesting and reading plans"),
        (name = "jobs", description = "Watching jobs"),
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

/// An empty router that collects descriptions.
pub fn base<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::with_openapi(Base::openapi())
}

/// The served document: JSON. It is completed when it is first read, because most
/// processes are never asked for it and its tree takes several megabytes.
#[derive(Debug, Clone)]
pub struct Document(Arc<LazyLock<Bytes, Complete>>);

/// Completes it.
type Complete = Box<dyn FnOnce() -> Bytes + Send>;

impl Document {
    /// That of what the routes have collected.
    pub fn of(collected: &utoipa::openapi::OpenApi, is_flood_exempt: fn(&str) -> bool) -> Self {
        // Serialising plain data cannot fail; an empty document would fail the tests.
        let collected = serde_json::to_string(collected).unwrap_or_default();
        let complete = move || complete(&collected, is_flood_exempt).into();
        Self(Arc::new(LazyLock::new(Box::new(complete))))
    }

    /// Its text, which all callers share.
    pub fn json(&self) -> Bytes {
        Bytes::clone(&self.0)
    }
}

/// The document of what the routes have collected.
fn complete(collected: &str, is_flood_exempt: fn(&str) -> bool) -> String {
    let mut document = serde_json::from_str(collected).unwrap_or_else(|_| json!({}));
    document["info"]["version"] = Value::from(env!("CARGO_PKG_VERSION"));
    name_operations(&mut document);
    refusals::add(&mut document, is_flood_exempt);
    samples::add(&mut document);
    webhooks::add(&mut document);
    document.to_string()
}

/// Names every operation by its method and path: the names of the handlers are not unique.
fn name_operations(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        let path = path.replace(['{', '}'], "");
        let words = path.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["operationId"] = Value::from(format!("{method}{words}"));
        }
    }
}
