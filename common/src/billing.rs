//! What a Stripe subscription entitles its user to: pure rules, no I/O.
