//! SQL of both binaries: one file per table group, plain functions over a
//! client or a transaction.

pub mod accounts;
pub mod billing;
pub mod jobs;
pub mod migrate;
pub mod plans;
