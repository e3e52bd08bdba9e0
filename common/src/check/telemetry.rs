//! Whether what is reported would arrive.

use super::{Finding, Http};
use crate::telemetry::{OtlpConfig, SentryConfig};

/// What the settings of Sentry come to.
pub fn sentry(config: &SentryConfig) -> Finding {
    let found = match &config.dsn {
        None => "off: errors stand in the log alone".to_owned(),
        Some(_) => format!("errors, and {:.0} % of traces, go to Sentry", config.traces * 100.0),
    };
    Finding::ok("SENTRY_DSN", found)
}

/// Whether the collector takes an export that holds nothing.
pub async fn otlp(config: &OtlpConfig) -> Vec<Finding> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let Some(endpoint) = &config.endpoint else {
        return vec![Finding::ok(NAME, "off: no traces go to a collector")];
    };
    let place = endpoint.host_str().unwrap_or("the collector").to_owned();
    let http = match Http::new() {
        Ok(http) => http,
        Err(problem) => return vec![Finding::fail(NAME, problem.to_string(), "look at TLS here")],
    };
    let mut request =
        http.client().post(endpoint.clone()).header("content-type", "application/x-protobuf");
    for (name, value) in config.headers.exposed() {
        request = request.header(name, value);
    }
    vec![match http.ask(request).await {
        Ok(answer) if (200..300).contains(&answer.status) => {
            Finding::ok(NAME, format!("{place} took an export within {:.1?}", answer.took))
        }
        Ok(answer) if matches!(answer.status, 401 | 403) => Finding::warn(
            NAME,
            format!("{place} refuses us with {}", answer.status),
            "correct OTEL_EXPORTER_OTLP_HEADERS",
        ),
        Ok(answer) => Finding::warn(
            NAME,
            format!("{place} answered an empty export with {}", answer.status),
            "name a collector that takes OTLP over HTTP, usually port 4318; traces go to /v1/traces",
        ),
        Err(problem) => Finding::warn(
            NAME,
            format!("{place} cannot be reached: {problem}"),
            "start the collector or correct the address; the process works without it",
        ),
    }]
}
