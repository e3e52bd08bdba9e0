//! Sentry: errors, and the traces of a share of requests and jobs.
//!
//! Reported are every line of ours at ERROR, every line with the field
//! `incident`, and every panic. Never sent is the text of an error or a panic,
//! which may quote a database or a host, and with it a quiz. The event names
//! the source location, ids and codes; the log has the text, under the same
//! trace. Repeated events are reported ten times a minute.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::Either;
use opentelemetry::trace::{SpanId, Status, TraceContextExt, TraceId};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use secrecy::{ExposeSecret, SecretString};
use sentry::integrations::backtrace::ProcessStacktraceIntegration;
use sentry::integrations::contexts::ContextIntegration;
use sentry::integrations::panic::PanicIntegration;
use sentry::integrations::tower::NewSentryLayer;
use sentry::integrations::tracing::ErrorLayer;
use sentry::protocol::{self, Event, SpanStatus};
use sentry::transports::ReqwestHttpTransportOptions;
use sentry::{
    ClientInitGuard, ClientOptions, Hub, SentryFutureExt, TransactionContext, TransactionOrSpan,
    Transport, TransportFactory, TransportOptions,
};
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

use super::TelemetryError;
use super::trace_context::Upstream;
use crate::config::{Env, Environment};
use crate::roots::public_roots;

/// How long the end of the process waits for unsent reports.
const FLUSH: Duration = Duration::from_secs(2);
/// The time limit of one report: the end of the process waits for the current one,
/// whatever [`FLUSH`] says.
const REQUEST: Duration = Duration::from_secs(4);
/// Reports of one fingerprint in one [`WINDOW`].
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// The highest number of fingerprints; there are fewer places that report.
const FINGERPRINTS: usize = 1_000;
/// The fields of a line that are sent: codes and ids only.
const FIELDS: [&str; 22] = [
    "incident",
    "job_id",
    "event_id",
    "request_id",
    "consumer",
    "worker",
    "code",
    "alert",
    "class",
    "provider",
    "status",
    "step",
    "reason",
    "what",
    "budget",
    "attempts",
    "queue",
    "stage",
    "kind",
    "n",
    "jobs",
    "deliveries",
];
/// Of those, the ones with few values, which distinguish issues.
const GROUPING: [&str; 7] = ["incident", "code", "alert", "class", "provider", "step", "consumer"];

/// The settings of Sentry.
#[derive(Debug, Clone)]
pub struct SentryConfig {
    /// `SENTRY_DSN`: where errors are reported; disabled when unset.
    pub dsn: Option<SecretString>,
    /// `SENTRY_TRACES_SAMPLE_RATE`: share of requests and jobs traced, 0 to 1.
    pub traces: f64,
    /// `SENTRY_RELEASE`: the running version.
    pub release: String,
}

const DSN: &str = "SENTRY_DSN";

impl SentryConfig {
    pub(super) fn take(env: &mut Env) -> Self {
        let release = concat!("regimen@", env!("CARGO_PKG_VERSION")).to_owned();
        let dsn = env.secret(DSN).filter(|dsn| {
            let sound = dsn.expose_secret().parse::<sentry::types::Dsn>().is_ok();
            if !sound {
                env.error(DSN, "is not a Sentry DSN; write it as https://key@host/project");
            }
            sound
        });
        Self {
            dsn,
            traces: env.number("SENTRY_TRACES_SAMPLE_RATE", 0.1, 0.0..=1.0),
            release: env.or("SENTRY_RELEASE", release),
        }
    }

    /// Whether any trace goes to Sentry.
    pub(super) fn traces(&self) -> bool {
        self.dsn.is_some() && self.traces > 0.0
    }
}

