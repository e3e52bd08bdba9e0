//! The Stripe webhook: verify, store, acknowledge.
