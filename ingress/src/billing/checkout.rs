//! Buying a subscription and managing it, each user for themselves.
//!
//! Whose customer it is decides who sees invoices and cards. What checkouts
//! and Stripe's metadata say is believed. The customer id in a profile is not:
//! in some databases users can write it. Such a customer is believed only when
//! Stripe knows it under the address of the caller's token.

use std::collections::HashMap;

use regimen_common::db::accounts;
use regimen_common::db::billing::payers::{self, Payer};
use stripe::{IdempotencyKey, StripeRequest};
use stripe_billing::billing_portal_session::CreateBillingPortalSession;
use stripe_billing::invoice::ListInvoice;
use stripe_checkout::CheckoutSessionMode;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionSubscriptionData,
};
use stripe_core::customer::RetrieveCustomer;
use uuid::Uuid;

use super::replies::{Customer, Invoice, List, Session};
use super::{CallError, return_url};
use crate::auth::Caller;
use crate::error::{ApiError, FieldError};
use crate::state::AppState;

/// The metadata key that carries our user's id.
const USER_ID: &str = regimen_common::billing::object::USER_ID;
/// Invoices shown at most.
const INVOICES: i64 = 100;

/// What somebody wants to buy.
#[derive(Debug, Default)]
pub struct Wish {
    /// One of the names in `STRIPE_PRICES`; the first unless given.
    pub plan: Option<String>,
    /// Where to go after paying.
    pub success_url: Option<String>,
    /// Where to go without paying.
    pub cancel_url: Option<String>,
}

/// The address of a checkout session for `user`.
///
/// # Errors
/// 409 for who has a subscription; 422 for what is not offered or leads
/// elsewhere; 500 without settings; 502 and 503 by Stripe.
pub async fn checkout(
    state: &AppState,
    caller: &Caller,
    user: Uuid,
    wish: &Wish,
    key: &IdempotencyKey,
) -> Result<String, ApiError> {
    let price = price(state, wish.plan.as_deref())?;
    let [success_url, cancel_url] = return_urls(
        state,
        [("success_url", wish.success_url.as_deref()), ("cancel_url", wish.cancel_url.as_deref())],
    )?;
    let client = state.db.get().await?;
    accounts::ensure_profile(&client, user, caller.email.as_deref()).await?;
    let payer = payers::payer(&client, user).await?.unwrap_or_default();
    drop(client);
    if payer.subscribed {
        return Err(ApiError::Conflict(
            "you have a subscription; change or end it through /v1/billing/portal".to_owned(),
        ));
    }
    let mut item = CreateCheckoutSessionLineItems::new();
    item.price = Some(price);
    item.quantity = Some(1);
    let metadata = HashMap::from([(USER_ID.to_owned(), user.to_string())]);
    let mut subscription = CreateCheckoutSessionSubscriptionData::new();
    subscription.metadata = Some(metadata.clone());
    let mut session = CreateCheckoutSession::new()
        .mode(CheckoutSessionMode::Subscription)
        .line_items(vec![item])
        .success_url(success_url)
        .cancel_url(cancel_url)
        .client_reference_id(user.to_string())
        .metadata(metadata)
        .subscription_data(subscription);
    let email = caller.email.as_deref().unwrap_or(&payer.email);
    session = match own_customer(state, caller, user, &payer).await? {
        Some(customer) => session.customer(customer),
        None if email.is_empty() => session,
        None => session.customer_email(email),
    };
    let session = state.stripe.write::<Session>(session.build(), key).await;
    session.map_err(of_own_customer)?.value.url.ok_or(CallError::Unreadable.into())
}

/// The address of a portal session for `user`.
///
/// # Errors
/// 409 for who never bought anything; 422 for what leads elsewhere; 502 and 503 by Stripe.
pub async fn portal(
    state: &AppState,
    caller: &Caller,
    user: Uuid,
    wanted: Option<&str>,
    key: &IdempotencyKey,
) -> Result<String, ApiError> {
    let [return_url] = return_urls(state, [("return_url", wanted)])?;
    let client = state.db.get().await?;
    let payer = payers::payer(&client, user).await?.unwrap_or_default();
    drop(client);
    let Some(customer) = own_customer(state, caller, user, &payer).await? else {
        return Err(ApiError::Conflict(
            "there is nothing to manage yet; buy a plan through /v1/billing/checkout".to_owned(),
        ));
    };
    let session = CreateBillingPortalSession::new().customer(customer).return_url(return_url);
    let session = state.stripe.write::<Session>(session.build(), key).await;
    session.map_err(of_own_customer)?.value.url.ok_or(CallError::Unreadable.into())
}

