//! Reports of a process: logs, metrics, traces and Sentry.

mod logs;
pub mod metrics;
mod otlp;
pub mod sentry;
pub mod spans;
pub mod trace_context;

use ::sentry::ClientInitGuard;
use metrics_exporter_prometheus::BuildError;
use opentelemetry_otlp::ExporterBuildError;
use secrecy::SecretString;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Env, Environment};

pub use self::logs::{LogFormat, UserHash};
pub use self::metrics::MetricsPage;
pub use self::otlp::OtlpConfig;
pub use self::sentry::SentryConfig;

/// The settings of telemetry.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// `LOG_FORMAT`: json for machines, text for people.
    pub format: LogFormat,
    /// `RUST_LOG`: levels by target.
    pub filter: String,
    /// `LOG_USER_KEY`: the key of user hashes in the log; random per process when unset.
    pub log_user_key: Option<SecretString>,
    /// Sentry.
    pub sentry: SentryConfig,
    /// OTLP.
    pub otlp: OtlpConfig,
    /// `PROFILING`: whether `/debug/pprof/profile` takes flame graphs.
    pub profiling: bool,
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
            log_user_key: logs::user_key(env),
            sentry: SentryConfig::take(env),
            otlp: OtlpConfig::take(env),
            profiling: env.flag("PROFILING", false),
            environment,
        }
    }
}

/// Must be kept for the life of the process.
pub struct Telemetry {
    /// The metrics.
    pub metrics: MetricsPage,
    // Dropped in this order, so that the ends of spans reach Sentry.
    _tracing: Option<otlp::Tracing>,
    _sentry: Option<ClientInitGuard>,
    // Dropped last: whatever ends before it may still log.
    _lines: logs::Lines,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `SENTRY_DSN` is malformed.
    #[error("SENTRY_DSN is not a Sentry DSN (https://key@host/project)")]
    Dsn,
    /// TLS for Sentry or OTLP could not be set up.
    #[error("cannot set up the HTTP client for Sentry and OTLP: {0}")]
    Http(#[from] reqwest::Error),
    /// OTLP's settings are inconsistent.
    #[error("cannot set up OTLP: {0}; look at the variables that begin with OTEL_")]
    Otlp(#[from] ExporterBuildError),
    /// The metrics recorder could not be installed.
    #[error("cannot install the metrics recorder: {0}")]
    Metrics(#[from] BuildError),
    /// The log subscriber could not be installed.
    #[error("cannot install the log subscriber: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up logs, metrics, traces and Sentry. Call once, before the runtime starts, so
/// that its threads inherit the Sentry hub.
///
/// # Errors
/// A setting is malformed, or telemetry was set up before.
pub fn init(config: &TelemetryConfig, service: &'static str) -> Result<Telemetry, TelemetryError> {
    // First, because the log layers use the recorder.
    let metrics = metrics::install(service)?;
    logs::tell_of_panics();
    let sentry = sentry::init(&config.sentry, config.environment, service)?;
    let tracing = otlp::init(&config.otlp, &config.sentry, config.environment, service)?;
    let (lines, thread) = logs::layer(config.format, &config.filter, config.log_user_key.as_ref());
    tracing_subscriber::registry()
        .with(lines.with_filter(filter_fn(|met| met.target() != spans::TARGET)))
        .with(sentry.is_some().then(sentry::layer))
        .with(tracing.as_ref().map(otlp::layer))
        .try_init()?;
    Ok(Telemetry { metrics, _tracing: tracing, _sentry: sentry, _lines: thread })
}
