//! The kind of work "plan": claim, generate, verify, save.

pub mod attempts;
pub mod claim;
pub mod error;
pub mod finish;
pub mod handler;
pub mod order;
pub mod stages;
mod unknown_words;
pub mod verify;
