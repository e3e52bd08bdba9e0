//! Log lines: one JSON object per event, or text for a terminal; which lines
//! are written, and by which thread.
//!
//! No line has a field twice: the fields of its spans are merged with those of
//! the event, and the innermost value takes precedence. Threads of the runtime
//! only queue lines for the log's own thread. When that cannot keep up, lines
//! are dropped and counted; logging does not block.

use std::fmt;
use std::io::{self, BufWriter, Stdout, Write};
use std::panic::PanicHookInfo;
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::Serializer as _;
use serde::ser::SerializeMap;
use serde_json::Value;
use sha2::Sha256;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use uuid::Uuid;

use super::trace_context::TraceContext;
use crate::clock::Clock;
use crate::config::Env;

/// Lines that may be queued: some megabytes.
const WAITING_LINES: usize = 16_384;
/// How long lines gather before they are written, where so many come within this time.
const GATHERING: Duration = Duration::from_millis(10);
const MANY_LINES: usize = 20;
/// How long the end of the process waits for unwritten lines.
const LAST_LINES: Duration = Duration::from_millis(1_500);
/// A shorter key could be guessed, and users identified by trying their ids.
const SHORTEST_KEY: usize = 32;
/// More than most lines have.
const LINE_BYTES: usize = 512;
/// The fields that every line begins with. A field of the same name gets an underscore.
const OWN: [&str; 4] = ["timestamp", "level", "message", "target"];

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for a terminal.
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

/// Reads `LOG_USER_KEY`.
pub(super) fn user_key(env: &mut Env) -> Option<SecretString> {
    let key = env.secret("LOG_USER_KEY")?;
    if key.expose_secret().len() < SHORTEST_KEY {
        let problem = format!(
            "must have at least {SHORTEST_KEY} characters; `openssl rand -hex 32` makes such a key"
        );
        env.error("LOG_USER_KEY", problem);
    }
    Some(key)
}

/// The writing thread. Queued lines are written when this is dropped, as far as they are
/// read in time.
pub(super) struct Lines {
    thread: Option<WorkerGuard>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        let (thread, (done, ended)) = (self.thread.take(), mpsc::channel::<()>());
        // On its own thread: the guard prints to standard output when its thread does not
        // respond, and would block forever if standard output is not read.
        let flush = move || {
            drop(thread);
            drop(done);
        };
        if std::thread::Builder::new().spawn(flush).is_ok() {
            let _ = ended.recv_timeout(LAST_LINES);
        }
    }
}

/// The log's thread flushes when no line is left, and then waits for one. With many requests
/// it would be woken with nearly every line, which costs a request's thread more than all
/// else of a line; so where many lines come, they gather for a moment.
struct Batches {
    out: BufWriter<Stdout>,
    lines: usize,
    since: Instant,
}

impl Batches {
    fn new(out: Stdout) -> Self {
        Self { out: BufWriter::new(out), lines: 0, since: Instant::now() }
    }
}

impl Write for Batches {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines += 1;
        self.out.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        let many = self.lines >= MANY_LINES;
        if many && self.since.elapsed() < GATHERING {
            std::thread::sleep(GATHERING);
        }
        if many || self.since.elapsed() >= GATHERING {
            (self.lines, self.since) = (0, Instant::now());
        }
        Ok(())
    }
}

static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Dropped lines, because the log was not read fast enough.
pub(super) fn lost() -> u64 {
    LOST.get().map_or(0, |lost| lost.dropped_lines() as u64)
}

/// A layer that writes the lines of the targets and levels of `filter` to standard
/// output.
pub(super) fn layer(
    format: LogFormat,
    filter: &str,
    user_key: Option<&SecretString>,
) -> (Box<dyn Layer<Registry> + Send + Sync>, Lines) {
    if let Some(key) = user_key {
        // An error means that it was set before.
        let _ = USER_KEY.set(key.expose_secret().as_bytes().to_vec());
    }
    let (writer, thread) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(Batches::new(std::io::stdout()));
    // As above.
    let _ = LOST.set(writer.error_counter());
    let filter = EnvFilter::new(filter)
        .and(filter_fn(|event| *event.level() <= Level::INFO || !spells_out_data(event.target())));
    let lines = match format {
        LogFormat::Json => JsonLines { writer }.and_then(CountLines).with_filter(filter).boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .and_then(CountLines)
            .with_filter(filter)
            .boxed(),
    };
    (lines, Lines { thread: Some(thread) })
}

/// Whether the crate behind `target` logs data at debug level: the driver logs every
/// parameter, and with it quizzes and e-mail addresses.
fn spells_out_data(target: &str) -> bool {
    target == "tokio_postgres" || target.starts_with("tokio_postgres::")
}

