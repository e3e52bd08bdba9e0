//! Revenue over all subscriptions: from our own tables, with prices fetched
//! from Stripe once.

use chrono::TimeDelta;
use regimen_common::billing::is_stripe_id;
use regimen_common::billing::metrics::{Metrics, Price, Standing, WINDOW_DAYS};
use regimen_common::db::billing::payers;
use regimen_common::stripe::StripeError;
use stripe_client_core::{RequestBuilder, StripeMethod};

use crate::error::ApiError;
use crate::state::AppState;
use crate::stripe_api::replies::PriceObject;

/// The current numbers.
///
/// # Errors
/// 502 and 503 when a price cannot be fetched from Stripe.
pub async fn metrics(state: &AppState) -> Result<(Metrics, Standing), ApiError> {
    let client = state.db.get().await?;
    let unknown = payers::unknown_prices(&client).await?;
    drop(client);
    let mut fetched = Vec::with_capacity(unknown.len());
    for id in unknown.iter().filter(|id| is_stripe_id(id)) {
        // async-stripe's crate for prices is too large for one path.
        let request = RequestBuilder::new(StripeMethod::Get, format!("/prices/{id}"));
        match state.stripe.read::<PriceObject>(request).await {
            Ok(price) => fetched.push(Price::from(price)),
            // Counted as unpriced.
            Err(StripeError::Missing(_)) => {
                tracing::warn!(price = id, "Stripe knows no such price")
            }
            Err(error) => return Err(error.into()),
        }
    }
    let client = state.db.get().await?;
    for price in &fetched {
        payers::store_price(&client, price).await?;
    }
    let start = state.clock.now() - TimeDelta::days(WINDOW_DAYS);
    let standing = payers::standing(&client, start).await?;
    Ok((Metrics::of(&payers::revenue(&client).await?, &standing), standing))
}
