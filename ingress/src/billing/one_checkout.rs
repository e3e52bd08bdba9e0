//! At most one open payment page per user: opening a second one expires the
//! first, so that two tabs cannot both be paid.
//!
//! Stripe decides: an expired session cannot be paid, and a paid one cannot be
//! expired. A new session's URL is returned only after the earlier session is
//! expired and the new one is stored, so an ingress that dies in between leaves
//! no session that could be paid.

use regimen_common::db::billing::{checkouts, payers};
use regimen_common::stripe::StripeError;
use stripe_checkout::checkout_session::{ExpireCheckoutSession, RetrieveCheckoutSession};
use stripe_client_core::StripeRequest;
use uuid::Uuid;

use super::keys;
use crate::error::ApiError;
use crate::state::AppState;
use crate::stripe_api::replies::Session;

/// The highest number of concurrent checkouts in other tabs to expire.
const RIVALS: usize = 4;

/// The result of expiring a session.
enum End {
    /// It cannot be paid.
    Closed,
    /// It was already paid; its subscription, if it has one.
    Paid(Option<String>),
}

/// Makes `session` the only open page of `user`. `replayed`: an earlier request with the
/// same key created it, and it may be over by now.
///
/// # Errors
/// 409 when the earlier one was paid, or other tabs keep opening sessions; 502 and 503 by
/// Stripe.
pub async fn make_only(
    state: &AppState,
    user: Uuid,
    session: &str,
    replayed: bool,
) -> Result<(), ApiError> {
    for _ in 0..RIVALS {
        let before = {
            let client = state.db.get().await?;
            checkouts::open(&client, user).await?
        };
        if before.as_deref() == Some(session) {
            return Ok(());
        }
        if replayed {
            still_open(state, session).await?;
        }
        if let Some(before) = &before
            && let End::Paid(sold) = close(state, before).await?
            && let Some(refusal) = already_paid(state, user, sold.as_deref()).await?
        {
            close(state, session).await?;
            return Err(refusal);
        }
        let client = state.db.get().await?;
        if checkouts::replace(&client, user, before.as_deref(), session).await? {
            return Ok(());
        }
    }
    close(state, session).await?;
    Err(ApiError::IdempotencyInFlight)
}

/// Refuses a page that was expired or paid since it was created.
async fn still_open(state: &AppState, session: &str) -> Result<(), ApiError> {
    match status(state, session).await?.as_deref() {
        Some("complete") => Err(in_progress()),
        Some("expired") => Err(ApiError::Conflict(
            "this checkout was replaced by a later one; send the request with a new Idempotency-Key"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

async fn status(state: &AppState, session: &str) -> Result<Option<String>, ApiError> {
    let request = RetrieveCheckoutSession::new(session).build();
    match state.stripe.read::<Session>(request).await {
        Ok(session) => Ok(session.status),
        Err(StripeError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn close(state: &AppState, session: &str) -> Result<End, ApiError> {
    let key = keys::derived(&["expire checkout", session])?;
    let request = ExpireCheckoutSession::new(session).build();
    match state.stripe.write::<Session>(request, &key).await {
        Ok(_) | Err(StripeError::Missing(_)) => return Ok(End::Closed),
        // It is no longer open; its own state tells why.
        Err(StripeError::Refused(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let request = RetrieveCheckoutSession::new(session).build();
    let session = match state.stripe.read::<Session>(request).await {
        Ok(session) => session,
        Err(StripeError::Missing(_)) => return Ok(End::Closed),
        Err(error) => return Err(error.into()),
    };
    Ok(match session.status.as_deref() {
        Some("complete") => End::Paid(session.subscription.map(|sold| sold.id().to_owned())),
        Some("open") => return Err(ApiError::StripeAway(StripeError::InFlight.into())),
        _ => End::Closed,
    })
}

/// Why a user who has just paid cannot buy again; none if that payment was already
/// processed here and they have no subscription.
async fn already_paid(
    state: &AppState,
    user: Uuid,
    sold: Option<&str>,
) -> Result<Option<ApiError>, ApiError> {
    let client = state.db.get().await?;
    let arrived = match sold {
        Some(sold) => checkouts::arrived(&client, sold).await?,
        None => false,
    };
    if !arrived {
        return Ok(Some(in_progress()));
    }
    let entitling = &state.config.stripe.offers.entitling;
    let payer = payers::payer(&client, user, entitling).await?.unwrap_or_default();
    Ok(payer.subscribed.then(subscribed))
}

fn in_progress() -> ApiError {
    ApiError::Conflict(
        "your payment of a moment ago is being processed; look at your plan again in a minute"
            .to_owned(),
    )
}

pub(super) fn subscribed() -> ApiError {
    ApiError::Conflict(
        "you have a subscription; change or end it through /v1/billing/portal".to_owned(),
    )
}
