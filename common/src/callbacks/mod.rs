//! Callbacks to a client's own server at the end of a job: which URLs may be
//! called, the message, and its signature. Pure; the worker sends,
//! `db::callbacks` stores.
//!
//! The format is that of Standard Webhooks
//! (<https://www.standardwebhooks.com>).

mod address;
mod message;
mod rules;
mod signature;

pub use address::objection;
pub use message::{JobCallback, JobEnd, JobEndError, JobEndLinks};
pub use rules::{AddressRefused, Rules, UrlRefused};
pub use signature::Signer;
