//! Checks `deploy/monitoring` with Prometheus' and Alertmanager's own tools:
//! the configurations, the rules with their unit tests, the routes, and the
//! text of the notifications.

use std::path::PathBuf;
use std::process::Command;

use super::SuiteError;
use crate::place::Place;
use crate::provision;
use regimen_devtools::process::{Output, Process};

/// The folder of the files.
const FOLDER: &str = "deploy/monitoring";

/// The labels of an alert, and its expected receiver.
const ROUTES: [(&[&str], &str); 4] = [
    (&["alertname=SloBurnsFast", "severity=page"], "on-call"),
    (&["alertname=ModelRetiring", "severity=ticket"], "tickets"),
    (&["alertname=Watchdog", "severity=none"], "dead-man"),
    // An alert without a severity is delivered, too.
    (&["alertname=Unheard"], "tickets"),
];

/// `amtool` fills the template with times but no labels.
const TEXT: &str = r#"{{ template "regimen.title" . }} {{ template "regimen.text" . }}"#;

/// Runs it.
///
/// # Errors
/// A tool found a problem, or there are no tools.
pub(super) fn run(place: &Place<'_>) -> Result<(), SuiteError> {
    let programs = provision::monitoring(place.session)?;
    let folder = place.file(FOLDER);
    let promtool = |arguments: &[&str], files: Vec<PathBuf>| {
        let mut promtool = Command::new(&programs.promtool);
        promtool.current_dir(&folder).args(arguments).args(files);
        Process::run(place.session, "promtool", promtool, Output::Ours)
    };
    // Checks the rules, too.
    promtool(&["check", "config", "prometheus.yml"], Vec::new())?;
    promtool(&["test", "rules"], yaml_files(&folder.join("tests"))?)?;
    let amtool = |arguments: &[&str]| {
        let mut amtool = Command::new(&programs.amtool);
        amtool.current_dir(folder.join("alertmanager")).args(arguments);
        Process::run(place.session, "amtool", amtool, Output::Ours)
    };
    amtool(&["check-config", "alertmanager.yml"])?;
    for (labels, receiver) in ROUTES {
        let receiver = format!("--verify.receivers={receiver}");
        let test = ["config", "routes", "test", "--config.file=alertmanager.yml", &receiver];
        amtool(&[&test[..], labels].concat())?;
    }
    let text = format!("--template.text={TEXT}");
    amtool(&["template", "render", "--template.glob=templates/*.tmpl", &text])?;
    Ok(())
}

fn yaml_files(folder: &std::path::Path) -> Result<Vec<PathBuf>, SuiteError> {
    let failed = |source| SuiteError::Folder { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
