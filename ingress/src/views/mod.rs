//! What several routes answer with.

pub mod job;

pub use job::{AttemptView, CallbackView, JobErrorView, JobView};
