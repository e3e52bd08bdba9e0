//! The trace of a request or a job: read from headers, stored with the job,
//! sent on. This works without an exporter too.
//!
//! Everything that a client sends is checked first. Invalid, repeated or
//! oversized headers are ignored. Of baggage, only Sentry's members about the
//! trace itself are kept, never a text about a person.

use std::str::FromStr;

use futures_util::future::Either;
use opentelemetry::Context;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
};

use super::sentry;

/// W3C: version, trace, parent and flags.
pub const TRACEPARENT: &str = "traceparent";
/// W3C: entries that other systems added.
pub const TRACESTATE: &str = "tracestate";
/// W3C: keys and values; Sentry keeps its sampling decision there.
pub const BAGGAGE: &str = "baggage";
/// Sentry: trace, parent and whether the trace is kept.
pub const SENTRY_TRACE: &str = "sentry-trace";

/// The size that W3C requires everybody to pass on, and more than systems usually send.
const STATE_BYTES: usize = 512;
const BAGGAGE_BYTES: usize = 8192;
const TRACEPARENT_BYTES: usize = 256;
/// Baggage keys whose values describe a trace by numbers only.
const BAGGAGE_KEYS: [&str; 4] =
    ["sentry-trace_id", "sentry-sampled", "sentry-sample_rate", "sentry-sample_rand"];
const BAGGAGE_VALUE_BYTES: usize = 32;

/// A trace, and the span in it that is the parent of the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceContext {
    span: SpanContext,
    upstream: Upstream,
}

/// What came with the trace beside W3C's headers, and is passed on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Upstream {
    /// Whether the upstream Sentry keeps the trace, if it has decided.
    pub(super) kept: Option<bool>,
    baggage: Option<String>,
}

impl TraceContext {
    /// Reads the headers that `get` finds by name in lower case; none if a header is
    /// missing or repeated.
    pub fn from_headers<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let of_sentry = get(SENTRY_TRACE).and_then(read_sentry_trace);
        let of_w3c = get(TRACEPARENT).and_then(read_traceparent);
        let (trace, span, flags) = of_w3c.or(of_sentry.map(|(trace, span, kept)| {
            let sampled = kept.unwrap_or_default();
            (trace, span, TraceFlags::default().with_sampled(sampled))
        }))?;
        let kept = of_sentry.filter(|(its, ..)| *its == trace).and_then(|(.., kept)| kept);
        let state = get(TRACESTATE).filter(|_| of_w3c.is_some()).map(read_state);
        let baggage = get(BAGGAGE).and_then(|baggage| filtered(baggage, trace));
        Some(Self {
            span: SpanContext::new(trace, span, flags, true, state.unwrap_or_default()),
            upstream: Upstream { kept, baggage },
        })
    }

    /// Parses what [`TraceContext::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        let find = |wanted: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(name, _)| *name == wanted).map(|(_, value)| value)
        };
        Self::from_headers(find)
    }

    /// The trace of this task, with its current span as the parent.
    pub fn current() -> Option<Self> {
        let context = Context::current();
        let span = context.span().span_context().clone();
        let upstream = context.get::<Upstream>().cloned().unwrap_or_default();
        let kept = sentry::keeps(span.trace_id(), upstream.kept);
        span.is_valid().then_some(Self { span, upstream: Upstream { kept, ..upstream } })
    }

    /// Header lines, to be stored with a job.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let state = self.span.trace_state().header();
        let state = Some((TRACESTATE, state)).filter(|(_, state)| !state.is_empty());
        for (name, value) in self.headers().into_iter().chain(state) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(name);
            text.push_str(": ");
            text.push_str(&value);
        }
        text
    }

    /// The headers for another server: the trace only.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let (trace, span) = (self.span.trace_id(), self.span.span_id());
        let kept = match self.upstream.kept {
            Some(true) => "-1",
            Some(false) => "-0",
            None => "",
        };
        let mut headers = vec![
            (TRACEPARENT, self.traceparent()),
            (SENTRY_TRACE, format!("{trace:032x}-{span:016x}{kept}")),
        ];
        headers.extend(self.upstream.baggage.clone().map(|baggage| (BAGGAGE, baggage)));
        headers
    }

    /// W3C's header alone.
    pub fn traceparent(&self) -> String {
        let (trace, span) = (self.span.trace_id(), self.span.span_id());
        format!("00-{trace:032x}-{span:016x}-{:02x}", self.span.trace_flags())
    }

    /// The trace's id.
    pub fn trace_id(&self) -> TraceId {
        self.span.trace_id()
    }

    /// The span, for links to it.
    pub(super) fn span(&self) -> &SpanContext {
        &self.span
    }
}

