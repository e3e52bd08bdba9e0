//! Purchases of callers at Stripe, and changes by operators.
//!
//! - [`checkout`]: buying and managing one's own subscription.
//! - [`one_checkout`]: at most one open payment page per user.
//! - [`return_url`]: the allowed return URLs.
//! - [`operate`]: operators' changes to subscriptions.
//! - [`revenue`]: revenue over all subscriptions.
//! - [`dashboard`]: the numbers of the app's operators' dashboard.
//! - [`keys`]: idempotency keys of calls to Stripe.

pub mod checkout;
pub mod dashboard;
pub mod keys;
pub mod one_checkout;
pub mod operate;
pub mod return_url;
pub mod revenue;

use regimen_common::billing::is_stripe_id;

use crate::error::ApiError;

/// The id of one of Stripe's objects at `pointer`.
///
/// # Errors
/// 422 at `pointer` when it is missing or invalid.
pub fn stripe_id<'a>(pointer: &str, id: Option<&'a str>) -> Result<&'a str, ApiError> {
    let message = match id {
        Some(id) if is_stripe_id(id) => return Ok(id),
        Some(_) => "must be an id of Stripe's: letters, digits, _ and -",
        None => "is required",
    };
    Err(ApiError::field(pointer, message))
}