/// Logs panics instead of printing them to standard error.
///
/// A panic's message is logged only if it is a literal in the source: others may quote
/// user data.
pub(super) fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let location = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        // Its own target, because Sentry has the panic already.
        tracing::error!(
            target: "panic",
            location,
            thread = thread.name(),
            said = panic.payload().downcast_ref::<&'static str>(),
            "a panic: a defect; report it with its place"
        );
    }));
}

/// Counts lines by their level.
struct CountLines;

impl<S: Subscriber> Layer<S> for CountLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        ::metrics::counter!("regimen_log_lines_total", "level" => level).increment(1);
    }
}

/// Writes each event as one JSON object per line.
struct JsonLines<W> {
    writer: W,
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        for span in spans {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span.0.iter().for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        event.record(&mut fields);
        if let Some(trace) = TraceContext::current() {
            fields.set("trace_id", trace.trace_id().to_string().into());
        }
        // A failure counts as a lost line.
        if let Ok(line) = line(event.metadata(), fields) {
            let _ = self.writer.make_writer().write_all(&line);
        }
    }
}

fn line(metadata: &Metadata<'_>, mut fields: Fields) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(LINE_BYTES);
    let mut json = serde_json::Serializer::new(&mut line);
    let mut entries = json.serialize_map(None)?;
    let now = Clock::system().now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let [timestamp, level, message, target] = OWN;
    entries.serialize_entry(timestamp, &now)?;
    entries.serialize_entry(level, metadata.level().as_str())?;
    entries.serialize_entry(message, &fields.take(message).unwrap_or_default())?;
    entries.serialize_entry(target, metadata.target())?;
    for (name, value) in &fields.0 {
        if OWN.contains(name) {
            entries.serialize_entry(&format!("{name}_"), value)?;
        } else {
            entries.serialize_entry(name, value)?;
        }
    }
    SerializeMap::end(entries)?;
    line.push(b'\n');
    Ok(line)
}

/// The fields of a span or an event, each name once.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        self.set(name.strip_prefix("r#").unwrap_or(name), value.into());
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, earlier)) => *earlier = value,
            None => self.0.push((name, value)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(place).1)
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

static USER_KEY: OnceLock<Vec<u8>> = OnceLock::new();

/// A user's name in the log: the same in every line, and not identifiable without the
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserHash([u8; 8]);

impl UserHash {
    /// The hash of a user's id.
    pub fn of(user: Uuid) -> Self {
        let key = USER_KEY.get_or_init(|| rand::random::<[u8; 32]>().to_vec());
        Self::with(key, user)
    }

    fn with(key: &[u8], user: Uuid) -> Self {
        let mut hash = [0; 8];
        // HMAC takes a key of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
            mac.update(user.as_bytes());
            hash.copy_from_slice(&mac.finalize().into_bytes()[..8]);
        }
        Self(hash)
    }
}

impl fmt::Display for UserHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(log: impl FnOnce()) -> String {
        let written = Written::default();
        let kept = written.clone();
        let lines = JsonLines { writer: move || kept.clone() };
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_says_each_field_once_and_the_innermost_counts() {
        let text = written(|| {
            let outer =
                tracing::info_span!("request", request_id = "r1", user = tracing::field::Empty);
            let _outer = outer.enter();
            outer.record("user", "early");
            outer.record("user", "late");
            let _inner = tracing::info_span!("job", job_id = 1, attempt = 1).entered();
            let job_id = 2;
            tracing::warn!(
                job_id,
                request_id = "r1",
                level = "mine",
                target = 7,
                "it \"happened\"\n"
            );
        });
        let wanted = r#"","level":"WARN","message":"it \"happened\"\n","target":"#;
        assert!(text.ends_with("}\n") && text.contains(wanted), "{text}");
        assert_eq!(text.lines().count(), 1);
        for field in ["request_id", "user", "job_id", "attempt", "level_", "target_"] {
            assert_eq!(text.matches(&format!("\"{field}\":")).count(), 1, "{field} in {text}");
        }
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["user"], &line["job_id"]), (&"late".into(), &2.into()));
        assert_eq!((&line["level_"], &line["target_"]), (&"mine".into(), &7.into()));
    }

    #[test]
    fn a_user_has_one_hash_under_a_key_and_another_under_another() {
        let (ana, ben) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let under = |key: &[u8], user| UserHash::with(key, user).to_string();
        // printf '\0…\1' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let key = b"0123456789abcdef0123456789abcdef";
        assert_eq!(under(key, ana), "8abdcc2ed9229d54");
        assert_ne!(under(key, ana), under(key, ben));
        assert_ne!(under(key, ana), under(b"another key", ana));
        assert_eq!(UserHash::of(ana), UserHash::of(ana));
    }
}
