//! The kind of work "Stripe event": claim, apply, record. Mails about payments
//! are claimed with the events.

pub mod claim;
pub mod handler;
pub mod settle;
