//! Every span of a trace, with the names of OpenTelemetry's semantic
//! conventions. They are `tracing` spans under their own target, so that the
//! log does not repeat them and none is made while neither Sentry nor OTLP is
//! enabled. They contain no personal data.

use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Array, Context, KeyValue, Value};
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::trace_context::TraceContext;

/// The target of these spans only.
pub const TARGET: &str = "regimen::trace";

/// The messaging system: the rows are the messages.
const QUEUE: &str = "postgresql";

/// A request, named by its route.
pub fn request(method: &'static str, route: &str) -> Span {
    info_span!(
        target: TARGET, "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        sentry.op = "http.server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// The response to a request.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        failed(span, &status.to_string());
    }
}

/// Jobs being enqueued.
pub fn send(destination: &'static str, jobs: usize) -> Span {
    info_span!(
        target: TARGET, "send",
        otel.name = format!("send {destination}"),
        otel.kind = "producer",
        sentry.op = "queue.publish",
        messaging.system = QUEUE,
        messaging.operation.name = "send",
        messaging.operation.r#type = "send",
        messaging.destination.name = destination,
        messaging.batch.message_count = i64::try_from(jobs).unwrap_or(i64::MAX),
    )
}

/// One round of a job. It belongs to the trace of the request that created it, and is
/// linked to the span that enqueued it.
pub fn process(destination: &'static str, job: &str, sent: Option<&TraceContext>) -> Span {
    let span = info_span!(
        target: TARGET, "process",
        otel.name = format!("process {destination}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        sentry.op = "queue.process",
        messaging.system = QUEUE,
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = destination,
        messaging.message.id = job,
        "error.type" = Empty,
    );
    if let Some(sent) = sent {
        span.add_link(sent.span().clone());
    }
    span
}

/// One call to a provider.
pub fn attempt(provider: &'static str, model: &str, max_tokens: u32) -> Span {
    info_span!(
        target: TARGET, "attempt",
        otel.name = format!("chat {model}"),
        otel.kind = "client",
        otel.status_code = Empty,
        sentry.op = "gen_ai.chat",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.request.max_tokens = i64::from(max_tokens),
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        "error.type" = Empty,
    )
}

/// The result of a call.
pub fn replied(span: &Span, model: &str, finish: &str, input: u64, output: u64) {
    if span.is_disabled() {
        return;
    }
    let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    span.record("gen_ai.response.model", model);
    // A list, by convention.
    let reasons = Array::String(vec![finish.to_owned().into()]);
    span.set_attribute("gen_ai.response.finish_reasons", Value::Array(reasons));
    span.record("gen_ai.usage.input_tokens", count(input));
    span.record("gen_ai.usage.output_tokens", count(output));
}

/// The judgement of a reply.
pub fn verify() -> Span {
    info_span!(
        target: TARGET, "verify plan",
        sentry.op = "function",
    )
}

/// The result of a judgement, on its own span.
pub fn verified(outcome: &'static str, violations: usize) {
    Context::map_current(|context| {
        let (span, violations) = (context.span(), i64::try_from(violations).unwrap_or(i64::MAX));
        span.set_attribute(KeyValue::new("regimen.verification.outcome", outcome));
        span.set_attribute(KeyValue::new("regimen.verification.violations", violations));
    });
}

/// Marks the current span of this task as failed.
pub fn fail_current(error_type: &'static str) {
    Context::map_current(|context| {
        context.span().set_attribute(KeyValue::new("error.type", error_type));
        context.span().set_status(Status::error(error_type));
    });
}

/// One transaction in Postgres, named by its operation and its table.
pub fn query(operation: &'static str, table: &'static str) -> Span {
    info_span!(
        target: TARGET, "query",
        otel.name = format!("{operation} {table}"),
        otel.kind = "client",
        otel.status_code = Empty,
        sentry.op = "db",
        db.system.name = "postgresql",
        db.operation.name = operation,
        db.collection.name = table,
        "error.type" = Empty,
    )
}

/// Marks a span as failed, with a code from a small set.
pub fn failed(span: &Span, error_type: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error_type);
}
