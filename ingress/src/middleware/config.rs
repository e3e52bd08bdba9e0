//! The settings of the middleware.

use std::time::Duration;

use regimen_common::config::{Env, Environment};

use super::{AllowedOrigins, FloodConfig};
use crate::client_address::TrustedProxies;

/// Limits of requests and connections.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// `BODY_LIMIT_BYTES`: the largest body read.
    pub body_bytes: usize,
    /// `BODY_TIMEOUT_SECONDS`: a body must be complete within this time after its head.
    pub body_timeout: Duration,
    /// `HEADER_TIMEOUT_SECONDS`: a head must be complete within this time after the
    /// connection opened or its last response; also ends idle connections.
    pub header_timeout: Duration,
    /// A connection is closed when its client takes nothing of a response for this long.
    pub write_timeout: Duration,
    /// `MAX_CONNECTIONS`: connections open at once; more wait to be accepted.
    pub max_connections: usize,
    /// `FLOOD_PER_SECOND`, `FLOOD_BURST`: requests of one address.
    pub flood: FloodConfig,
    /// `TRUSTED_PROXIES`, `FORWARDED_HEADER`: how client addresses are read.
    pub trusted_proxies: TrustedProxies,
    /// `ALLOWED_ORIGINS`: the web origins that may call from a browser.
    pub allowed_origins: AllowedOrigins,
}

/// Longer than any pause of a connection that is still of use.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest path and query.
pub(super) const URL_BYTES: usize = 8 * 1024;
/// The size of all header names and values together: a long token and other headers.
pub(super) const HEADER_BYTES: usize = 48 * 1024;
/// The read buffer of a connection, which limits the head.
pub(crate) const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Header lines of one request.
pub(crate) const HEADER_LINES: usize = 100;

impl LimitsConfig {
    /// Reads the variables; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env, environment: Environment) -> Self {
        Self {
            body_bytes: env.number("BODY_LIMIT_BYTES", 256 * 1024, 1024..=8 * 1024 * 1024),
            body_timeout: env.seconds("BODY_TIMEOUT_SECONDS", 10.0),
            header_timeout: env.seconds("HEADER_TIMEOUT_SECONDS", 15.0),
            write_timeout: WRITE_TIMEOUT,
            max_connections: env.number("MAX_CONNECTIONS", 20_000, 1..=1_000_000),
            flood: FloodConfig::from_env(env, environment),
            trusted_proxies: TrustedProxies::from_env(env),
            allowed_origins: AllowedOrigins::from_env(env, environment),
        }
    }
}

impl Default for LimitsConfig {
    /// The defaults.
    fn default() -> Self {
        let mut env = Env::from_pairs::<String, String>([]);
        Self::from_env(&mut env, Environment::Production)
    }
}
