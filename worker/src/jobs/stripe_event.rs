//! Applies one stored Stripe event.
