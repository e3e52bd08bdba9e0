//! SQL of Stripe's events and of what we made of them.
//!
//! - [`events`]: what was stored; [`claims`]: what is being applied.
//! - [`customers`]: what is known of a customer, read and written as a whole.
//! - [`profiles`]: a user's plan as the app sees it.
//! - [`notices`]: what users are told, and the mails still to send.
//! - [`payers`]: who pays for what, for checkouts and operators.
//! - [`checkouts`]: the payment page each user was sent to last.
//! - [`backfill`]: whose turn it is to look for events never delivered.

pub mod backfill;
pub mod checkouts;
pub mod claims;
pub mod customers;
pub mod events;
pub mod notices;
pub mod payers;
pub mod profiles;
pub mod repairs;

use chrono::{DateTime, Utc};

/// Unix seconds as Postgres keeps them; what it cannot keep is absent.
fn time(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0)
}

fn seconds(time: Option<DateTime<Utc>>) -> Option<i64> {
    time.map(|time| time.timestamp())
}
