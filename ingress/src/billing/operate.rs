//! Operators' changes to subscriptions, invoices and payments, and users'
//! changes to their own. Each change is recorded before Stripe is called and
//! completed after it, so that every change leaves a record.

use chrono::{DateTime, Utc};
use regimen_common::db::admin_actions::{self, Action};
use regimen_common::stripe::{Reply, StripeError};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stripe_billing::invoice::SendInvoiceInvoice;
use stripe_billing::subscription::{
    DiscountsDataParam, RetrieveSubscription, UpdateSubscription, UpdateSubscriptionItems,
    UpdateSubscriptionProrationBehavior, UpdateSubscriptionTrialEnd,
};
use stripe_client_core::{IdempotencyKey, RequestBuilder, StripeMethod, StripeRequest};
use stripe_core::refund::{CreateRefund, CreateRefundReason};
use tokio::try_join;

/// The latest end of a trial: Stripe accepts two years at most.
const LONGEST_TRIAL: i64 = 730 * 86_400;

use crate::auth::{Caller, Role};
use crate::error::ApiError;
use crate::state::AppState;
use crate::stripe_api::for_operator;
use crate::stripe_api::replies::{List, Subscription};

/// A change of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// End the subscription with its paid period.
    CancelAtPeriodEnd,
    /// Change the price from now on, with proration.
    Price(String),
    /// Apply a coupon instead of other discounts.
    Coupon(String),
    /// End the trial at this time, in Unix seconds.
    TrialEnd(i64),
    /// Charge this payment method from now on.
    PaymentMethod(String),
}

/// The end of a trial, in Unix seconds.
///
/// # Errors
/// 422 at `/trial_end` when it is not in the future or later than Stripe accepts.
pub fn trial_end(at: i64, now: DateTime<Utc>) -> Result<Change, ApiError> {
    let now = now.timestamp();
    if (now + 1..=now + LONGEST_TRIAL).contains(&at) {
        return Ok(Change::TrialEnd(at));
    }
    Err(ApiError::field("/trial_end", "must be in Unix seconds, in the future, within two years"))
}

impl Change {
    /// Its name in the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CancelAtPeriodEnd => "cancel_subscription",
            Self::Price(_) => "change_plan",
            Self::Coupon(_) => "apply_coupon",
            Self::TrialEnd(_) => "extend_trial",
            Self::PaymentMethod(_) => "update_payment_method",
        }
    }

    fn detail(&self) -> Value {
        match self {
            Self::CancelAtPeriodEnd => json!({}),
            Self::Price(price) => json!({ "price_id": price }),
            Self::Coupon(coupon) => json!({ "coupon_id": coupon }),
            Self::TrialEnd(at) => json!({ "trial_end": at }),
            Self::PaymentMethod(method) => json!({ "payment_method_id": method }),
        }
    }
}

/// The part of a payment to refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repayment {
    /// `pi_…` or `ch_…`
    pub payment: String,
    /// In the currency's smallest unit; the whole payment by default.
    pub amount: Option<i64>,
    /// One of Stripe's reasons.
    pub reason: Option<Reason>,
}

/// The reason of a refund, as Stripe names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Paid twice.
    Duplicate,
    /// Not paid by the card's owner.
    Fraudulent,
    /// Requested by the customer.
    RequestedByCustomer,
}

/// The actor, for the audit log.
pub fn actor(caller: &Caller) -> String {
    match (caller.role, caller.user_id) {
        (Role::Service, _) | (_, None) => "service".to_owned(),
        (_, Some(user)) => user.to_string(),
    }
}

/// Changes a subscription.
///
/// # Errors
/// 404 and 422 when Stripe does not know or refuses it; 409 when it has several items;
/// 502 and 503 by Stripe.
pub async fn change<T: DeserializeOwned>(
    state: &AppState,
    caller: &Caller,
    subscription: &str,
    change: &Change,
    key: &IdempotencyKey,
) -> Result<Reply<T>, ApiError> {
    let update = UpdateSubscription::new(subscription);
    let update = match change {
        Change::CancelAtPeriodEnd => update.cancel_at_period_end(true),
        Change::Price(price) => update
            .items(vec![only_item(state, subscription, price).await?])
            .proration_behavior(UpdateSubscriptionProrationBehavior::CreateProrations),
        Change::Coupon(coupon) => {
            let mut discount = DiscountsDataParam::new();
            discount.coupon = Some(coupon.clone());
            update.discounts(vec![discount])
        }
        Change::TrialEnd(at) => update
            .trial_end(UpdateSubscriptionTrialEnd::Timestamp(*at))
            .proration_behavior(UpdateSubscriptionProrationBehavior::None),
        Change::PaymentMethod(method) => update.default_payment_method(method.as_str()),
    };
    let (name, detail) = (change.name(), change.detail());
    let call = state.stripe.write(update.build(), key);
    recorded(state, caller, name, subscription, &detail, call).await
}

