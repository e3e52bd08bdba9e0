//! A callback: claimed, sent, recorded.

pub mod claim;
pub mod handler;
