//! SQL of Stripe events and subscriptions.
