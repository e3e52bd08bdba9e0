//! SQL of Stripe events and of the state derived from them.
//!
//! - [`events`]: stored events; [`claims`]: events being applied.
//! - [`customers`]: the state of a customer, read and written as a whole.
//! - [`profiles`]: a user's plan as the app sees it.
//! - [`notices`]: notices to users, and the mails still to send.
//! - [`payers`]: subscribers, for checkouts and operators.
//! - [`checkouts`]: each user's latest payment page.
//! - [`revenue`]: the revenue of each day.
//! - [`backfill`]: the claim on fetching undelivered events.

pub mod backfill;
pub mod checkouts;
pub mod claims;
pub mod customers;
pub mod events;
pub mod notices;
pub mod payers;
pub mod profiles;
pub mod repairs;
pub mod revenue;

use chrono::{DateTime, Utc};

/// Unix seconds as Postgres keeps them; what it cannot keep is absent.
fn time(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0)
}

fn seconds(time: Option<DateTime<Utc>>) -> Option<i64> {
    time.map(|time| time.timestamp())
}
