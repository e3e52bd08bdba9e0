//! The files of `deploy/monitoring`, as far as tests look into them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// The data source that the provisioning of Grafana makes.
const SOURCE: &str = "regimen-prometheus";

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// A recording or an alerting rule.
#[derive(Deserialize)]
pub(super) struct Rule {
    pub(super) alert: Option<String>,
    pub(super) record: Option<String>,
    pub(super) expr: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct TestFile {
    tests: Vec<UnitTest>,
}

#[derive(Deserialize)]
struct UnitTest {
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
}

#[derive(Deserialize)]
struct AlertTest {
    alertname: String,
    exp_alerts: Vec<Value>,
}

/// A dashboard of Grafana's.
pub(super) struct Dashboard {
    pub(super) name: String,
    pub(super) panels: Vec<Panel>,
}

pub(super) struct Panel {
    pub(super) title: String,
    pub(super) targets: Vec<Target>,
}

pub(super) struct Target {
    pub(super) expr: String,
    legend: String,
    pub(super) is_of_ours: bool,
}

/// The folder with the workspace's Cargo.toml.
pub(super) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All rules. What a rule looks at is recorded in the same file, before it.
pub(super) fn rules() -> Vec<Rule> {
    let files = texts("rules", "yml");
    let read = |(path, text): (PathBuf, String)| -> RuleFile {
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files.into_iter().map(read).flat_map(|file| file.groups).flat_map(|group| group.rules).collect()
}

/// The alerts that a unit test expects to fire.
pub(super) fn tested_alerts() -> BTreeSet<String> {
    let read = |(path, text): (PathBuf, String)| -> TestFile {
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let tests = texts("tests", "yml").into_iter().map(read).flat_map(|file| file.tests);
    let alerts = tests.flat_map(|test| test.alert_rule_test);
    alerts.filter(|test| !test.exp_alerts.is_empty()).map(|test| test.alertname).collect()
}

pub(super) fn dashboards() -> Vec<Dashboard> {
    let read = |(path, text): (PathBuf, String)| {
        let json: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let target = |target: &Value| Target {
            // Grafana puts the range in that fits the panel's width.
            expr: text(&target["expr"]).replace("$__rate_interval", "1m"),
            legend: text(&target["legendFormat"]),
            is_of_ours: target["datasource"]["uid"] == SOURCE,
        };
        let panels = json["panels"].as_array().unwrap().iter();
        let panels = panels.filter(|panel| panel["type"] != "row").map(|panel| Panel {
            title: text(&panel["title"]),
            targets: panel["targets"].as_array().unwrap().iter().map(target).collect(),
        });
        Dashboard { name: text(&json["uid"]), panels: panels.collect() }
    };
    texts("grafana/dashboards", "json").into_iter().map(read).collect()
}

impl Rule {
    /// What the annotations name as `$labels.x` although no alert has it.
    pub(super) fn unknown_labels(&self, known: &BTreeSet<String>) -> impl Iterator<Item = String> {
        let named = Regex::new(r"\$labels\.(\w+)").unwrap();
        let texts = self.annotations.values().cloned().collect::<Vec<_>>().join("\n");
        let own: BTreeSet<_> = self.labels.keys().chain(known).cloned().collect();
        let names: Vec<_> = named.captures_iter(&texts).map(|found| found[1].to_owned()).collect();
        names.into_iter().filter(move |name| !own.contains(name))
    }
}

impl Target {
    /// What the legend names as `{{x}}` although no series has it.
    pub(super) fn unknown_labels(&self, known: &BTreeSet<String>) -> impl Iterator<Item = String> {
        let named = Regex::new(r"\{\{(\w+)\}\}").unwrap();
        let names = named.captures_iter(&self.legend).map(|found| found[1].to_owned());
        let unknown: Vec<_> = names.filter(|name| !known.contains(name)).collect();
        unknown.into_iter()
    }
}

/// The files with an ending in a folder, by their names.
fn texts(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let folder = repository().join("deploy/monitoring").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}
