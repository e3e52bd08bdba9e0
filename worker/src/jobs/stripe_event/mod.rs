//! A Stripe event: claimed, applied, recorded. Mails about payments are claimed
//! with the events they belong to.

pub mod claim;
pub mod handler;
pub mod settle;
