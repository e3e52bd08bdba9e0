//! What every test suite needs: a database and a Redis prefix per test, and
//! the real binaries as processes.
//!
//! A helper that cannot do its work panics: the test that called it has failed.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "only tests use this; a helper that fails is a failed test"
)]

mod database;
mod redis;
pub mod stripe_story;

pub use self::database::TestDatabase;
pub use self::redis::TestRedis;

/// A variable the test suites cannot do without.
fn required_variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set; run the tests through `cargo xtask test`, which provides it")
    })
}
