//! The metrics of a process: the table of names and descriptions, the recorder,
//! and the page for Prometheus.
//!
//! A metric is defined in a table ([`COMMON`], and one in each binary's crate)
//! with all values of its labels. Counters and histograms start at 0 with the
//! process, for each of those values: Prometheus would not see the increase of
//! a series that appears with its first event.

use std::time::Duration;

use ::metrics::{Histogram, Label, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::logs;

/// Latencies from a tenth of a millisecond to five minutes, in seconds.
const SECONDS_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];
/// The sleep whose delay is measured.
const NAP: Duration = Duration::from_millis(100);
/// Between two drains of recorded histogram values into their buckets, because the page
/// may not be read.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, which ends in the unit.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: Labels,
    /// Its description on the page.
    pub help: &'static str,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Values are added up.
    Counter,
    /// The last value counts.
    Gauge,
    /// Values are sorted into buckets.
    Histogram,
}

/// The labels of a metric, and their values.
#[derive(Debug, Clone, Copy)]
pub enum Labels {
    /// Each value with each value of the other labels.
    Each(&'static [(&'static str, &'static [&'static str])]),
    /// Exactly these combinations of values.
    Together(&'static [&'static str], &'static [&'static [&'static str]]),
    /// Values from the settings or the route table, with the highest number of series.
    AtMost(&'static [&'static str], usize),
}

/// A metric without labels.
pub const PLAIN: Labels = Labels::Each(&[]);

/// A counter.
pub const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

/// A gauge.
pub const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

/// A histogram.
pub const fn histogram(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

/// The periodic steps in which a row may be unchangeable or unreadable.
pub const STEPS: &[&str] = &[
    "backfill",
    "bury_poisoned_events",
    "cancel_of_deleted",
    "claim",
    "claim_callbacks",
    "claim_events",
    "claim_mails",
    "deleted_accounts",
    "dispatch_lost_events",
    "dispatch_lost_mails",
    "dispatch_next",
    "dispatch_ready",
    "end_grace",
    "erasure",
    "expire_overdue",
    "forget_answers",
    "recover_leases",
    "redispatch_lost",
    "release",
    "retention",
    "stray_claims",
    "wake_unresolved_events",
];

const POOL: Labels = Labels::Each(&[("pool", &["main", "heartbeat"])]);

/// The metrics of code that both binaries share.
pub const COMMON: &[Metric] = &[
    gauge(
        "regimen_build_info",
        Labels::AtMost(&["service", "version"], 1),
        "1; the labels have the binary and its release",
    ),
    counter(
        "regimen_stripe_calls_total",
        Labels::Each(&[(
            "outcome",
            &[
                "ok",
                "no_key",
                "away",
                "busy",
                "in_flight",
                "key_reused",
                "forbidden",
                "missing",
                "declined",
                "refused",
                "unreadable",
            ],
        )]),
        "Calls to Stripe",
    ),
    histogram("regimen_stripe_call_seconds", PLAIN, "Time of a call to Stripe, including retries"),
    counter(
        "regimen_sentry_events_held_back_total",
        PLAIN,
        "Reports to Sentry that were dropped because of the limit of ten per minute",
    ),
    histogram(
        "regimen_event_loop_delay_seconds",
        PLAIN,
        "How late a task was woken; long delays mean that the runtime's threads are blocked or \
         the processor is overloaded",
    ),
    counter(
        "regimen_log_lines_total",
        Labels::Each(&[("level", &["error", "warn", "info", "debug", "trace"])]),
        "Log lines; errors need an operator, warnings may be temporary",
    ),
    counter(
        "regimen_log_lines_lost_total",
        PLAIN,
        "Log lines that were dropped because they could not be written in time",
    ),
    gauge(
        "regimen_postgres_connections",
        Labels::Each(&[("pool", &["main", "heartbeat"]), ("state", &["used", "idle"])]),
        "Open connections to Postgres",
    ),
    gauge("regimen_postgres_connections_max", POOL, "The pool's highest number of connections"),
    gauge("regimen_postgres_waiting", POOL, "Callers that wait for a connection"),
    histogram(
        "regimen_postgres_wait_seconds",
        POOL,
        "Time of a wait for a connection, including failed ones",
    ),
    histogram(
        "regimen_postgres_statement_seconds",
        POOL,
        "Time of one statement, including the network",
    ),
    counter(
        "regimen_postgres_timeouts_total",
        PLAIN,
        "Statements that were cancelled because they took too long",
    ),
    counter(
        "regimen_poison_rows_total",
        Labels::Each(&[("step", STEPS)]),
        "Rows that could not be read or changed because of their content; the log names each",
    ),
    counter(
        "regimen_usage_disbelieved_total",
        PLAIN,
        "Calls whose reported cost or tokens were cut to the highest plausible value",
    ),
    counter(
        "regimen_stale_writes_refused_total",
        PLAIN,
        "Writes of stale leaseholders that were refused",
    ),
    gauge(
        "regimen_rate_limiter_mode",
        PLAIN,
        "0 while rate limits are kept in Redis, 1 while each process applies its own",
    ),
    gauge("regimen_redis_away", PLAIN, "1 while Redis accepts no writes, else 0"),
    gauge(
        "regimen_redis_trouble",
        Labels::Each(&[(
            "trouble",
            &[
                "unreachable",
                "silent",
                "full",
                "cannot_save",
                "read_only",
                "few_replicas",
                "loading",
                "no_access",
                "cluster_down",
                "refuses",
            ],
        )]),
        "1 for the reason why Redis accepts no writes, 0 for the others",
    ),
    histogram(
        "regimen_redis_command_seconds",
        PLAIN,
        "Time of one command or pipeline, including those that timed out, except blocking ones",
    ),
    counter("regimen_redis_failures_total", PLAIN, "Commands that Redis refused or did not answer"),
    counter(
        "regimen_push_failures_total",
        PLAIN,
        "Ids that could not be pushed to Redis; workers find their jobs in Postgres",
    ),
    counter(
        "regimen_queue_bad_messages_total",
        PLAIN,
        "Messages in Redis that could not be read; their jobs are dispatched again",
    ),
];

impl Metric {
    /// Its unit, from its name.
    pub fn unit(&self) -> Unit {
        match self.name.trim_end_matches("_total") {
            name if name.ends_with("_seconds") => Unit::Seconds,
            name if name.ends_with("_bytes") => Unit::Bytes,
            _ => Unit::Count,
        }
    }

    /// The names of its labels.
    pub fn label_names(&self) -> Vec<&'static str> {
        match self.labels {
            Labels::Each(labels) => labels.iter().map(|(name, _)| *name).collect(),
            Labels::Together(names, _) | Labels::AtMost(names, _) => names.to_vec(),
        }
    }

    /// The label sets of its series, if they are known in advance.
    pub fn series(&self) -> Option<Vec<Vec<(&'static str, &'static str)>>> {
        match self.labels {
            Labels::AtMost(..) => None,
            Labels::Together(names, values) => {
                let set = |values: &&[&'static str]| {
                    names.iter().copied().zip(values.iter().copied()).collect()
                };
                Some(values.iter().map(set).collect())
            }
            Labels::Each(labels) => {
                let mut sets = vec![Vec::new()];
                for (name, values) in labels {
                    let longer = |set: Vec<_>| {
                        values
                            .iter()
                            .map(move |value| [set.clone(), vec![(*name, *value)]].concat())
                    };
                    sets = sets.into_iter().flat_map(longer).collect();
                }
                Some(sets)
            }
        }
    }

    /// Describes it, and starts its series.
    fn register(&self) {
        let (name, unit, help) = (self.name, self.unit(), self.help);
        match self.kind {
            MetricKind::Counter => ::metrics::describe_counter!(name, unit, help),
            MetricKind::Gauge => ::metrics::describe_gauge!(name, unit, help),
            MetricKind::Histogram => ::metrics::describe_histogram!(name, unit, help),
        }
        for set in self.series().unwrap_or_default() {
            let labels: Vec<Label> = set
                .into_iter()
                .map(|(name, value)| Label::from_static_parts(name, value))
                .collect();
            match self.kind {
                MetricKind::Counter => ::metrics::counter!(name, labels).increment(0),
                // Registered; it has no values yet.
                MetricKind::Histogram => drop(::metrics::histogram!(name, labels)),
                // Its value is not known yet, and 0 would be a value.
                MetricKind::Gauge => {}
            }
        }
    }
}