/// The share of kept traces; set if Sentry gets any.
static TRACES: OnceLock<f64> = OnceLock::new();

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
    let client =
        reqwest::Client::builder().timeout(REQUEST).tls_certs_merge(public_roots()).build()?;
    let limiter = Limiter::default();
    let options = ClientOptions::new()
        .dsn(dsn)
        .release(Cow::Owned(config.release.clone()))
        .environment(Cow::Borrowed(environment.as_str()))
        .traces_sample_rate(config.traces as f32)
        .shutdown_timeout(FLUSH)
        // Panics are reported by our own hook: the crate's waits until Sentry has the
        // report, and would block a thread of the runtime.
        .default_integrations(false)
        .add_integration(ContextIntegration::new())
        .add_integration(ProcessStacktraceIntegration::new())
        .transport(OverClient(client))
        .before_send(move |event| limiter.admit(scrubbed(event)));
    let guard = sentry::init(options);
    sentry::configure_scope(|scope| {
        scope.set_tag("service", service);
        scope.add_event_processor(|event| Some(in_its_trace(event)));
    });
    if config.traces() {
        TRACES.get_or_init(|| config.traces);
    }
    report_panics();
    Ok(Some(guard))
}

/// Sends with our own HTTP client, which trusts Mozilla's roots too.
struct OverClient(reqwest::Client);

impl TransportFactory for OverClient {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let options = ReqwestHttpTransportOptions::from(options);
        Arc::new(options.with_client(self.0.clone()).build())
    }
}

/// Reports each panic without waiting; the transport's thread sends it.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let (next, events) = (panic::take_hook(), PanicIntegration::new());
        panic::set_hook(Box::new(move |info| {
            Hub::with_active(|hub| hub.capture_event(events.event_from_panic_info(info)));
            next(info);
        }));
    });
}

/// The layer that turns log lines into events.
pub(super) fn layer<S>() -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    ErrorLayer::new().with_filter(filter_fn(|line| {
        let is_ours = line.target().starts_with("regimen");
        let matters = *line.level() == Level::ERROR || line.fields().field("incident").is_some();
        is_ours && line.is_event() && matters
    }))
}

/// A separate hub per request, if Sentry is enabled.
pub fn hub_per_request<Request>() -> Option<NewSentryLayer<Request>> {
    is_on().then(NewSentryLayer::new_from_top)
}

fn is_on() -> bool {
    Hub::main().client().is_some()
}

/// The job or request of a report.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The name that reports and transactions are grouped by.
    pub name: String,
    /// Its user: the id, and no other personal data.
    pub user: Option<Uuid>,
    /// The name of the context with the facts.
    pub context: &'static str,
    /// Ids and codes.
    pub facts: Vec<(&'static str, String)>,
}

