//! `tracing` spans as OpenTelemetry spans, sent over OTLP when a collector is
//! configured and turned into transactions when Sentry is. No work waits for
//! either: what exceeds a queue is dropped.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, SamplingResult,
    SdkTracerProvider, ShouldSample,
};
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use super::sentry::{SentryConfig, Transactions, wants};
use super::{TelemetryError, spans};
use crate::config::{Env, Environment};
use crate::roots::public_roots;

/// How long the end of the process waits for unsent spans.
const FLUSH: Duration = Duration::from_secs(2);

/// The OTLP exporter: OpenTelemetry's standard variables.
#[derive(Debug, Clone)]
pub struct OtlpConfig {
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT` with
    /// `/v1/traces` appended; disabled when unset.
    pub endpoint: Option<Url>,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: sent with every export.
    pub headers: Headers,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: how long an export may take.
    pub timeout: Duration,
    /// `OTEL_SERVICE_NAME`; the binary's name when unset.
    pub service: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`: attributes of every span.
    pub attributes: Vec<(String, String)>,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: Sampler,
    /// `OTEL_BSP_SCHEDULE_DELAY`: between two exports.
    pub delay: Duration,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: the size of the queue; more spans are dropped.
    pub queue: usize,
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`: spans per export.
    pub batch: usize,
}

/// Headers, whose values are secrets.
#[derive(Clone, Default)]
pub struct Headers(Vec<(String, SecretString)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Headers {
    /// The headers as they are sent.
    pub(crate) fn exposed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

impl OtlpConfig {
    pub(super) fn take(env: &mut Env) -> Self {
        let base = env.url("OTEL_EXPORTER_OTLP_ENDPOINT").map(|mut url| {
            let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
            url.set_path(&path);
            url
        });
        let endpoint = env.url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or(base);
        let protocol = env.text("OTEL_EXPORTER_OTLP_PROTOCOL");
        if protocol.is_some_and(|protocol| protocol != "http/protobuf") {
            let problem =
                "must be http/protobuf, the only one here; a collector takes it on port 4318";
            env.error("OTEL_EXPORTER_OTLP_PROTOCOL", problem);
        }
        let headers = pairs(env, "OTEL_EXPORTER_OTLP_HEADERS");
        let headers = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let off = env.flag("OTEL_SDK_DISABLED", false);
        Self {
            endpoint: endpoint.filter(|_| !off),
            headers: Headers(headers),
            timeout: milliseconds(env, "OTEL_EXPORTER_OTLP_TIMEOUT", 10_000),
            service: env.text("OTEL_SERVICE_NAME"),
            attributes: pairs(env, "OTEL_RESOURCE_ATTRIBUTES"),
            sampler: sampler(env),
            delay: milliseconds(env, "OTEL_BSP_SCHEDULE_DELAY", 5_000),
            queue: env.number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, 1..=1_000_000),
            batch: env.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1..=1_000_000),
        }
    }
}

fn milliseconds(env: &mut Env, name: &'static str, default: u64) -> Duration {
    Duration::from_millis(env.number(name, default, 1..=3_600_000))
}

/// `name=value` pairs between commas, values percent-encoded.
fn pairs(env: &mut Env, name: &'static str) -> Vec<(String, String)> {
    let list = env.list(name);
    let mut pairs = Vec::with_capacity(list.len());
    for (n, pair) in list.iter().enumerate() {
        // The value is not repeated, because it may be a key.
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty())
        else {
            env.error(name, format!("entry {} must read name=value", n + 1));
            continue;
        };
        // A form decoder reads + as a space, but a header's value may contain +.
        let value = value.trim().replace('+', "%2B");
        let form = format!("v={value}");
        let decoded = url::form_urlencoded::parse(form.as_bytes()).next();
        let value = decoded.map_or_else(String::new, |(_, value)| value.into_owned());
        pairs.push((key.trim().to_owned(), value));
    }
    pairs
}

fn sampler(env: &mut Env) -> Sampler {
    let name = env.or("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned());
    let share = env.number("OTEL_TRACES_SAMPLER_ARG", 1.0, 0.0..=1.0);
    let (by_parent, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let root = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(share),
        _ => {
            let problem = format!(
                "is {name:?}; must be always_on, always_off or traceidratio, each also with \
                 parentbased_ before it"
            );
            env.error("OTEL_TRACES_SAMPLER", problem);
            Sampler::AlwaysOff
        }
    };
    if by_parent { Sampler::ParentBased(Box::new(root)) } else { root }
}

/// Sends the remaining spans when it is dropped.
pub(super) struct Tracing(SdkTracerProvider);

impl Drop for Tracing {
    fn drop(&mut self) {
        // Spans that cannot be sent within that time are lost, as in a crash.
        let _ = self.0.shutdown_with_timeout(FLUSH);
    }
}

/// Sets up the processing of spans; none when neither export is enabled.
pub(super) fn init(
    config: &OtlpConfig,
    sentry: &SentryConfig,
    environment: Environment,
    service: &'static str,
) -> Result<Option<Tracing>, TelemetryError> {
    if config.endpoint.is_none() && !sentry.traces() {
        return Ok(None);
    }
    let otlp = config.endpoint.is_some().then(|| config.sampler.clone());
    let mut provider = SdkTracerProvider::builder()
        .with_resource(resource(config, &sentry.release, environment, service))
        .with_sampler(Wanted { otlp });
    if sentry.traces() {
        provider = provider.with_span_processor(Transactions::default());
    }
    if let Some(endpoint) = &config.endpoint {
        provider = provider.with_span_processor(exported(config, endpoint)?);
    }
    Ok(Some(Tracing(provider.build())))
}

fn resource(
    config: &OtlpConfig,
    release: &str,
    environment: Environment,
    service: &'static str,
) -> Resource {
    let said = config.attributes.iter();
    let said = said.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.version", release.to_owned()),
            KeyValue::new("deployment.environment.name", environment.as_str()),
        ])
        .with_attributes(said)
        .with_service_name(config.service.clone().unwrap_or_else(|| service.to_owned()))
        .build()
}

fn exported(config: &OtlpConfig, endpoint: &Url) -> Result<BatchSpanProcessor, TelemetryError> {
    let headers = config.headers.0.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    let client = reqwest::blocking::Client::builder()
        .timeout(config.timeout)
        .tls_certs_merge(public_roots())
        .build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(endpoint.as_str())
        .with_timeout(config.timeout)
        .with_headers(headers.collect::<HashMap<_, _>>())
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(config.queue)
        .with_max_export_batch_size(config.batch.min(config.queue))
        .with_scheduled_delay(config.delay)
        .build();
    Ok(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
}

/// The layer that receives our spans.
pub(super) fn layer<S>(tracing: &Tracing) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracing.0.tracer("regimen"))
        // The source location adds nothing to the span's name.
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Log events are not added to spans.
        .with_filter(filter_fn(|met| met.is_span() && met.target() == spans::TARGET))
}

/// The sampler: a span is recorded if OTLP's sampler or Sentry's share keeps it. One that
/// only Sentry keeps is not marked as sampled, so that it is not exported.
#[derive(Debug, Clone)]
struct Wanted {
    otlp: Option<Sampler>,
}

impl ShouldSample for Wanted {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let by_sentry = wants(parent.unwrap_or(&Context::new()), trace);
        let Some(otlp) = &self.otlp else {
            let state = parent.map(|parent| parent.span().span_context().trace_state().clone());
            let decision =
                if by_sentry { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
            let trace_state = state.unwrap_or_default();
            return SamplingResult { decision, attributes: Vec::new(), trace_state };
        };
        let mut result = otlp.should_sample(parent, trace, name, kind, attributes, links);
        if by_sentry && result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}
