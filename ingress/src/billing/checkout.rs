//! Buying and managing one's own subscription.
//!
//! The owner of a customer sees invoices and cards, so ownership is verified.
//! Checkouts and Stripe's metadata are trusted. The customer id in a profile is
//! not, because users can write it in some databases; it counts only when
//! Stripe knows that customer under the e-mail address of the caller's token.

use std::collections::HashMap;

use regimen_common::billing::is_stripe_id;
use regimen_common::db::accounts;
use regimen_common::db::billing::payers::{self, Payer};
use regimen_common::stripe::{Refusal, StripeError};
use regimen_common::telemetry::UserHash;
use stripe_billing::billing_portal_session::CreateBillingPortalSession;
use stripe_billing::invoice::ListInvoice;
use stripe_billing::subscription::RetrieveSubscription;
use stripe_checkout::CheckoutSessionMode;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionSubscriptionData,
};
use stripe_client_core::{IdempotencyKey, StripeRequest};
use stripe_core::customer::RetrieveCustomer;
use uuid::Uuid;

use super::{keys, one_checkout, return_url};
use crate::auth::Caller;
use crate::error::{ApiError, FieldError};
use crate::state::AppState;
use crate::stripe_api::replies::{Customer, Invoice, List, Session, Subscription};

/// The metadata key with our user's id.
const USER_ID: &str = regimen_common::billing::object::USER_ID;
/// The highest number of customers of one user to try, while Stripe does not know them.
const CUSTOMERS: usize = 3;
/// The highest number of invoices to show.
const INVOICES: i64 = 100;

/// The request of a checkout.
#[derive(Debug, Default)]
pub struct Wish {
    /// One of the names in `STRIPE_PRICES`; the first by default.
    pub plan: Option<String>,
    /// The return URL after paying.
    pub success_url: Option<String>,
    /// The return URL without paying.
    pub cancel_url: Option<String>,
}

/// The URL of a checkout session for `user`.
///
/// # Errors
/// 409 if the user has a subscription or has just paid; 422 for an unknown offer or a
/// foreign return URL; 500 without settings; 502 and 503 by Stripe.
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
    drop(client);
    for _ in 0..CUSTOMERS {
        let payer = payer(state, user).await?;
        if payer.subscribed {
            return Err(one_checkout::subscribed());
        }
        let customer = own_customer(state, caller, user, &payer).await?;
        let email = caller.email.as_deref().unwrap_or(&payer.email);
        let who = match &customer {
            Some(customer) => Who::Customer(customer),
            None if email.is_empty() => Who::Unknown,
            None => Who::Email(email),
        };
        let session = session(user, &price, (&success_url, &cancel_url), &who);
        // One key per customer: after Stripe refused one, the next is another call.
        let words = key.clone().into_inner();
        let key = keys::derived(&[&words, customer.as_deref().unwrap_or_default()])?;
        let made = match (state.stripe.write::<Session>(session.build(), &key).await, customer) {
            (Ok(made), _) => made,
            (Err(StripeError::Missing(refusal)), Some(lost)) if is_about_customer(&refusal) => {
                lose(state, user, &lost).await?;
                continue;
            }
            (Err(error), _) => return Err(error.into()),
        };
        let Session { id, url: Some(url), .. } = made.value else {
            return Err(StripeError::Unreadable.into());
        };
        if !is_stripe_id(&id) {
            return Err(StripeError::Unreadable.into());
        }
        one_checkout::make_only(state, user, &id, made.replayed).await?;
        return Ok(url);
    }
    Err(unknown_customer())
}

