//! How a process reports about itself: logs, metrics and Sentry.

mod logs;
pub mod metrics;
mod sentry;

use ::sentry::ClientInitGuard;
use metrics_exporter_prometheus::BuildError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Env, Environment};

pub use self::logs::LogFormat;
pub use self::metrics::MetricsPage;
pub use self::sentry::SentryConfig;

/// How a process reports about itself.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// `LOG_FORMAT`: json for machines, text for people.
    pub format: LogFormat,
    /// `RUST_LOG`: which targets at which level.
    pub filter: String,
    /// What goes to Sentry.
    pub sentry: SentryConfig,
    /// The deployment's name in Sentry.
    pub environment: Environment,
}

impl TelemetryConfig {
    /// Reads the settings.
    pub fn take(env: &mut Env, environment: Environment) -> Self {
        let format = match environment {
            Environment::Development => LogFormat::Text,
            Environment::Staging | Environment::Production => LogFormat::Json,
        };
        let filter = env.or("RUST_LOG", "info".to_owned());
        if let Err(error) = EnvFilter::try_new(&filter) {
            env.error("RUST_LOG", error.to_string());
        }
        Self {
            format: env.or("LOG_FORMAT", format),
            filter,
            sentry: SentryConfig::take(env),
            environment,
        }
    }
}

/// What must live as long as the process.
pub struct Telemetry {
    /// What the process counts and measures.
    pub metrics: MetricsPage,
    _sentry: Option<ClientInitGuard>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// Why reporting could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `SENTRY_DSN` is malformed.
    #[error("SENTRY_DSN is not a Sentry DSN (https://key@host/project)")]
    Dsn,
    /// The metrics recorder could not be installed.
    #[error("cannot install the metrics recorder: {0}")]
    Metrics(#[from] BuildError),
    /// The log subscriber could not be installed.
    #[error("cannot install the log subscriber: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up logs, metrics and Sentry. Call once, before the runtime starts, so
/// that its threads inherit the Sentry hub.
///
/// # Errors
/// A setting is malformed, or reporting was set up before.
pub fn init(config: &TelemetryConfig, service: &'static str) -> Result<Telemetry, TelemetryError> {
    let sentry = sentry::init(&config.sentry, config.environment, service)?;
    tracing_subscriber::registry()
        .with(logs::layer(config.format, &config.filter))
        .with(sentry.is_some().then(sentry::layer))
        .try_init()?;
    let metrics = metrics::install(service)?;
    Ok(Telemetry { metrics, _sentry: sentry })
}