/// Runs `work` in an upstream trace: spans of `work` continue it.
pub async fn within<F: Future>(trace: Option<TraceContext>, work: F) -> F::Output {
    let work = match trace {
        Some(TraceContext { span, upstream }) => {
            let context = Context::new().with_remote_span_context(span).with_value(upstream);
            Either::Left(work.with_context(context))
        }
        None => Either::Right(work),
    };
    work.await
}

fn read_traceparent(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let known = match version {
        "00" => parts.next().is_none(),
        "ff" => false,
        // A later version may have more fields.
        _ => version.len() == 2 && is_hex(version) && text.len() <= TRACEPARENT_BYTES,
    };
    if !known || flags.len() != 2 || !is_hex(flags) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some((trace_id(trace)?, span_id(span)?, flags))
}

fn read_sentry_trace(text: &str) -> Option<(TraceId, SpanId, Option<bool>)> {
    let mut parts = text.trim().split('-');
    let (trace, span, kept) = (parts.next()?, parts.next()?, parts.next());
    let kept = match kept {
        Some("1") => Some(true),
        Some("0") => Some(false),
        Some(_) => return None,
        None => None,
    };
    if parts.next().is_some() {
        return None;
    }
    Some((trace_id(trace)?, span_id(span)?, kept))
}

fn trace_id(text: &str) -> Option<TraceId> {
    let id = (text.len() == 32 && is_hex(text)).then(|| TraceId::from_hex(text).ok())??;
    (id != TraceId::INVALID).then_some(id)
}

fn span_id(text: &str) -> Option<SpanId> {
    let id = (text.len() == 16 && is_hex(text)).then(|| SpanId::from_hex(text).ok())??;
    (id != SpanId::INVALID).then_some(id)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn read_state(text: &str) -> TraceState {
    if text.len() > STATE_BYTES || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return TraceState::default();
    }
    TraceState::from_str(text).unwrap_or_default()
}

