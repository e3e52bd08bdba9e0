//! The metrics there are: those of the tables in code, what Prometheus adds, and
//! what rules record.

use std::collections::{BTreeMap, BTreeSet};

use regimen_common::telemetry::metrics::{COMMON, Labels, Metric, MetricKind};

/// What Prometheus adds to everything it reads.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

/// What the collector of the process exports, on Linux.
const OF_PROCESSES: [&str; 4] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
];

/// A name, and what may be asked of it.
#[derive(Debug, Default, Clone)]
pub(super) struct Name {
    /// Its labels, each with its values where they are known.
    pub(super) labels: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Its series are there before anything has happened.
    begins: bool,
}

/// All of them.
pub(super) struct Names(BTreeMap<String, Name>);

impl Names {
    pub(super) fn of_tables() -> Self {
        let tables = [COMMON, regimen_ingress::metrics::METRICS, regimen_worker::metrics::METRICS];
        let mut names = Self(BTreeMap::new());
        for metric in tables.concat() {
            names.add(&metric);
        }
        names.record("up", []);
        names.record("ALERTS", ["alertname", "alertstate", "severity"].map(str::to_owned));
        for name in OF_PROCESSES {
            names.record(name, []);
        }
        names
    }

    /// A name whose labels may have any value.
    pub(super) fn record(&mut self, name: &str, labels: impl IntoIterator<Item = String>) {
        let entry = self.0.entry(name.to_owned()).or_default();
        let own = OF_TARGETS.map(str::to_owned);
        let is_recorded = name.contains(':');
        let all = labels.into_iter().chain(own.into_iter().filter(|_| !is_recorded));
        entry.labels.extend(all.map(|label| (label, None)));
    }

    pub(super) fn find(&self, name: &str) -> Option<&Name> {
        self.0.get(name)
    }

    pub(super) fn begins_with_the_process(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|name| name.begins)
    }

    fn add(&mut self, metric: &Metric) {
        let mut labels: BTreeMap<String, Option<BTreeSet<String>>> =
            OF_TARGETS.iter().map(|label| ((*label).to_owned(), None)).collect();
        for name in metric.label_names() {
            labels.insert(name.to_owned(), None);
        }
        for (name, value) in metric.series().into_iter().flatten().flatten() {
            let values = labels.entry(name.to_owned()).or_default();
            values.get_or_insert_default().insert(value.to_owned());
        }
        let endings: &[&str] = match metric.kind {
            MetricKind::Histogram => &["_bucket", "_count", "_sum"],
            MetricKind::Counter | MetricKind::Gauge => &[""],
        };
        let begins =
            metric.kind != MetricKind::Gauge && !matches!(metric.labels, Labels::AtMost(..));
        for ending in endings {
            let entry = self.0.entry(format!("{}{ending}", metric.name)).or_default();
            entry.begins = begins;
            for (name, values) in &labels {
                merge(entry.labels.entry(name.clone()), values);
            }
            if *ending == "_bucket" {
                entry.labels.insert("le".to_owned(), None);
            }
        }
    }
}

/// Both binaries may have a metric, each with values of its own.
fn merge(
    entry: std::collections::btree_map::Entry<'_, String, Option<BTreeSet<String>>>,
    values: &Option<BTreeSet<String>>,
) {
    let known = entry.or_default();
    if let Some(values) = values {
        known.get_or_insert_default().extend(values.iter().cloned());
    }
}