tokio::task_local! {
    static FACTS: RefCell<(&'static str, BTreeMap<String, protocol::Value>)>;
}

/// Runs `work` under its own hub, if Sentry is enabled.
pub async fn apart<F: Future>(subject: impl FnOnce() -> Subject, work: F) -> F::Output {
    let work = if is_on() {
        let (subject, hub) = (subject(), Arc::new(Hub::new_from_top(Hub::current())));
        let facts: BTreeMap<_, _> =
            subject.facts.into_iter().map(|(name, fact)| (name.to_owned(), fact.into())).collect();
        hub.configure_scope(|scope| {
            scope.set_transaction(Some(&subject.name));
            scope.set_user(subject.user.map(user));
            scope.set_context(subject.context, protocol::Context::Other(facts.clone()));
        });
        Either::Left(FACTS.scope(RefCell::new((subject.context, facts)), work).bind_hub(hub))
    } else {
        Either::Right(work)
    };
    work.await
}

/// Adds facts to the subject of [`apart`].
pub fn note<const N: usize>(noted: [(&str, &str); N]) {
    // Nothing to add to if Sentry is disabled.
    let _ = FACTS.try_with(|facts| {
        let (context, facts) = &mut *facts.borrow_mut();
        facts.extend(noted.map(|(name, fact)| (name.to_owned(), fact.into())));
        let facts = protocol::Context::Other(facts.clone());
        sentry::configure_scope(|scope| scope.set_context(context, facts));
    });
}

/// Names the request whose hub this is: its method and route.
pub fn name_request(method: &str, route: &str) {
    if is_on() {
        let name = format!("{method} {route}");
        sentry::configure_scope(|scope| scope.set_transaction(Some(&name)));
    }
}

/// Sets the user of the request.
pub fn name_user(id: Uuid) {
    if is_on() {
        sentry::configure_scope(|scope| scope.set_user(Some(user(id))));
    }
}

fn user(id: Uuid) -> protocol::User {
    protocol::User { id: Some(id.to_string()), ..Default::default() }
}

/// Adds a breadcrumb for later reports of the same job.
pub fn breadcrumb(category: &str, message: &str, data: &[(&str, protocol::Value)]) {
    if !is_on() {
        return;
    }
    let data = data.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    sentry::add_breadcrumb(protocol::Breadcrumb {
        category: Some(category.to_owned()),
        message: Some(message.to_owned()),
        data,
        ..Default::default()
    });
}

/// Removes everything that may identify a person, quote their answers or reveal a secret.
fn scrubbed(mut event: Event<'static>) -> Event<'static> {
    event.request = None;
    event.extra.clear();
    event.logentry = None;
    for exception in &mut event.exception {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        if exception.ty.len() > 60 || !exception.ty.bytes().all(is_name) {
            exception.ty = "error".to_owned();
        }
        exception.value = Some("its words are in the log of this process".to_owned());
    }
    let mut grouping = Vec::new();
    if let Some(protocol::Context::Other(fields)) = event.contexts.get_mut("Rust Tracing Fields") {
        fields.retain(|name, _| FIELDS.contains(&name.as_str()));
        let values = GROUPING.iter().filter_map(|name| fields.get(*name)?.as_str());
        grouping.extend(values.map(str::to_owned));
    }
    // A panic is grouped by its source location, which is Sentry's default.
    if let Some(message) = &event.message {
        let steady = message.chars().filter(|char| !char.is_ascii_digit()).take(120).collect();
        let logger = event.logger.clone().unwrap_or_default();
        let fingerprint = [logger, steady].into_iter().chain(grouping);
        event.fingerprint = fingerprint.map(Cow::Owned).collect();
    }
    event
}

/// Names the trace in which the event happened.
fn in_its_trace(mut event: Event<'static>) -> Event<'static> {
    let context = Context::current();
    let span = context.span().span_context().clone();
    if span.is_valid() {
        let trace = protocol::TraceContext {
            trace_id: span.trace_id().to_bytes().into(),
            span_id: span.span_id().to_bytes().into(),
            ..Default::default()
        };
        event.contexts.insert("trace".to_owned(), trace.into());
    }
    event
}

/// Limits the reports so that Sentry shows every issue without a flood.
#[derive(Default)]
struct Limiter(Mutex<HashMap<String, (Instant, u32)>>);

impl Limiter {
    fn admit(&self, event: Event<'static>) -> Option<Event<'static>> {
        let key = key(&event);
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= FINGERPRINTS && !windows.contains_key(&key) {
            windows.clear();
        }
        let (since, count) = windows.entry(key).or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        let fits = *count <= MOST;
        drop(windows);
        if !fits {
            metrics::counter!("regimen_sentry_events_held_back_total").increment(1);
        }
        fits.then_some(event)
    }
}

/// The key by which events count as repeated.
fn key(event: &Event<'_>) -> String {
    if event.message.is_some() {
        return event.fingerprint.join("\n");
    }
    let traces = event.exception.iter().filter_map(|exception| exception.stacktrace.as_ref());
    let mut frames = traces.flat_map(|trace| trace.frames.iter().rev());
    let place = frames.find(|frame| frame.in_app == Some(true));
    place.and_then(|frame| frame.function.clone()).unwrap_or_default()
}

/// Whether Sentry keeps a trace: by the upstream decision, else by a fixed share of the
/// ids, so that every process decides the same. Without a share of our own the upstream
/// decision is passed on.
pub(super) fn keeps(trace: TraceId, upstream: Option<bool>) -> Option<bool> {
    let Some(share) = TRACES.get() else { return upstream };
    upstream.or_else(|| Some(in_share(trace, *share)))
}

fn in_share(trace: TraceId, share: f64) -> bool {
    let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
    let draw = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (draw as f64) < share * (u64::MAX as f64) || share >= 1.0
}

/// Whether Sentry keeps the span that begins in `parent`.
pub(super) fn wants(parent: &Context, trace: TraceId) -> bool {
    TRACES.get().is_some()
        && keeps(trace, parent.get::<Upstream>().and_then(|upstream| upstream.kept)) == Some(true)
}

/// Turns spans into Sentry's transactions. The crate `sentry-opentelemetry` does the same
/// for an older SDK, and uses a span's name as its operation.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: Mutex<HashMap<SpanId, TransactionOrSpan>>,
}

impl Transactions {
    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<SpanId, TransactionOrSpan>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attribute with Sentry's name for the kind of a span.
const OPERATION: &str = "sentry.op";

impl SpanProcessor for Transactions {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        let Some(data) = span.exported_data() else { return };
        let (trace, id) = (data.span_context.trace_id(), data.span_context.span_id());
        if !wants(parent, trace) {
            return;
        }
        let operation = data.attributes.iter().find(|pair| pair.key.as_str() == OPERATION);
        let operation = operation.map_or(Cow::Borrowed("default"), |pair| pair.value.as_str());
        let (own, started) = (id.to_bytes().into(), data.start_time);
        let mut open = self.open();
        let begun = match open.get(&data.parent_span_id) {
            Some(parent) => {
                let child = parent.start_child_with_details(&operation, &data.name, own, started);
                TransactionOrSpan::Span(child)
            }
            None => {
                let above = data.parent_span_id;
                let above = (above != SpanId::INVALID).then(|| above.to_bytes().into());
                let context = TransactionContext::builder(&data.name, &operation)
                    .with_trace_id(trace.to_bytes().into())
                    .with_span_id(own)
                    .with_parent_span_id(above)
                    .with_sampled(Some(true))
                    .finish();
                sentry::start_transaction_with_timestamp(context, started).into()
            }
        };
        open.insert(id, begun);
    }

    fn on_end(&self, data: SpanData) {
        let Some(span) = self.open().remove(&data.span_context.span_id()) else { return };
        for pair in data.attributes {
            if pair.key.as_str() != OPERATION {
                span.set_data(pair.key.as_str(), json(&pair.value));
            }
        }
        span.set_status(match data.status {
            Status::Error { .. } => SpanStatus::InternalError,
            Status::Unset | Status::Ok => SpanStatus::Ok,
        });
        span.finish_with_timestamp(data.end_time);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn json(value: &Value) -> protocol::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        other => other.as_str().into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str, field: &str) -> Event<'static> {
        let fields = [("incident", field), ("error", "peanuts"), ("detail", "peanuts")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.into()));
        let fields = protocol::Context::Other(fields.into());
        Event {
            message: Some(message.to_owned()),
            logger: Some("regimen_worker::jobs".to_owned()),
            contexts: [("Rust Tracing Fields".to_owned(), fields)].into(),
            exception: vec![protocol::Exception {
                ty: "\"peanuts\"".to_owned(),
                value: Some("peanuts".to_owned()),
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        }
    }

    #[test]
    fn words_of_errors_stay_here_and_codes_group() {
        let scrubbed_event = scrubbed(event("job 17 failed", "internal"));
        let text = serde_json::to_string(&scrubbed_event).unwrap();
        assert!(!text.contains("peanuts"), "{text}");
        let wanted = ["regimen_worker::jobs", "job  failed", "internal"];
        assert_eq!(scrubbed_event.fingerprint.as_ref(), wanted);
        assert_eq!(scrubbed(event("job 18 failed", "internal")).fingerprint.as_ref(), wanted);
    }

    #[test]
    fn a_flood_of_one_event_leaves_room_for_another() {
        let limiter = Limiter::default();
        let admitted = |field: &str| {
            let events = (0..100).filter_map(|_| limiter.admit(scrubbed(event("failed", field))));
            events.count()
        };
        assert_eq!((admitted("a"), admitted("b"), admitted("a")), (10, 10, 0));
        for n in 0..5_000_u32 {
            let name = char::from_u32(0x4e00 + n).unwrap().to_string();
            limiter.admit(scrubbed(event("failed", &name)));
        }
        assert!(limiter.0.lock().unwrap().len() <= FINGERPRINTS);
    }

    #[test]
    fn a_share_of_ids_is_kept() {
        let trace = |draw: u64| TraceId::from_bytes(u128::from(draw).to_be_bytes());
        assert!(in_share(trace(0), 0.1) && !in_share(trace(u64::MAX / 2), 0.1));
        assert!(in_share(trace(u64::MAX), 1.0) && !in_share(trace(1), 0.0));
    }
}
