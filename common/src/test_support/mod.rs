//! What every test suite needs: a database and a Redis prefix per test, and
//! the real binaries as processes.
//!
//! A helper that cannot do its work panics: the test that called it has failed.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "only tests use this; a helper that fails is a failed test"
)]

mod binary;
mod database;
pub mod env_example;
mod languages;
mod leash;
mod pgbouncer;
mod private_postgres;
mod private_redis;
mod process;
mod proxy;
mod redis;
mod scripted;
mod signal;
pub mod stripe_story;

pub use self::binary::Binary;
pub use self::database::{LIMITS, TestDatabase};
pub use self::languages::Language;
pub use self::pgbouncer::Pgbouncer;
pub use self::private_postgres::PrivatePostgres;
pub use self::private_redis::PrivateRedis;
pub use self::process::Process;
pub use self::proxy::Proxy;
pub use self::redis::TestRedis;
pub use self::scripted::Scripted;

/// A variable the test suites cannot do without.
fn required_variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set; run the tests through `cargo xtask test`, which provides it")
    })
}

/// A port of the loopback address that is free at this moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("the address of a listener").port()
}
