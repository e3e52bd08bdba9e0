//! Selling and managing subscriptions, against a Stripe of the tests' own that
//! answers over real HTTP with the real service's full objects.

mod admin;
mod app_admin;
mod calls;
mod checkout;
mod shop;
mod stand_in;
mod two_tabs;
mod typed;

pub(crate) use stand_in::{StripeStandIn, list, object};
