//! Compares what processes export, and what the sources count, with the tables
//! of metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::telemetry::metrics::{Labels, Metric, MetricKind};

type Series = BTreeMap<String, String>;

/// A metrics page, parsed.
#[derive(Debug, Default)]
struct Page {
    helped: BTreeSet<String>,
    kinds: BTreeMap<String, String>,
    series: BTreeMap<String, BTreeSet<Series>>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(_)) => {
                    page.helped.insert(name.to_owned());
                }
                (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                    page.kinds.insert(name.to_owned(), kind.to_owned());
                }
                _ => {
                    let (series, _value) = line.rsplit_once(' ').expect("a value");
                    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                    let mut labels = pairs(labels.strip_suffix('}').expect("labels"));
                    labels.remove("le");
                    let name = page.family(name);
                    page.series.entry(name).or_default().insert(labels);
                }
            }
        }
        page
    }

    /// The metric of a line: a histogram has three kinds of lines.
    fn family(&self, name: &str) -> String {
        let ends = ["_bucket", "_sum", "_count"].iter();
        let mut bases = ends.filter_map(|end| name.strip_suffix(end));
        let of_histogram =
            bases.find(|base| self.kinds.get(*base).is_some_and(|kind| kind == "histogram"));
        of_histogram.unwrap_or(name).to_owned()
    }
}

/// Parses `a="b",c="d"`; our values contain no quotes.
fn pairs(labels: &str) -> Series {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once("=\"").expect("a label");
        (name.trim_start_matches(',').to_owned(), value.to_owned())
    };
    labels.split('"').collect::<Vec<_>>().chunks_exact(2).map(|two| pair(&two.join("\""))).collect()
}

/// Asserts that a page agrees with the tables: every metric has its description and kind,
/// there are no other label sets, and every counter and histogram with known labels is
/// present from the start.
pub fn assert_exported_as_declared(text: &str, tables: &[&[Metric]]) {
    let page = Page::read(text);
    let declared: BTreeMap<_, Vec<&Metric>> =
        tables.iter().flat_map(|table| table.iter()).fold(BTreeMap::new(), |mut all, metric| {
            all.entry(metric.name).or_default().push(metric);
            all
        });
    let undescribed: Vec<_> =
        page.kinds.keys().filter(|name| !page.helped.contains(*name)).collect();
    assert!(undescribed.is_empty(), "without a description: {undescribed:?}");
    for (name, found) in &page.series {
        if name.starts_with("process_") {
            continue;
        }
        let metrics = declared.get(name.as_str());
        let metrics = metrics.unwrap_or_else(|| panic!("{name} stands in no table"));
        assert_eq!(page.kinds[name], kind(metrics[0]), "{name}");
        for series in found {
            let fits = metrics.iter().any(|metric| fits(metric, series));
            assert!(fits, "{name} has a label set that its table does not know: {series:?}");
        }
        if let Labels::AtMost(_, most) = metrics[0].labels {
            assert!(found.len() <= most, "{name} has {} series, more than {most}", found.len());
        }
    }
    for metric in declared.values().flatten().filter(|metric| metric.kind != MetricKind::Gauge) {
        for series in metric.series().unwrap_or_default() {
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let series: Series = series.into_iter().map(owned).collect();
            let there = page.series.get(metric.name).is_some_and(|all| all.contains(&series));
            assert!(there, "{}{series:?} does not begin at 0 with the process", metric.name);
        }
    }
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

fn fits(metric: &Metric, series: &Series) -> bool {
    let names: BTreeSet<_> = series.keys().map(String::as_str).collect();
    match metric.series() {
        None => names == metric.label_names().into_iter().collect(),
        Some(known) => known.iter().any(|known| {
            known.len() == series.len()
                && known.iter().all(|(name, value)| series.get(*name).is_some_and(|v| v == value))
        }),
    }
}

/// Asserts that everything counted by the sources under `src` is in `tables` with the
/// same kind and labels, and that everything in `own`, the crate's own table, is counted
/// there.
pub fn assert_counted_as_declared(src: &Path, own: &[Metric], tables: &[&[Metric]]) {
    let mut counted = BTreeSet::new();
    for source in sources(src) {
        let text = std::fs::read_to_string(&source).expect("a source");
        for (macro_name, inside) in calls(&text) {
            let Some(name) = literals(inside).into_iter().find(|text| text.starts_with("regimen_"))
            else {
                continue;
            };
            let place = source.display();
            let metric = tables.iter().flat_map(|table| table.iter()).find(|m| m.name == name);
            let metric = metric.unwrap_or_else(|| panic!("{place}: {name} stands in no table"));
            assert_eq!(kind(metric), macro_name, "{place}: {name}");
            if !inside.contains("&labels") {
                let labels: Vec<_> = literals(inside)
                    .into_iter()
                    .filter(|text| inside.contains(&format!("\"{text}\" =>")))
                    .collect();
                assert_eq!(labels, metric.label_names(), "{place}: the labels of {name}");
            }
            counted.insert(name.to_owned());
        }
    }
    let unused: Vec<_> =
        own.iter().map(|metric| metric.name).filter(|name| !counted.contains(*name)).collect();
    assert!(unused.is_empty(), "declared and never counted: {unused:?}");
}

fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// The macro calls that count, with their arguments.
fn calls(text: &str) -> Vec<(&'static str, &str)> {
    let mut calls = Vec::new();
    for name in ["counter", "gauge", "histogram"] {
        for (at, begun) in text.match_indices(&format!("metrics::{name}!(")) {
            let inside = &text[at + begun.len()..];
            let mut depth = 1;
            let end = inside.find(|letter| {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                depth == 0
            });
            calls.push((name, &inside[..end.expect("a closing parenthesis")]));
        }
    }
    calls
}

/// The string literals.
fn literals(code: &str) -> Vec<&str> {
    code.split('"').skip(1).step_by(2).collect()
}
