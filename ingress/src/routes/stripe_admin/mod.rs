//! The replaced service's operator actions on subscriptions, now for operators
//! only. Paths and replies: docs/decisions/0005-stripe-admin-routes.md.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use regimen_common::billing::metrics::WINDOW_DAYS;
use regimen_common::db::billing::payers::{self, SubscriberFilter};
use regimen_common::stripe::Reply;
use serde::{Deserialize, Serialize};
use stripe_client_core::StripeRequest;
use stripe_core::customer::RetrieveCustomer;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::views::{
    CustomerDetails, MetricsView, RefundDone, Resent, SubscriberPage, SubscriberView,
    SubscriptionChanged,
};
use crate::auth::{Admin, Caller};
use crate::billing::operate::{self, Change, Reason, Repayment};
use crate::billing::{checkout, keys, revenue, stripe_id};
use crate::error::ApiError;
use crate::extract::{Json as JsonBody, Query, is_plain};
use crate::openapi::{StripeRefusals, UnknownAtStripe};
use crate::state::AppState;
use crate::stripe_api::for_operator;
use crate::stripe_api::replies::Customer;

pub mod views;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_PAGE: i64 = 100;

/// The operators' routes on subscriptions.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(cancel_subscription))
        .routes(routes!(change_plan))
        .routes(routes!(apply_coupon))
        .routes(routes!(extend_trial))
        .routes(routes!(resend_invoice))
        .routes(routes!(refund))
        .routes(routes!(customer_details))
        .routes(routes!(subscribers))
        .routes(routes!(metrics))
}

/// The subscription.
#[derive(Debug, Deserialize, ToSchema)]
pub struct OfSubscription {
    /// `sub_…`
    pub subscription_id: String,
}

/// Cancel a subscription at the end of its period
#[utoipa::path(post, path = "/api/stripe/admin/cancel-subscription", tag = "admin",
    security(("token" = [])), request_body = OfSubscription,
    responses((status = OK, body = SubscriptionChanged), UnknownAtStripe, StripeRefusals))]
async fn cancel_subscription(
    State(state): State<AppState>,
    Admin(admin): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<OfSubscription>,
) -> Result<Response, ApiError> {
    change(&state, &admin, &headers, &request.subscription_id, Change::CancelAtPeriodEnd).await
}

/// The new price of a subscription.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChangePlan {
    /// `sub_…`
    pub subscription_id: String,
    /// `price_…`
    pub price_id: String,
}

/// Change the price of a subscription
///
/// The next invoice is prorated.
#[utoipa::path(post, path = "/api/stripe/admin/change-plan", tag = "admin",
    security(("token" = [])), request_body = ChangePlan,
    responses((status = OK, body = SubscriptionChanged), UnknownAtStripe, StripeRefusals))]
async fn change_plan(
    State(state): State<AppState>,
    Admin(admin): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ChangePlan>,
) -> Result<Response, ApiError> {
    let price = stripe_id("/price_id", Some(&request.price_id))?.to_owned();
    change(&state, &admin, &headers, &request.subscription_id, Change::Price(price)).await
}

/// The coupon for a subscription.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ApplyCoupon {
    /// `sub_…`
    pub subscription_id: String,
    /// Its id in Stripe; replaces other discounts.
    pub coupon_id: String,
}

/// Apply a coupon to a subscription
#[utoipa::path(post, path = "/api/stripe/admin/apply-coupon", tag = "admin",
    security(("token" = [])), request_body = ApplyCoupon,
    responses((status = OK, body = SubscriptionChanged), UnknownAtStripe, StripeRefusals))]
async fn apply_coupon(
    State(state): State<AppState>,
    Admin(admin): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ApplyCoupon>,
) -> Result<Response, ApiError> {
    let coupon = request.coupon_id;
    if !is_plain(&coupon) {
        return Err(ApiError::field("/coupon_id", "must be 1 to 255 printable ASCII characters"));
    }
    change(&state, &admin, &headers, &request.subscription_id, Change::Coupon(coupon)).await
}

