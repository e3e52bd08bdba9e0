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

/// The offer, and the return URLs.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Checkout {
    /// One of this deployment's offers; the first by default.
    pub plan: Option<String>,
    /// The return URL after paying, on one of the app's own origins. May contain
    /// `{CHECKOUT_SESSION_ID}`.
    pub success_url: Option<String>,
    /// The return URL without paying, on one of the app's own origins.
    pub cancel_url: Option<String>,
}

/// The return URL.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Portal {
    /// On one of the app's own origins.
    pub return_url: Option<String>,
}

/// A page at Stripe.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionUrl {
    /// Its URL; valid for a short time.
    pub url: String,
}

/// Buy a subscription
///
/// Answers with the URL of a payment page at Stripe. The user has the subscription once
/// Stripe reports the payment.
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
/// Answers with the URL of a page at Stripe for managing cards, invoices and the
/// subscription.
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

/// A checkout in the old front end's format.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CheckoutSession {
    /// The buyer; must be the caller.
    pub user_id: Option<Uuid>,
    /// The return URL after paying.
    pub success_url: Option<String>,
    /// The return URL without paying.
    pub cancel_url: Option<String>,
}

/// The response in the old front end's format.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckoutSessionCreated {
    /// The payment page.
    pub session_url: String,
}

/// Buy a subscription (replaced service's route)
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

/// The customer of the invoices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InvoicesQuery {
    /// The caller's own customer (`cus_…`); operators may name any.
    customer_id: Option<String>,
}

/// The response in the old front end's format.
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
