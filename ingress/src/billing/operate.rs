//! What operators change in other people's subscriptions, invoices and
//! payments. Each change is recorded before Stripe is called and completed
//! after it, so that none is without a trace.

use regimen_common::db::admin_actions::{self, Action};
use serde_json::{Value, json};
use stripe_billing::invoice::SendInvoiceInvoice;
use stripe_billing::subscription::{
    DiscountsDataParam, RetrieveSubscription, UpdateSubscription, UpdateSubscriptionItems,
    UpdateSubscriptionProrationBehavior, UpdateSubscriptionTrialEnd,
};
use stripe_client_core::{IdempotencyKey, StripeRequest};
use stripe_core::refund::{CreateRefund, CreateRefundReason};

use crate::auth::Admin;
use crate::error::ApiError;
use crate::state::AppState;
use crate::stripe_api::replies::{Invoice, Refund, Subscription};
use crate::stripe_api::{CallError, Reply};

/// A change to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Let the subscription end with what is paid.
    CancelAtPeriodEnd,
    /// Pay another price from now on; what is paid is set off.
    Price(String),
    /// Take off what the coupon says, in place of other discounts.
    Coupon(String),
    /// Let the trial end then, in Unix seconds.
    TrialEnd(i64),
}

impl Change {
    /// What the record calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CancelAtPeriodEnd => "cancel_subscription",
            Self::Price(_) => "change_plan",
            Self::Coupon(_) => "apply_coupon",
            Self::TrialEnd(_) => "extend_trial",
        }
    }

    fn detail(&self) -> Value {
        match self {
            Self::CancelAtPeriodEnd => json!({}),
            Self::Price(price) => json!({ "price_id": price }),
            Self::Coupon(coupon) => json!({ "coupon_id": coupon }),
            Self::TrialEnd(at) => json!({ "trial_end": at }),
        }
    }
}

/// What of a payment to give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repayment {
    /// `pi_…` or `ch_…`
    pub payment: String,
    /// In the currency's smallest unit; everything unless given.
    pub amount: Option<i64>,
    /// One of Stripe's reasons.
    pub reason: Option<Reason>,
}

/// Why a payment is given back, in Stripe's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Paid twice.
    Duplicate,
    /// Not paid by whose card it is.
    Fraudulent,
    /// They asked for it.
    RequestedByCustomer,
}

/// Who an operator is, for the record.
pub fn actor(admin: &Admin) -> String {
    match (admin.0.role, admin.0.user_id) {
        (crate::auth::Role::Service, _) | (_, None) => "service".to_owned(),
        (_, Some(user)) => user.to_string(),
    }
}

/// Changes a subscription.
///
/// # Errors
/// 404 and 422 when Stripe does not know it or refuses; 409 when it has several
/// items; 502 and 503 by Stripe.
pub async fn change(
    state: &AppState,
    admin: &Admin,
    subscription: &str,
    change: &Change,
    key: &IdempotencyKey,
) -> Result<Reply<Subscription>, ApiError> {
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
    };
    let (name, detail) = (change.name(), change.detail());
    let call = state.stripe.write(update.build(), key);
    recorded(state, admin, name, subscription, &detail, call).await
}

/// The item of a subscription that has one, with another price.
async fn only_item(
    state: &AppState,
    subscription: &str,
    price: &str,
) -> Result<UpdateSubscriptionItems, ApiError> {
    let request = RetrieveSubscription::new(subscription).build();
    let found: Subscription = state.stripe.read(request).await.map_err(CallError::for_operator)?;
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

/// Has Stripe mail an invoice again.
///
/// # Errors
/// As [`change`].
pub async fn resend_invoice(
    state: &AppState,
    admin: &Admin,
    invoice: &str,
    key: &IdempotencyKey,
) -> Result<Reply<Invoice>, ApiError> {
    let request = SendInvoiceInvoice::new(invoice).build();
    let call = state.stripe.write(request, key);
    recorded(state, admin, "resend_invoice", invoice, &json!({}), call).await
}

/// Gives a payment back.
///
/// # Errors
/// As [`change`].
pub async fn refund(
    state: &AppState,
    admin: &Admin,
    repayment: &Repayment,
    key: &IdempotencyKey,
) -> Result<Reply<Refund>, ApiError> {
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
    recorded(state, admin, "refund", payment, &detail, call).await
}

/// Makes a call between the two halves of its record.
async fn recorded<T>(
    state: &AppState,
    admin: &Admin,
    name: &str,
    target: &str,
    detail: &Value,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, ApiError> {
    let actor = actor(admin);
    let client = state.db.get().await?;
    let action = Action { actor: &actor, name, target, detail };
    let record = admin_actions::begin(&client, &action, None).await?;
    drop(client);
    let called = call.await;
    let outcome = called.as_ref().err().map_or("done", CallError::label);
    tracing::info!(actor, action = name, target, outcome, "an operator acted");
    let ended = async {
        let client = state.db.get().await?;
        admin_actions::end(&client, record, outcome).await
    };
    if let Err(error) = ended.await {
        // The change itself stands; without an outcome the record says that it may.
        tracing::warn!(record, %error, "could not complete the record of an operator's action");
    }
    called.map_err(CallError::for_operator)
}
