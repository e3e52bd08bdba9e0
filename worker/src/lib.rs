//! The worker pool: claims jobs, calls AI providers, verifies and saves
//! plans, applies Stripe events.

pub mod config;
pub mod env;
pub mod error;
pub mod jobs;
pub mod plan;
pub mod prompts;
pub mod providers;
pub mod queue;