/// The baggage that may be passed on.
fn filtered(text: &str, trace: TraceId) -> Option<String> {
    if text.len() > BAGGAGE_BYTES {
        return None;
    }
    let trace = format!("{trace:032x}");
    let mut kept = String::new();
    for key in BAGGAGE_KEYS {
        let mut members = text.split(',').filter_map(|member| member.split_once('='));
        let Some((_, value)) = members.find(|(name, _)| name.trim() == key) else { continue };
        let value = value.split(';').next().unwrap_or_default().trim();
        let is_plain = match key {
            "sentry-trace_id" => value == trace,
            "sentry-sampled" => matches!(value, "true" | "false"),
            _ => {
                value.len() <= BAGGAGE_VALUE_BYTES
                    && value.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number))
            }
        };
        if is_plain {
            if !kept.is_empty() {
                kept.push(',');
            }
            kept.push_str(key);
            kept.push('=');
            kept.push_str(value);
        }
    }
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const SENTRY: &str = "0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-0";

    fn read(headers: &[(&str, &str)]) -> Option<TraceContext> {
        let headers: Vec<(String, String)> =
            headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        TraceContext::from_headers(|wanted| {
            headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        })
    }

    #[test]
    fn both_kinds_of_headers_name_one_trace() {
        let both = read(&[(TRACEPARENT, PARENT), (SENTRY_TRACE, SENTRY)]).unwrap();
        assert_eq!(both.traceparent(), PARENT);
        // W3C names the parent, Sentry says that it does not keep the trace.
        let sent = both.headers();
        assert_eq!(sent[1], (SENTRY_TRACE, format!("{TRACE}-b7ad6b7169203331-0")));
        let alone = read(&[(SENTRY_TRACE, SENTRY)]).unwrap();
        assert_eq!(alone.traceparent(), format!("00-{TRACE}-00f067aa0ba902b7-00"));
        let undecided = read(&[(SENTRY_TRACE, &SENTRY[..49])]).unwrap();
        assert_eq!(undecided.headers()[1].1, SENTRY[..49]);
        // A decision about another trace says nothing of this one.
        let other = SENTRY.replace("0af7", "1af7");
        let other = read(&[(TRACEPARENT, PARENT), (SENTRY_TRACE, &other)]).unwrap();
        assert_eq!(other.upstream.kept, None);
    }

    #[test]
    fn bad_headers_are_none() {
        let long = "a".repeat(100_000);
        let bad = [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é1",
            "00-x'; drop table jobs; --",
            &long,
        ];
        for text in bad {
            assert_eq!(read(&[(TRACEPARENT, text)]), None, "{}", text.get(..60).unwrap_or(text));
            assert_eq!(read(&[(SENTRY_TRACE, text)]), None);
        }
        // A valid one beside a bad one counts.
        assert!(read(&[(TRACEPARENT, &long), (SENTRY_TRACE, SENTRY)]).is_some());
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes";
        assert_eq!(read(&[(TRACEPARENT, later)]).unwrap().traceparent(), PARENT);
    }

    #[test]
    fn of_baggage_only_numbers_about_the_trace_stay() {
        let full = format!(
            "user_email=ana@example.test,sentry-trace_id={TRACE},sentry-sample_rate=0.25;p=1, \
             sentry-sampled=true,sentry-sample_rand=peanuts,sentry-user_id=7,sentry-transaction=x"
        );
        let read_it = read(&[(TRACEPARENT, PARENT), (BAGGAGE, &full)]).unwrap();
        let wanted = format!("sentry-trace_id={TRACE},sentry-sampled=true,sentry-sample_rate=0.25");
        assert_eq!(read_it.upstream.baggage, Some(wanted));
        let strange = "sentry-trace_id=peanuts,sentry-sample_rate=nan,sentry-sampled=1";
        assert_eq!(
            read(&[(TRACEPARENT, PARENT), (BAGGAGE, strange)]).unwrap().upstream.baggage,
            None
        );
    }

    #[test]
    fn what_is_kept_with_a_job_is_read_again() {
        let headers = [
            (TRACEPARENT, PARENT),
            (SENTRY_TRACE, SENTRY),
            (TRACESTATE, "vendor=opaque,other=1"),
            (BAGGAGE, "sentry-sampled=false"),
        ];
        let trace = read(&headers).unwrap();
        assert_eq!(TraceContext::from_text(&trace.to_text()), Some(trace.clone()));
        assert!(trace.to_text().contains("\ntracestate: vendor=opaque,other=1"));
        // What vendors added stays in our own systems.
        assert!(trace.headers().iter().all(|(name, _)| *name != TRACESTATE));
        assert_eq!(TraceContext::from_text("00-a-b-01"), None);
        let oversized = format!("a={}", "b".repeat(600));
        let without = read(&[(TRACEPARENT, PARENT), (TRACESTATE, &oversized)]).unwrap();
        assert_eq!(without.span.trace_state().header(), "");
    }

    #[tokio::test]
    async fn without_exporters_what_came_in_is_passed_on() {
        assert_eq!(TraceContext::current(), None);
        let trace = read(&[(TRACEPARENT, PARENT), (BAGGAGE, "sentry-sampled=true")]);
        let seen = within(trace.clone(), async { TraceContext::current() }).await;
        assert_eq!(seen, trace);
        assert_eq!(within(None, async { TraceContext::current() }).await, None);
    }
}