/// Describes the metrics of `table` and starts their series; the recorder must be
/// installed.
pub fn register(table: &[Metric]) {
    table.iter().for_each(Metric::register);
}

/// The metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct MetricsPage {
    recorded: PrometheusHandle,
    process: Collector,
}

impl std::fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsPage")
    }
}

impl MetricsPage {
    /// The values of `recorded`, and those of the process itself.
    pub fn new(recorded: PrometheusHandle) -> Self {
        Self { recorded, process: Collector::default() }
    }

    /// The page. On a blocking thread, because it queries the system about the process.
    pub async fn render(&self) -> String {
        let page = self.clone();
        let render = move || {
            page.process.collect();
            ::metrics::counter!("regimen_log_lines_lost_total").absolute(logs::lost());
            page.recorded.render()
        };
        // An error means that the process is ending.
        tokio::task::spawn_blocking(render).await.unwrap_or_default()
    }

    /// Measures, for the life of the process, how late a task is woken, and drains
    /// histograms.
    pub async fn watch(self) {
        let delay = ::metrics::histogram!("regimen_event_loop_delay_seconds");
        let mut upkeep = interval(UPKEEP_EVERY);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asleep = Instant::now();
            tokio::select! {
                () = sleep(NAP) => delay.record(asleep.elapsed().saturating_sub(NAP)),
                _ = upkeep.tick() => self.recorded.run_upkeep(),
            }
        }
    }
}

/// Installs the recorder of this process, with the [`COMMON`] metrics.
pub(super) fn install(service: &'static str) -> Result<MetricsPage, BuildError> {
    let recorded = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)?
        .install_recorder()?;
    register(COMMON);
    let page = MetricsPage::new(recorded);
    page.process.describe();
    ::metrics::gauge!("regimen_build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION"))
        .set(1.0);
    Ok(page)
}

/// Records how long something took when it is dropped, however it ended.
pub(crate) struct Timer<'a> {
    histogram: &'a Histogram,
    begun: Instant,
}

impl<'a> Timer<'a> {
    /// Starts now.
    pub(crate) fn new(histogram: &'a Histogram) -> Self {
        Self { histogram, begun: Instant::now() }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.histogram.record(self.begun.elapsed());
    }
}
