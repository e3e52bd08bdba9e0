//! What every test suite needs: a database and a Redis prefix per test, and the
//! real binaries as processes.
//!
//! A helper that cannot do its work panics, which fails the test that called
//! it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "only tests use this; a helper that fails is a failed test"
)]

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Instant;

use regimen_devtools::{Interrupted, Supervisor};

mod binary;
mod database;
pub mod env_example;
mod languages;
pub mod metrics;
mod pgbouncer;
mod private_postgres;
mod private_redis;
mod process;
mod redis;
mod scripted;
pub mod stripe_story;

pub use self::binary::Binary;
pub use self::database::{LIMITS, TestDatabase};
pub use self::languages::Language;
pub use self::pgbouncer::Pgbouncer;
pub use self::private_postgres::PrivatePostgres;
pub use self::private_redis::PrivateRedis;
pub use self::process::Process;
pub use self::redis::TestRedis;
pub use self::scripted::Scripted;
pub use regimen_devtools::proxy::Proxy;

/// A variable that the test suites require.
fn required_variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set; run the tests through `cargo xtask test`, which provides it")
    })
}

/// The time limit of a wait in a test; when it has passed, the test fails.
struct Deadline {
    until: Instant,
    /// The log of the process waited for.
    log: PathBuf,
}

impl Deadline {
    /// Starts now, for the process that writes to `log`.
    fn new(log: &Path) -> Self {
        Self { until: Instant::now() + process::DEADLINE, log: log.to_owned() }
    }
}

impl Supervisor for Deadline {
    fn pause(&self) -> Result<(), Interrupted> {
        if Instant::now() > self.until {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("not ready within {} s; its log:\n{log}", process::DEADLINE.as_secs());
        }
        std::thread::sleep(process::LOOK_EVERY);
        Ok(())
    }

    fn say(&self, _: impl Display) {}
}

/// Runs blocking work without blocking the test's other tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
