//! Response types that several routes share.

pub mod job;

pub use job::{AttemptView, CallbackView, JobErrorView, JobView};