/// The invoices of `customer`, newest first: the caller's own, or anybody's
/// for operators.
///
/// # Errors
/// 404 for a customer that is not the caller's; 502 and 503 by Stripe.
pub async fn invoices(
    state: &AppState,
    caller: &Caller,
    customer: &str,
) -> Result<Vec<Invoice>, ApiError> {
    if !caller.is_admin() {
        let user = caller.acting_for(None)?;
        let client = state.db.get().await?;
        let payer = payers::payer(&client, user).await?.unwrap_or_default();
        drop(client);
        let likely = payer.customer.as_deref().or(payer.named.as_deref()) == Some(customer);
        if !likely || own_customer(state, caller, user, &payer).await?.is_none() {
            return Err(no_such_customer());
        }
    }
    let request = ListInvoice::new().customer(customer).limit(INVOICES);
    match state.stripe.read::<List<Invoice>>(request.build()).await {
        Ok(list) => Ok(list.data),
        Err(CallError::Missing(_)) => Err(no_such_customer()),
        Err(error) => Err(error.into()),
    }
}

fn no_such_customer() -> ApiError {
    ApiError::NotFound("customer_id is not a customer of yours".to_owned())
}

/// The user's customer, if it is proven to be theirs.
async fn own_customer(
    state: &AppState,
    caller: &Caller,
    user: Uuid,
    payer: &Payer,
) -> Result<Option<String>, ApiError> {
    let named = match (&payer.customer, &payer.named) {
        (Some(own), _) => return Ok(Some(own.clone())),
        (None, None) => return Ok(None),
        (None, Some(named)) if !super::is_stripe_id(named) => return Ok(None),
        (None, Some(named)) => named,
    };
    let request = RetrieveCustomer::new(named.as_str()).build();
    let customer = match state.stripe.read::<Customer>(request).await {
        Ok(customer) => customer,
        Err(CallError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let same_address = match (&caller.email, &customer.email) {
        (Some(own), Some(theirs)) => own.eq_ignore_ascii_case(theirs),
        _ => false,
    };
    let names_user = customer.metadata.get(USER_ID).and_then(serde_json::Value::as_str)
        == Some(user.to_string().as_str());
    if customer.deleted || !(same_address || names_user) {
        tracing::warn!(user_id = %user, "a profile names a Stripe customer that is not proven to be its user's");
        return Ok(None);
    }
    Ok(Some(named.clone()))
}

fn of_own_customer(error: CallError) -> ApiError {
    match error {
        CallError::Missing(refusal) if refusal.param.as_deref() == Some("customer") => {
            ApiError::Conflict(
                "Stripe does not know the customer this account is linked to; ask support to \
                 link it again"
                    .to_owned(),
            )
        }
        other => other.into(),
    }
}

fn price(state: &AppState, plan: Option<&str>) -> Result<String, ApiError> {
    let offers = &state.config.stripe.prices;
    let Some(first) = offers.first() else {
        return Err(ApiError::NotConfigured(
            "STRIPE_PRICES is not set here, so there is nothing to sell; set it to NAME=price_…"
                .to_owned(),
        ));
    };
    let Some(plan) = plan else { return Ok(first.price.clone()) };
    let offer = offers.iter().find(|offer| offer.name == plan);
    offer.map(|offer| offer.price.clone()).ok_or_else(|| {
        let names: Vec<&str> = offers.iter().map(|offer| offer.name.as_str()).collect();
        ApiError::Invalid(vec![FieldError {
            pointer: "/plan".to_owned(),
            message: format!("must be one of {}", names.join(", ")),
        }])
    })
}

fn return_urls<const N: usize>(
    state: &AppState,
    wanted: [(&str, Option<&str>); N],
) -> Result<[String; N], ApiError> {
    let origins = &state.config.limits.allowed_origins;
    let default = return_url::default(state.config.stripe.app_url.as_ref(), origins);
    let chosen = wanted
        .map(|(field, wanted)| return_url::choose(field, wanted, default.as_deref(), origins));
    let errors: Vec<FieldError> =
        chosen.iter().filter_map(|chosen| chosen.as_ref().err().cloned()).collect();
    if errors.is_empty() {
        Ok(chosen.map(Result::unwrap_or_default))
    } else {
        Err(ApiError::Invalid(errors))
    }
}
