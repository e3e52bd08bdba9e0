//! Telling a caller's own server that a job has ended: what may be called, what
//! is said, and how it is signed. Pure; the worker sends, `db::callbacks` keeps
//! what is sent.
//!
//! The form is that of Standard Webhooks (<https://www.standardwebhooks.com>).

mod address;
mod message;
mod rules;
mod signature;

pub use address::objection;
pub use message::{JobCallback, JobEnd, JobEndError, JobEndLinks};
pub use rules::{AddressRefused, Rules, UrlRefused};
pub use signature::Signer;