/// The new end of a trial.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ExtendTrial {
    /// `sub_…`
    pub subscription_id: String,
    /// In Unix seconds, within two years. Not a number of days to add, so that repeating
    /// the request does not add twice.
    pub trial_end: i64,
}

/// Extend a trial
#[utoipa::path(post, path = "/api/stripe/admin/extend-trial", tag = "admin",
    security(("token" = [])), request_body = ExtendTrial,
    responses((status = OK, body = SubscriptionChanged), UnknownAtStripe, StripeRefusals))]
async fn extend_trial(
    State(state): State<AppState>,
    Admin(admin): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ExtendTrial>,
) -> Result<Response, ApiError> {
    let end = operate::trial_end(request.trial_end, state.clock.now())?;
    change(&state, &admin, &headers, &request.subscription_id, end).await
}

async fn change(
    state: &AppState,
    admin: &Caller,
    headers: &HeaderMap,
    subscription: &str,
    change: Change,
) -> Result<Response, ApiError> {
    let subscription = stripe_id("/subscription_id", Some(subscription))?;
    let key = keys::of_request(headers, change.name(), &operate::actor(admin))?;
    let reply = operate::change(state, admin, subscription, &change, &key).await?;
    Ok(answer(reply, SubscriptionChanged::of))
}

/// The invoice.
#[derive(Debug, Deserialize, ToSchema)]
pub struct OfInvoice {
    /// `in_…`
    pub invoice_id: String,
}

/// Resend an invoice by mail
#[utoipa::path(post, path = "/api/stripe/admin/resend-invoice", tag = "admin",
    security(("token" = [])), request_body = OfInvoice,
    responses((status = OK, body = Resent), UnknownAtStripe, StripeRefusals))]
async fn resend_invoice(
    State(state): State<AppState>,
    Admin(admin): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<OfInvoice>,
) -> Result<Response, ApiError> {
    let invoice = stripe_id("/invoice_id", Some(&request.invoice_id))?;
    let key = keys::of_request(&headers, "resend_invoice", &operate::actor(&admin))?;
    let reply = operate::resend_invoice(&state, &admin, invoice, &key).await?;
    Ok(answer(reply, |invoice| Resent { success: true, invoice }))
}

/// The payment to refund.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RefundRequest {
    /// `pi_…` or `ch_…`
    pub payment_id: String,
    /// In the currency's smallest unit; the whole payment by default.
    pub amount: Option<i64>,
    /// The reason.
    pub reason: Option<Reason>,
}

/// Refund a payment
///
/// Another request for the same payment and amount within a day refunds nothing, and gets
/// the same response with `Idempotency-Replayed: true`. To refund the same amount again,
/// send a new Idempotency-Key.
#[utoipa::path(post, path = "/api/stripe/admin/refund", tag = "admin",
    security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "One for each refund")),
    request_body = RefundRequest,
    responses((status = OK, body = RefundDone), UnknownAtStripe, StripeRefusals))]
async fn refund(
    State(state): State<AppState>,
    Admin(admin): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<RefundRequest>,
) -> Result<Response, ApiError> {
    let RefundRequest { payment_id, amount, reason } = request;
    stripe_id("/payment_id", Some(&payment_id))?;
    if !(payment_id.starts_with("pi_") || payment_id.starts_with("ch_")) {
        return Err(ApiError::field("/payment_id", "must begin with pi_ or ch_"));
    }
    if amount.is_some_and(|amount| amount < 1) {
        return Err(ApiError::field("/amount", "must be at least 1"));
    }
    let key = keys::of_refund(&headers, &operate::actor(&admin), &payment_id, amount)?;
    let repayment = Repayment { payment: payment_id, amount, reason };
    let reply = operate::refund(&state, &admin, &repayment, &key).await?;
    Ok(answer(reply, RefundDone::of))
}

