//! Submitting plan jobs and reading the active plan.
