//! The kind of work "callback": claim, send, record.

pub mod claim;
pub mod handler;