/// The customer.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CustomerQuery {
    /// `cus_…`
    customer_id: Option<String>,
}

/// Details of a customer
#[utoipa::path(get, path = "/api/stripe/admin/customer-details", tag = "admin",
    security(("token" = [])), params(CustomerQuery),
    responses((status = OK, body = CustomerDetails), UnknownAtStripe, StripeRefusals))]
async fn customer_details(
    State(state): State<AppState>,
    admin: Admin,
    Query(query): Query<CustomerQuery>,
) -> Result<Json<CustomerDetails>, ApiError> {
    let id = stripe_id("?customer_id", query.customer_id.as_deref())?;
    let request = RetrieveCustomer::new(id).build();
    let customer: Customer = state.stripe.read(request).await.map_err(for_operator)?;
    let invoices = checkout::invoices(&state, &admin.0, id).await?;
    let client = state.db.get().await?;
    let filter = SubscriberFilter {
        customer: Some(id.to_owned()),
        limit: MAX_PAGE,
        ..SubscriberFilter::default()
    };
    let found = payers::subscribers(&client, &filter).await?;
    let subscriptions = found.subscribers.into_iter().map(SubscriberView::from).collect();
    Ok(Json(CustomerDetails { success: true, customer, subscriptions, invoices }))
}

/// The subscribers to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SubscribersQuery {
    /// Only subscriptions in this state: active, trialing, past_due …
    status: Option<String>,
    /// Only of this price.
    price_id: Option<String>,
    /// Only users whose e-mail address starts with this.
    email: Option<String>,
    /// The highest number, up to 100.
    limit: Option<i64>,
    /// Where the previous page ended.
    cursor: Option<String>,
}

/// Subscriptions and their users
#[utoipa::path(get, path = "/api/stripe/admin/subscribers", tag = "admin",
    security(("token" = [])), params(SubscribersQuery),
    responses((status = OK, body = SubscriberPage)))]
async fn subscribers(
    State(state): State<AppState>,
    _: Admin,
    Query(query): Query<SubscribersQuery>,
) -> Result<Json<SubscriberPage>, ApiError> {
    let status = query.status.as_deref().map(str::parse).transpose();
    let status = status.map_err(|error| ApiError::field("?status", format!("{error}")))?;
    let limit = query.limit.unwrap_or(MAX_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::field("?limit", format!("must be between 1 and {MAX_PAGE}")));
    }
    for (pointer, id) in [("?cursor", &query.cursor), ("?price_id", &query.price_id)] {
        if id.is_some() {
            stripe_id(pointer, id.as_deref())?;
        }
    }
    if query.email.as_deref().is_some_and(|email| !is_plain(email)) {
        return Err(ApiError::field(
            "?email",
            "must be the beginning of an address, without spaces",
        ));
    }
    let filter = SubscriberFilter {
        status,
        price: query.price_id,
        customer: None,
        email: query.email,
        after: query.cursor,
        // One more than a page shows whether there is a next one.
        limit: limit + 1,
    };
    let client = state.db.get().await?;
    Ok(Json(SubscriberPage::of(payers::subscribers(&client, &filter).await?, limit)))
}

/// Revenue over all subscriptions
#[utoipa::path(get, path = "/api/stripe/admin/metrics", tag = "admin",
    security(("token" = [])),
    responses((status = OK, body = MetricsView), StripeRefusals))]
async fn metrics(State(state): State<AppState>, _: Admin) -> Result<Json<MetricsView>, ApiError> {
    let (metrics, standing) = revenue::metrics(&state).await?;
    Ok(Json(MetricsView::of(&metrics, &standing, WINDOW_DAYS)))
}

fn answer<T, V: Serialize>(reply: Reply<T>, view: impl FnOnce(T) -> V) -> Response {
    let mut response = Json(view(reply.value)).into_response();
    if reply.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
