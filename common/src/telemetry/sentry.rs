//! The connection to Sentry, and what never leaves through it.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};
use sentry::{ClientInitGuard, ClientOptions};
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::TelemetryError;
use crate::config::{Env, Environment};

/// Where and how much is reported.
#[derive(Debug, Clone)]
pub struct SentryConfig {
    /// `SENTRY_DSN`: where errors are reported; off when unset.
    pub dsn: Option<SecretString>,
    /// `SENTRY_TRACES_SAMPLE_RATE`: share of requests and jobs traced, 0 to 1.
    pub traces: f32,
}

impl SentryConfig {
    pub(super) fn take(env: &mut Env) -> Self {
        Self {
            dsn: env.secret("SENTRY_DSN"),
            traces: env.number("SENTRY_TRACES_SAMPLE_RATE", 0.0, 0.0..=1.0),
        }
    }
}

/// Connects this process and every thread it starts from now on.
pub(super) fn init(
    config: &SentryConfig,
    environment: Environment,
    service: &'static str,
) -> Result<Option<ClientInitGuard>, TelemetryError> {
    let Some(dsn) = &config.dsn else {
        return Ok(None);
    };
    let dsn = dsn.expose_secret();
    dsn.parse::<sentry::types::Dsn>().map_err(|_| TelemetryError::Dsn)?;
    let options = ClientOptions::new()
        .dsn(dsn)
        .release(Cow::Borrowed(env!("CARGO_PKG_VERSION")))
        .environment(Cow::Borrowed(environment.as_str()))
        .traces_sample_rate(config.traces)
        .before_send(|event| Some(scrubbed(event)));
    let guard = sentry::init(options);
    sentry::configure_scope(|scope| scope.set_tag("service", service));
    Ok(Some(guard))
}

/// What makes events of log lines at ERROR.
pub(super) fn layer<S>() -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    sentry::integrations::tracing::ErrorLayer::new()
        .with_filter(tracing_subscriber::filter::LevelFilter::ERROR)
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
