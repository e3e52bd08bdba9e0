//! Logs, metrics and Sentry of a process.

use std::borrow::Cow;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use secrecy::{ExposeSecret, SecretString};
use sentry::ClientInitGuard;
use tracing::Level;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{Env, Environment};

/// How a process reports about itself.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// `LOG_FORMAT`: json for machines, text for people.
    pub format: LogFormat,
    /// `RUST_LOG`: which targets at which level.
    pub filter: String,
    /// `SENTRY_DSN`: where errors are reported; off when unset.
    pub sentry_dsn: Option<SecretString>,
    /// `SENTRY_TRACES_SAMPLE_RATE`: share of requests and jobs traced, 0 to 1.
    pub sentry_traces: f32,
    /// The deployment's name in Sentry.
    pub environment: Environment,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

impl std::str::FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("must be json or text"),
        }
    }
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
            sentry_dsn: env.secret("SENTRY_DSN"),
            sentry_traces: env.number("SENTRY_TRACES_SAMPLE_RATE", 0.0, 0.0..=1.0),
            environment,
        }
    }
}

/// What must live as long as the process.
pub struct Telemetry {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
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

/// Latencies from a tenth of a millisecond to five minutes, in seconds.
const SECONDS_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// Sets up logs, metrics and Sentry. Call once, before the runtime starts, so
/// that its threads inherit the Sentry hub.
///
/// # Errors
/// A setting is malformed, or reporting was set up before.
pub fn init(config: &TelemetryConfig, service: &'static str) -> Result<Telemetry, TelemetryError> {
    let sentry = sentry_client(config, service)?;
    let filter = EnvFilter::new(&config.filter)
        .and(filter_fn(|event| *event.level() <= Level::INFO || !spells_out_data(event.target())));
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Json => Box::new(fmt::layer().json().flatten_event(true)),
        LogFormat::Text => Box::new(fmt::layer()),
    };
    let errors = sentry.is_some().then(|| {
        sentry::integrations::tracing::ErrorLayer::new()
            .with_filter(tracing_subscriber::filter::LevelFilter::ERROR)
    });
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(errors).try_init()?;
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)?
        .install_recorder()?;
    metrics::gauge!("regimen_build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION"))
        .set(1.0);
    Ok(Telemetry { metrics, _sentry: sentry })
}

/// Whether the crate behind `target` writes into its debug lines what passes
/// through it: the driver every parameter, and with that quizzes and e-mails.
fn spells_out_data(target: &str) -> bool {
    target == "tokio_postgres" || target.starts_with("tokio_postgres::")
}

fn sentry_client(
    config: &TelemetryConfig,
    service: &'static str,
) -> Result<Option<ClientInitGuard>, TelemetryError> {
    let Some(dsn) = &config.sentry_dsn else {
        return Ok(None);
    };
    let dsn = dsn.expose_secret();
    dsn.parse::<sentry::types::Dsn>().map_err(|_| TelemetryError::Dsn)?;
    let options = sentry::ClientOptions::new()
        .dsn(dsn)
        .release(Cow::Borrowed(env!("CARGO_PKG_VERSION")))
        .environment(Cow::Borrowed(config.environment.as_str()))
        .traces_sample_rate(config.sentry_traces)
        .before_send(|event| Some(scrubbed(event)));
    let guard = sentry::init(options);
    sentry::configure_scope(|scope| scope.set_tag("service", service));
    Ok(Some(guard))
}

/// Takes out what may identify a person or open a door: headers, cookies, bodies.
fn scrubbed(mut event: sentry::protocol::Event<'static>) -> sentry::protocol::Event<'static> {
    if let Some(request) = &mut event.request {
        request.headers.clear();
        request.cookies = None;
        request.data = None;
        request.query_string = None;
    }
    event
}