/// The only item of a subscription, with another price.
async fn only_item(
    state: &AppState,
    subscription: &str,
    price: &str,
) -> Result<UpdateSubscriptionItems, ApiError> {
    let request = RetrieveSubscription::new(subscription).build();
    let found: Subscription = state.stripe.read(request).await.map_err(for_operator)?;
    let items = found.items.map(|items| items.data).unwrap_or_default();
    let [item] = items.as_slice() else {
        return Err(ApiError::Conflict(format!(
            "subscription {subscription} has {} items; change it in Stripe's dashboard",
            items.len()
        )));
    };
    let mut changed = UpdateSubscriptionItems::new();
    changed.id = Some(item.id.clone());
    changed.price = Some(price.to_owned());
    Ok(changed)
}

/// Asks Stripe to mail an invoice again.
///
/// # Errors
/// As [`change`].
pub async fn resend_invoice<T: DeserializeOwned>(
    state: &AppState,
    caller: &Caller,
    invoice: &str,
    key: &IdempotencyKey,
) -> Result<Reply<T>, ApiError> {
    let request = SendInvoiceInvoice::new(invoice).build();
    let call = state.stripe.write(request, key);
    recorded(state, caller, "resend_invoice", invoice, &json!({}), call).await
}

/// Refunds a payment.
///
/// # Errors
/// As [`change`].
pub async fn refund<T: DeserializeOwned>(
    state: &AppState,
    caller: &Caller,
    repayment: &Repayment,
    key: &IdempotencyKey,
) -> Result<Reply<T>, ApiError> {
    let payment = repayment.payment.as_str();
    let mut refund = if payment.starts_with("pi_") {
        CreateRefund::new().payment_intent(payment)
    } else {
        CreateRefund::new().charge(payment)
    };
    if let Some(amount) = repayment.amount {
        refund = refund.amount(amount);
    }
    refund = match repayment.reason {
        None => refund,
        Some(Reason::Duplicate) => refund.reason(CreateRefundReason::Duplicate),
        Some(Reason::Fraudulent) => refund.reason(CreateRefundReason::Fraudulent),
        Some(Reason::RequestedByCustomer) => refund.reason(CreateRefundReason::RequestedByCustomer),
    };
    let detail = json!({ "amount": repayment.amount });
    let call = state.stripe.write(refund.build(), key);
    recorded(state, caller, "refund", payment, &detail, call).await
}

/// The invoice of an id: its own, or the latest of a subscription or customer.
///
/// # Errors
/// 422 for another kind of id; 502 and 503 by Stripe.
pub async fn invoice(state: &AppState, of: &str) -> Result<Option<Value>, ApiError> {
    let request = match of.split('_').next() {
        Some("in") => RequestBuilder::new(StripeMethod::Get, format!("/invoices/{of}")),
        Some("sub") => list("/invoices", &format!("subscription={of}&limit=1")),
        Some("cus") => list("/invoices", &format!("customer={of}&limit=1")),
        _ => {
            return Err(ApiError::field("/invoice_id", "must begin with in_, sub_ or cus_"));
        }
    };
    let found = match state.stripe.read::<Value>(request).await {
        Ok(found) => found,
        Err(StripeError::Missing(_)) => return Ok(None),
        Err(error) => return Err(for_operator(error)),
    };
    Ok(if found["object"] == "list" { found["data"].get(0).cloned() } else { Some(found) })
}

/// A customer with subscriptions and invoices as Stripe has them, and their payment
/// methods.
///
/// # Errors
/// 404 for an unknown one; 502 and 503 by Stripe.
pub async fn customer(state: &AppState, id: &str) -> Result<(Value, Vec<Value>), ApiError> {
    let customer = list(&format!("/customers/{id}"), "expand[]=subscriptions");
    let invoices = list("/invoices", &format!("customer={id}&limit=100"));
    let methods = list(&format!("/customers/{id}/payment_methods"), "limit=100");
    let (mut customer, invoices, methods) = try_join!(
        state.stripe.read::<Value>(customer),
        state.stripe.read::<Value>(invoices),
        state.stripe.read::<List<Value>>(methods),
    )
    .map_err(for_operator)?;
    customer["invoices"] = invoices;
    Ok((customer, methods.data))
}

fn list(path: &str, query: &str) -> RequestBuilder {
    let mut request = RequestBuilder::new(StripeMethod::Get, path);
    request.query = Some(query.to_owned());
    request
}

/// Records a call before and after it is made.
async fn recorded<T>(
    state: &AppState,
    caller: &Caller,
    name: &str,
    target: &str,
    detail: &Value,
    call: impl Future<Output = Result<T, StripeError>>,
) -> Result<T, ApiError> {
    let actor = actor(caller);
    let client = state.db.get().await?;
    let action = Action { actor: &actor, name, target, detail };
    let record = admin_actions::begin(&client, &action, None).await?;
    drop(client);
    let called = call.await;
    let outcome = called.as_ref().err().map_or("done", StripeError::label);
    tracing::info!(actor, action = name, target, outcome, "an operator acted");
    let ended = async {
        let client = state.db.get().await?;
        admin_actions::end(&client, record, outcome).await
    };
    if let Err(error) = ended.await {
        // The change was made; a record without an outcome says that it may have been.
        tracing::warn!(record, %error, "could not complete the record of an operator's action");
    }
    called.map_err(for_operator)
}
