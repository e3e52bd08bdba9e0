//! The simulator over real sockets, as the worker and the other tests use it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests: a failed unwrap is a failed test"
)]

mod chat;
mod control;
mod faults;
mod format;
mod formats;
mod program;
mod refusals;
mod support;
