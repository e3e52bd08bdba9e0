//! The ingress as its callers meet it, over real sockets.

#![expect(clippy::unwrap_used, reason = "tests")]

mod ingress;
mod stripe_webhook;
