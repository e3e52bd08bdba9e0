//! A plan job: claimed, generated, verified, saved.

pub mod attempts;
pub mod claim;
pub mod error;
pub mod finish;
pub mod handler;
pub mod order;
pub mod stages;
pub mod verify;
