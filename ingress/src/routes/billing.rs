//! Checkout and portal sessions for the caller's own account, and the replaced
//! service's routes for the same.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::Caller;
use crate::billing::checkout::{self, Wish};
use crate::billing::{keys, stripe_id};
use crate::error::ApiError;
use crate::extract::{Json as JsonBody, Query};
use crate::limits::{Action, limited};
use crate::openapi::{StripeRefusals, UnknownAtStripe};
use crate::state::AppState;
use crate::stripe_api::replies::Invoice;

/// The billing routes.
pub fn router(state: &AppState) -> OpenApiRouter<AppState> {
    let routes = OpenApiRouter::new()
        .routes(routes!(create_checkout))
        .routes(routes!(create_portal))
        .routes(routes!(create_checkout_session))
        .routes(routes!(invoices));
    limited(state, Action::Billing, routes)
}

/// What to buy, and where to go afterwards.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Checkout {
    /// One of this deployment's offers; the first unless given.
    pub plan: Option<String>,
    /// Where to go after paying, on one of the app's own origins. May hold
    /// `{CHECKOUT_SESSION_ID}`.
    pub success_url: Option<String>,
    /// Where to go without paying, on one of the app's own origins.
    pub cancel_url: Option<String>,
}

/// Where to come back to.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Portal {
    /// On one of the app's own origins.
    pub return_url: Option<String>,
}

/// A page of Stripe's, to go to at once.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionUrl {
    /// Its address; valid for a short time.
    pub url: String,
}

/// Buy a subscription
///
/// Answers with the address of a payment page of Stripe's. The subscription is
/// the caller's once Stripe says that it is paid.
#[utoipa::path(post, path = "/v1/billing/checkout", tag = "account", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Makes repeating safe: the same key and body get the same session for 24 h")),
    request_body = Checkout,
    responses((status = OK, body = SessionUrl), StripeRefusals))]
async fn create_checkout(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<Checkout>,
) -> Result<Json<SessionUrl>, ApiError> {
    let user = caller.acting_for(None)?;
    let key = keys::of_request(&headers, "checkout", &user.to_string())?;
    let Checkout { plan, success_url, cancel_url } = request;
    let wish = Wish { plan, success_url, cancel_url };
    let url = checkout::checkout(&state, &caller, user, &wish, &key).await?;
    Ok(Json(SessionUrl { url }))
}

/// Manage your subscription
///
/// Answers with the address of a page of Stripe's where cards, invoices and
/// the subscription are managed.
#[utoipa::path(post, path = "/v1/billing/portal", tag = "account", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As on /v1/billing/checkout")),
    request_body = Portal,
    responses((status = OK, body = SessionUrl), StripeRefusals))]
async fn create_portal(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<Portal>,
) -> Result<Json<SessionUrl>, ApiError> {
    let user = caller.acting_for(None)?;
    let key = keys::of_request(&headers, "portal", &user.to_string())?;
    let wanted = request.return_url.as_deref();
    let url = checkout::portal(&state, &caller, user, wanted, &key).await?;
    Ok(Json(SessionUrl { url }))
}

/// A checkout as the old front end asks for it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CheckoutSession {
    /// Who buys; must be the caller.
    pub user_id: Option<Uuid>,
    /// Where to go after paying.
    pub success_url: Option<String>,
    /// Where to go without paying.
    pub cancel_url: Option<String>,
}

/// The answer the old front end reads.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckoutSessionCreated {
    /// The payment page.
    pub session_url: String,
}

/// Buy a subscription, the old way
#[utoipa::path(post, path = "/api/stripe/create-checkout-session", tag = "legacy",
    security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As on /v1/billing/checkout")),
    request_body = CheckoutSession,
    responses((status = OK, body = CheckoutSessionCreated), StripeRefusals))]
async fn create_checkout_session(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<CheckoutSession>,
) -> Result<Json<CheckoutSessionCreated>, ApiError> {
    let user = caller.acting_for(request.user_id)?;
    let key = keys::of_request(&headers, "checkout", &user.to_string())?;
    let CheckoutSession { success_url, cancel_url, .. } = request;
    let wish = Wish { plan: None, success_url, cancel_url };
    let session_url = checkout::checkout(&state, &caller, user, &wish, &key).await?;
    Ok(Json(CheckoutSessionCreated { session_url }))
}

/// Whose invoices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InvoicesQuery {
    /// The caller's own customer (`cus_…`); operators may name anybody's.
    customer_id: Option<String>,
}

/// The answer the old front end reads.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invoices {
    /// Always true.
    pub success: bool,
    /// Newest first, at most 100.
    pub invoices: Vec<Invoice>,
}

/// Your invoices
#[utoipa::path(get, path = "/api/stripe/invoices", tag = "legacy", security(("token" = [])),
    params(InvoicesQuery),
    responses(
        (status = OK, body = Invoices),
        UnknownAtStripe, StripeRefusals))]
async fn invoices(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<InvoicesQuery>,
) -> Result<Json<Invoices>, ApiError> {
    let customer = stripe_id("?customer_id", query.customer_id.as_deref())?;
    let invoices = checkout::invoices(&state, &caller, customer).await?;
    Ok(Json(Invoices { success: true, invoices }))
}
