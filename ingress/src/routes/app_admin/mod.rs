//! The replaced service's operator and customer calls, under its own paths and
//! with its fields, units and filters. Operators may call all of them, a user
//! those about their own subscription and customer. The actions are in
//! `billing`.
//!
//! An error of Stripe is `{"success": false, "error": …}` with status 200,
//! which the app expects; all other errors are problem documents.

pub mod views;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use regimen_common::db::accounts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::views::{SubscriberList, period_end_on_top};
use crate::auth::{Admin, Caller};
use crate::billing::dashboard::{SaasMetrics, Users};
use crate::billing::operate::{self, Change, Repayment};
use crate::billing::{checkout, keys, stripe_id};
use crate::error::ApiError;
use crate::extract::{Json as JsonBody, Name, Query, is_plain};
use crate::limits::{Action, limited};
use crate::openapi::{StripeRefusals, UnknownAtStripe};
use crate::state::AppState;

/// The routes.
pub fn router(state: &AppState) -> OpenApiRouter<AppState> {
    let own = OpenApiRouter::new()
        .routes(routes!(cancel_subscription))
        .routes(routes!(update_payment_method))
        .routes(routes!(customer));
    limited(state, Action::Billing, own)
        .routes(routes!(saas_metrics))
        .routes(routes!(subscribers))
        .routes(routes!(change_plan))
        .routes(routes!(apply_coupon))
        .routes(routes!(extend_trial))
        .routes(routes!(refund))
        .routes(routes!(resend_invoice))
}

/// The numbers of the operators' dashboard
///
/// From all of Stripe's subscriptions and paid invoices, at most a minute old. Money in
/// units of the currency, rates in percent, months in UTC.
#[utoipa::path(get, path = "/api/admin/saas-metrics", tag = "admin", security(("token" = [])),
    responses((status = OK, body = SaasMetrics), StripeRefusals))]
async fn saas_metrics(
    State(state): State<AppState>,
    _: Admin,
) -> Result<Json<SaasMetrics>, ApiError> {
    let account = state.account.account().await?;
    let now = state.clock.now();
    let client = state.db.get().await?;
    let (all, new) = accounts::count(&client, now - TimeDelta::days(30)).await?;
    Ok(Json(SaasMetrics::of(&account, Users { all, new }, now)))
}

/// The subscribers to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only subscriptions in this state, as Stripe names it; `all` by default.
    status: Option<String>,
    /// Only of this price or product.
    plan_id: Option<String>,
    /// Only created at or after this time, in Unix seconds.
    created_after: Option<i64>,
    /// Only created at or before this time, in Unix seconds.
    created_before: Option<i64>,
}

/// All subscribers
///
/// All of Stripe's subscriptions that match the filters, at most a minute old.
#[utoipa::path(get, path = "/api/admin/subscribers", tag = "admin", security(("token" = [])),
    params(Filter), responses((status = OK, body = SubscriberList), StripeRefusals))]
async fn subscribers(
    State(state): State<AppState>,
    _: Admin,
    Query(filter): Query<Filter>,
) -> Result<Json<SubscriberList>, ApiError> {
    let account = state.account.account().await?;
    Ok(Json(SubscriberList::of(&account, &filter)))
}

/// A subscription to cancel at its period's end.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Cancellation {
    /// `sub_…`
    pub subscription_id: String,
    /// Its user; operators may name any user.
    pub user_id: Option<Uuid>,
}

/// A change, or why Stripe refused it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcome {
    /// Whether it was made.
    pub success: bool,
    /// The subscription after it, as Stripe has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<Value>,
    /// The refund, as Stripe has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund: Option<Value>,
    /// Why Stripe refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Cancel a subscription at the end of its period
#[utoipa::path(post, path = "/api/admin/stripe/cancel-subscription", tag = "legacy",
    security(("token" = [])), request_body = Cancellation,
    responses((status = OK, body = Outcome), UnknownAtStripe, StripeRefusals))]
async fn cancel_subscription(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<Cancellation>,
) -> Result<Response, ApiError> {
    let caller = state.admins.look_up(caller).await?;
    if !caller.is_admin() {
        caller.acting_for(request.user_id)?;
    }
    own_change(&state, &caller, &headers, &request.subscription_id, Change::CancelAtPeriodEnd).await
}

/// The new payment method of a subscription.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PaymentMethod {
    /// `sub_…`
    pub subscription_id: String,
    /// `pm_…`
    pub payment_method_id: String,
}

/// Change the card of a subscription
#[utoipa::path(post, path = "/api/admin/stripe/update-payment-method", tag = "legacy",
    security(("token" = [])), request_body = PaymentMethod,
    responses((status = OK, body = Outcome), UnknownAtStripe, StripeRefusals))]
