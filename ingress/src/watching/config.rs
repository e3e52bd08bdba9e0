//! Settings of watching.

use std::time::Duration;

use regimen_common::config::Env;

/// The settings of watching.
#[derive(Debug, Clone, Copy)]
pub struct WatchingConfig {
    /// `STREAM_HEARTBEAT_SECONDS`: the longest silence of an event stream.
    pub heartbeat: Duration,
    /// `STREAMS_PER_USER`: event streams and long polls that one user may have open at
    /// this process.
    pub streams_per_user: usize,
}

impl WatchingConfig {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        Self {
            heartbeat: env.seconds("STREAM_HEARTBEAT_SECONDS", 15.0),
            streams_per_user: env.number("STREAMS_PER_USER", 50, 1..=1_000_000),
        }
    }
}