/// The customer or e-mail address of a checkout.
enum Who<'a> {
    Customer(&'a str),
    Email(&'a str),
    Unknown,
}

fn session(
    user: Uuid,
    price: &str,
    (success_url, cancel_url): (&str, &str),
    who: &Who<'_>,
) -> CreateCheckoutSession {
    let mut item = CreateCheckoutSessionLineItems::new();
    item.price = Some(price.to_owned());
    item.quantity = Some(1);
    let metadata = HashMap::from([(USER_ID.to_owned(), user.to_string())]);
    let mut subscription = CreateCheckoutSessionSubscriptionData::new();
    subscription.metadata = Some(metadata.clone());
    let session = CreateCheckoutSession::new()
        .mode(CheckoutSessionMode::Subscription)
        .line_items(vec![item])
        .success_url(success_url)
        .cancel_url(cancel_url)
        .client_reference_id(user.to_string())
        .metadata(metadata)
        .subscription_data(subscription);
    match who {
        Who::Customer(customer) => session.customer(*customer),
        Who::Email(email) => session.customer_email(*email),
        Who::Unknown => session,
    }
}

async fn payer(state: &AppState, user: Uuid) -> Result<Payer, ApiError> {
    let client = state.db.get().await?;
    let entitling = &state.config.stripe.offers.entitling;
    Ok(payers::payer(&client, user, entitling).await?.unwrap_or_default())
}

/// Records that Stripe does not know the user's customer, for the next call and for
/// operators.
async fn lose(state: &AppState, user: Uuid, customer: &str) -> Result<(), ApiError> {
    metrics::counter!("regimen_stripe_alerts_total", "alert" => "missing_customer").increment(1);
    tracing::error!(
        user = %UserHash::of(user),
        customer,
        "Stripe does not know a user's customer; going on without it (docs/runbook.md, Missing \
         customer)"
    );
    let client = state.db.get().await?;
    payers::missing(&client, customer).await?;
    Ok(())
}

fn is_about_customer(refusal: &Refusal) -> bool {
    refusal.param.as_deref() == Some("customer")
}

fn unknown_customer() -> ApiError {
    ApiError::Conflict(
        "Stripe does not know the customer this account was linked to, and our operators are told; \
         buying through /v1/billing/checkout makes a new one"
            .to_owned(),
    )
}

/// The URL of a portal session for `user`.
///
/// # Errors
/// 409 if the user never bought anything; 422 for a foreign return URL; 502 and 503 by
/// Stripe.
pub async fn portal(
    state: &AppState,
    caller: &Caller,
    user: Uuid,
    wanted: Option<&str>,
    key: &IdempotencyKey,
) -> Result<String, ApiError> {
    let [return_url] = return_urls(state, [("return_url", wanted)])?;
    for lost in 0..CUSTOMERS {
        let payer = payer(state, user).await?;
        let Some(customer) = own_customer(state, caller, user, &payer).await? else {
            return Err(if lost > 0 { unknown_customer() } else { nothing_to_manage() });
        };
        let key = keys::derived(&[&key.clone().into_inner(), &customer])?;
        let session =
            CreateBillingPortalSession::new().customer(&*customer).return_url(&*return_url);
        match state.stripe.write::<Session>(session.build(), &key).await {
            Err(StripeError::Missing(refusal)) if is_about_customer(&refusal) => {
                lose(state, user, &customer).await?;
            }
            Err(error) => return Err(error.into()),
            Ok(session) => return session.value.url.ok_or(StripeError::Unreadable.into()),
        }
    }
    Err(unknown_customer())
}

fn nothing_to_manage() -> ApiError {
    ApiError::Conflict(
        "there is nothing to manage yet; buy a plan through /v1/billing/checkout".to_owned(),
    )
}

/// The invoices of `customer`, newest first: the caller's own, or any for operators.
///
/// # Errors
/// 404 for a customer that is not the caller's; 502 and 503 by Stripe.
pub async fn invoices(
    state: &AppState,
    caller: &Caller,
    customer: &str,
) -> Result<Vec<Invoice>, ApiError> {
    may_see_customer(state, caller, customer).await?;
    let request = ListInvoice::new().customer(customer).limit(INVOICES);
    match state.stripe.read::<List<Invoice>>(request.build()).await {
        Ok(list) => Ok(list.data),
        Err(StripeError::Missing(_)) => Err(no_such_customer()),
        Err(error) => Err(error.into()),
    }
}

/// Passes operators and the customer's own user.
///
/// # Errors
/// 404 for a customer that is not the caller's; 502 and 503 by Stripe.
pub async fn may_see_customer(
    state: &AppState,
    caller: &Caller,
    customer: &str,
) -> Result<(), ApiError> {
    if caller.is_admin() {
        return Ok(());
    }
    let user = caller.acting_for(None)?;
    let payer = payer(state, user).await?;
    let likely = payer.customer.as_deref().or(payer.named.as_deref()) == Some(customer);
    if likely && own_customer(state, caller, user, &payer).await?.is_some() {
        return Ok(());
    }
    Err(no_such_customer())
}

/// Whether a subscription is the caller's own: as stored, or of their customer.
///
/// # Errors
/// 502 and 503 by Stripe.
pub async fn owns_subscription(
    state: &AppState,
    caller: &Caller,
    subscription: &str,
) -> Result<bool, ApiError> {
    let user = caller.acting_for(None)?;
    let client = state.db.get().await?;
    if payers::owns(&client, user, subscription).await? {
        return Ok(true);
    }
    drop(client);
    let payer = payer(state, user).await?;
    let Some(own) = own_customer(state, caller, user, &payer).await? else { return Ok(false) };
    let request = RetrieveSubscription::new(subscription).build();
    match state.stripe.read::<Subscription>(request).await {
        Ok(found) => Ok(found.customer.is_some_and(|customer| customer.id() == own)),
        Err(StripeError::Missing(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn no_such_customer() -> ApiError {
    ApiError::NotFound("customer_id is not a customer of yours".to_owned())
}

/// The user's customer, if ownership is proven.
async fn own_customer(
    state: &AppState,
    caller: &Caller,
    user: Uuid,
    payer: &Payer,
) -> Result<Option<String>, ApiError> {
    let named = match (&payer.customer, &payer.named) {
        (Some(own), _) => return Ok(Some(own.clone())),
        (None, None) => return Ok(None),
        (None, Some(named)) if !is_stripe_id(named) => return Ok(None),
        (None, Some(named)) => named,
    };
    let request = RetrieveCustomer::new(named.as_str()).build();
    let customer = match state.stripe.read::<Customer>(request).await {
        Ok(customer) => customer,
        Err(StripeError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let same_address = match (&caller.email, &customer.email) {
        (Some(own), Some(theirs)) => own.eq_ignore_ascii_case(theirs),
        _ => false,
    };
    let names_user = customer.metadata.get(USER_ID).and_then(serde_json::Value::as_str)
        == Some(user.to_string().as_str());
    if customer.deleted || !(same_address || names_user) {
        tracing::warn!(user = %UserHash::of(user), "a profile names a Stripe customer that is not proven to be its user's");
        return Ok(None);
    }
    Ok(Some(named.clone()))
}

fn price(state: &AppState, plan: Option<&str>) -> Result<String, ApiError> {
    let offers = &state.config.stripe.offers.sold;
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
        ApiError::field("/plan", format!("must be one of {}", names.join(", ")))
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