async fn update_payment_method(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<PaymentMethod>,
) -> Result<Response, ApiError> {
    let caller = state.admins.look_up(caller).await?;
    let method = stripe_id("/payment_method_id", Some(&request.payment_method_id))?.to_owned();
    let change = Change::PaymentMethod(method);
    own_change(&state, &caller, &headers, &request.subscription_id, change).await
}

/// A change that users may make to their own subscription, and operators to any.
async fn own_change(
    state: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
    subscription: &str,
    change: Change,
) -> Result<Response, ApiError> {
    let subscription = stripe_id("/subscription_id", Some(subscription))?;
    if !caller.is_admin() && !checkout::owns_subscription(state, caller, subscription).await? {
        return Err(ApiError::NotFound(
            "subscription_id is not a subscription of yours".to_owned(),
        ));
    }
    changed(state, caller, headers, subscription, change).await
}

async fn changed(
    state: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
    subscription: &str,
    change: Change,
) -> Result<Response, ApiError> {
    let subscription = stripe_id("/subscription_id", Some(subscription))?;
    let key = keys::of_request(headers, change.name(), &operate::actor(caller))?;
    let made = operate::change::<Value>(state, caller, subscription, &change, &key).await;
    state.account.forget().await;
    told(made.map(|reply| json!({"success": true, "subscription": period_end_on_top(reply.value)})))
}

/// An error of Stripe is returned with status 200, which the app expects.
fn told(made: Result<Value, ApiError>) -> Result<Response, ApiError> {
    match made {
        Ok(body) => Ok(Json(body).into_response()),
        Err(
            refusal @ (ApiError::NotFound(_) | ApiError::StripeRejected(_) | ApiError::Conflict(_)),
        ) => Ok(Json(json!({"success": false, "error": refusal.to_string()})).into_response()),
        Err(error) => Err(error),
    }
}

/// The new price of a subscription.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PlanChange {
    /// `sub_…`
    pub subscription_id: String,
    /// `price_…`
    pub new_price_id: String,
}

/// Change the price of a subscription
#[utoipa::path(post, path = "/api/admin/stripe/change-plan", tag = "admin",
    security(("token" = [])), request_body = PlanChange,
    responses((status = OK, body = Outcome), StripeRefusals))]
async fn change_plan(
    State(state): State<AppState>,
    Admin(caller): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<PlanChange>,
) -> Result<Response, ApiError> {
    let price = stripe_id("/new_price_id", Some(&request.new_price_id))?.to_owned();
    changed(&state, &caller, &headers, &request.subscription_id, Change::Price(price)).await
}

/// The coupon for a subscription.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Coupon {
    /// `sub_…`
    pub subscription_id: String,
    /// Its id in Stripe.
    pub coupon_id: String,
}

/// Apply a coupon to a subscription
#[utoipa::path(post, path = "/api/admin/stripe/apply-coupon", tag = "admin",
    security(("token" = [])), request_body = Coupon,
    responses((status = OK, body = Outcome), StripeRefusals))]
async fn apply_coupon(
    State(state): State<AppState>,
    Admin(caller): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<Coupon>,
) -> Result<Response, ApiError> {
    if !is_plain(&request.coupon_id) {
        return Err(ApiError::field("/coupon_id", "must be 1 to 255 printable ASCII characters"));
    }
    let change = Change::Coupon(request.coupon_id);
    changed(&state, &caller, &headers, &request.subscription_id, change).await
}

/// The new end of a trial.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TrialEnd {
    /// `sub_…`
    pub subscription_id: String,
    /// In Unix seconds, in the future, within two years.
    pub trial_end: i64,
}

/// Extend a trial
#[utoipa::path(post, path = "/api/admin/stripe/extend-trial", tag = "admin",
    security(("token" = [])), request_body = TrialEnd,
    responses((status = OK, body = Outcome), StripeRefusals))]
async fn extend_trial(
    State(state): State<AppState>,
    Admin(caller): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<TrialEnd>,
) -> Result<Response, ApiError> {
    let end = operate::trial_end(request.trial_end, state.clock.now())?;
    changed(&state, &caller, &headers, &request.subscription_id, end).await
}

/// The payment to refund.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RefundOf {
    /// `pi_…`
    pub payment_intent_id: String,
    /// In the currency's smallest unit; the whole payment by default.
    pub amount: Option<i64>,
}

/// Refund a payment
///
/// Without an Idempotency-Key, the same amount of the same payment is refunded once a
/// day.
#[utoipa::path(post, path = "/api/admin/stripe/refund", tag = "admin",
    security(("token" = [])), request_body = RefundOf,
    responses((status = OK, body = Outcome), StripeRefusals))]
async fn refund(
    State(state): State<AppState>,
    Admin(caller): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<RefundOf>,
) -> Result<Response, ApiError> {
    let RefundOf { payment_intent_id: payment, amount } = request;
    stripe_id("/payment_intent_id", Some(&payment))?;
    if !payment.starts_with("pi_") {
        return Err(ApiError::field("/payment_intent_id", "must begin with pi_"));
    }
    if amount.is_some_and(|amount| amount < 1) {
        return Err(ApiError::field("/amount", "must be at least 1"));
    }
    let key = keys::of_refund(&headers, &operate::actor(&caller), &payment, amount)?;
    let repayment = Repayment { payment, amount, reason: None };
    let made = operate::refund::<Value>(&state, &caller, &repayment, &key).await;
    state.account.forget().await;
    told(made.map(|reply| json!({"success": true, "refund": reply.value})))
}

/// The invoice.
#[derive(Debug, Deserialize, ToSchema)]
pub struct WhichInvoice {
    /// `in_…`; or `sub_…` or `cus_…` for the latest invoice of a subscription or customer.
    pub invoice_id: String,
}

/// The result of resending an invoice.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sent {
    /// Whether there is an invoice to show to the customer.
    pub success: bool,
    /// `manual_invoice`: Stripe mailed it. `auto_charge`: Stripe charges it automatically
    /// and mails no invoice; its page can be shared.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The reason if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// For people.
    pub note: String,
    /// The invoice, as Stripe has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Value>,
    /// Its page at Stripe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice_url: Option<String>,
}

/// Resend an invoice
#[utoipa::path(post, path = "/api/admin/stripe/resend-invoice", tag = "admin",
    security(("token" = [])), request_body = WhichInvoice,
    responses((status = OK, body = Sent), StripeRefusals))]
async fn resend_invoice(
    State(state): State<AppState>,
    Admin(caller): Admin,
    headers: HeaderMap,
    JsonBody(request): JsonBody<WhichInvoice>,
) -> Result<Json<Sent>, ApiError> {
    let of = stripe_id("/invoice_id", Some(&request.invoice_id))?;
    let not_sent = |reason, note: String| Sent {
        success: false,
        kind: None,
        reason: Some(reason),
        note,
        invoice: None,
        invoice_url: None,
    };
    let Some(invoice) = operate::invoice(&state, of).await? else {
        let note = format!("Stripe has no invoice for {of}.");
        return Ok(Json(not_sent("no_invoice", note)));
    };
    let url = invoice["hosted_invoice_url"].as_str().map(str::to_owned);
    if invoice["collection_method"] != "send_invoice" {
        let note = "This invoice is charged automatically, so Stripe mails none. Share its page.";
        return Ok(Json(Sent {
            success: true,
            kind: Some("auto_charge"),
            reason: None,
            note: note.to_owned(),
            invoice: Some(invoice),
            invoice_url: url,
        }));
    }
    let id = stripe_id("/invoice_id", invoice["id"].as_str())?;
    let key = keys::of_request(&headers, "resend_invoice", &operate::actor(&caller))?;
    Ok(Json(match operate::resend_invoice::<Value>(&state, &caller, id, &key).await {
        Ok(reply) => Sent {
            success: true,
            kind: Some("manual_invoice"),
            reason: None,
            note: "Stripe has mailed the invoice.".to_owned(),
            invoice_url: reply.value["hosted_invoice_url"].as_str().map(str::to_owned),
            invoice: Some(reply.value),
        },
        Err(refusal @ (ApiError::StripeRejected(_) | ApiError::NotFound(_))) => {
            not_sent("refused", refusal.to_string())
        }
        Err(error) => return Err(error),
    }))
}

/// A customer, with subscriptions, invoices and payment methods.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerAnswer {
    /// Always true.
    pub success: bool,
    /// As Stripe has them, with `subscriptions` and `invoices`.
    pub customer: Value,
    /// Cards and the like, as Stripe has them.
    pub payment_methods: Vec<Value>,
}

/// A customer: your own, or any for operators
#[utoipa::path(get, path = "/api/admin/stripe/customer/{customer_id}", tag = "legacy",
    security(("token" = [])), params(("customer_id" = String, Path, description = "`cus_…`")),
    responses((status = OK, body = CustomerAnswer), StripeRefusals))]
async fn customer(
    State(state): State<AppState>,
    caller: Caller,
    Name(id): Name,
) -> Result<Json<CustomerAnswer>, ApiError> {
    let caller = state.admins.look_up(caller).await?;
    let id = stripe_id("/customer_id", Some(&id))?;
    checkout::may_see_customer(&state, &caller, id).await?;
    let (customer, payment_methods) = operate::customer(&state, id).await?;
    Ok(Json(CustomerAnswer {
        success: true,
        customer: period_end_on_top(customer),
        payment_methods,
    }))
}
