//! Prometheus and Alertmanager as in a deployment, with the repository's rules
//! and routes, and this program as every receiver.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regimen_devtools::free_port;
use regimen_devtools::process::{Output, Process};
use regimen_devtools::signal::Ending;
use serde_json::Value;
use ureq::Agent;

use super::scaled::scaled;
use super::{AlertsError, listener};
use crate::session::Session;

/// The folder of the files.
const SOURCE: &str = "deploy/monitoring";

/// How long either may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The scrape interval, and the evaluation interval of rules without one.
const SCRAPE: &str = "1s";

/// Their programs.
pub(super) struct Tools {
    pub(super) prometheus: PathBuf,
    pub(super) alertmanager: PathBuf,
}

/// Both, running.
pub(super) struct Watch {
    agent: Agent,
    prometheus: String,
    received: Arc<Mutex<Vec<Notice>>>,
    _processes: [Process; 2],
}

/// An alert as a receiver of Alertmanager gets it.
struct Notice {
    at: Instant,
    alert: String,
    resolved: bool,
}

/// What was seen of an alert since its fault.
pub(super) struct Seen {
    made: Instant,
    fired: Option<Instant>,
    arrived: Option<Instant>,
    /// When the fault was repaired.
    pub(super) mended: Option<Instant>,
    ended: Option<Instant>,
}

impl Watch {
    /// Starts both; `targets` are the jobs with the addresses of their metrics.
    ///
    /// # Errors
    /// One of them does not become ready.
    pub(super) fn start(
        session: &Session,
        programs: &Tools,
        folder: &Path,
        targets: &[(&str, Vec<String>)],
        factor: u32,
    ) -> Result<Self, AlertsError> {
        session.say("starting Prometheus and Alertmanager");
        let source = session.workspace.root().join(SOURCE);
        let home = folder.join("monitoring");
        let received: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let inbox = Arc::clone(&received);
        let receiver = listener::serve(move |_, body| {
            lock(&inbox).extend(notices(body));
            (200, "{}".to_owned())
        });
        let receiver = receiver.map_err(AlertsError::Port)?;
        let [prometheus, alertmanager] = [free_port(), free_port()];
        let (prometheus, alertmanager) = (
            format!("127.0.0.1:{}", prometheus.map_err(AlertsError::Port)?),
            format!("127.0.0.1:{}", alertmanager.map_err(AlertsError::Port)?),
        );
        copy_rules(&source.join("rules"), &home.join("rules"), factor)?;
        let routes = read(&source.join("alertmanager/alertmanager.yml"))?;
        write(&home.join("alertmanager.yml"), &with_receiver(&scaled(&routes, factor), &receiver))?;
        write(&home.join("prometheus.yml"), &configuration(&alertmanager, targets))?;
        let mut one = Command::new(&programs.alertmanager);
        one.arg(format!("--config.file={}", home.join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", home.join("alertmanager").display()))
            .arg(format!("--web.listen-address={alertmanager}"))
            // No cluster: it must not listen for other instances.
            .arg("--cluster.listen-address=");
        let mut other = Command::new(&programs.prometheus);
        other
            .arg(format!("--config.file={}", home.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", home.join("prometheus").display()))
            .arg(format!("--web.listen-address={prometheus}"))
            .arg("--rules.alert.resend-delay=1s");
        let begin = |name: &str, command: Command| {
            let log = folder.join("logs").join(format!("{name}.log"));
            Process::start(name, command, Output::Log(&log), Ending::Terminate)
        };
        let mut processes = [begin("alertmanager", one)?, begin("prometheus", other)?];
        let agent: Agent = Agent::config_builder()
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .into();
        for (process, address) in processes.iter_mut().zip([&alertmanager, &prometheus]) {
            let until = Instant::now() + READY_WITHIN;
            while agent.get(format!("http://{address}/-/ready")).call().is_err() {
                process.must_run()?;
                if Instant::now() > until {
                    return Err(AlertsError::Harmless("Prometheus or Alertmanager does not begin"));
                }
                session.pause()?;
            }
        }
        let prometheus = format!("http://{prometheus}");
        Ok(Self { agent, prometheus, received, _processes: processes })
    }

    /// Whether Prometheus says that the alert fires. None while it does not answer.
    fn fires(&self, alert: &str) -> bool {
        let url = format!("{}/api/v1/alerts", self.prometheus);
        let answer = self.agent.get(url).call().ok();
        let answer: Option<Value> =
            answer.and_then(|mut answer| answer.body_mut().read_json().ok());
        let alerts = answer.as_ref().and_then(|answer| answer["data"]["alerts"].as_array());
        alerts
            .into_iter()
            .flatten()
            .any(|found| found["labels"]["alertname"] == alert && found["state"] == "firing")
    }

    /// When the alert was first delivered after `since`.
    fn arrival(&self, alert: &str, since: Instant) -> Option<Instant> {
        arrival(&lock(&self.received), alert, since)
    }

    /// When the alert was last delivered as resolved, if that is its present state.
    fn end(&self, alert: &str) -> Option<Instant> {
        let received = lock(&self.received);
        let last = received.iter().rev().find(|notice| notice.alert == alert)?;
        last.resolved.then_some(last.at)
    }
}

impl Seen {
    /// Its fault is caused now.
    pub(super) fn from_now() -> Self {
        Self { made: Instant::now(), fired: None, arrived: None, mended: None, ended: None }
    }

    /// Notes that the alert fires, and that it was delivered.
    pub(super) fn look_for_fire(&mut self, watch: &Watch, alert: &str) {
        if self.mended.is_some() {
            return;
        }
        if self.fired.is_none() && watch.fires(alert) {
            self.fired = Some(Instant::now());
        }
        if self.fired.is_some() && self.arrived.is_none() {
            self.arrived = watch.arrival(alert, self.made);
        }
    }

    /// Notes that the alert has resolved, and that this was delivered.
    pub(super) fn look_for_end(&mut self, watch: &Watch, alert: &str) {
        let is_due = self.mended.is_some() && self.has_arrived() && !self.has_ended();
        if is_due && !watch.fires(alert) {
            self.ended = watch.end(alert);
        }
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.arrived.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The times from the fault until it fired and was delivered, and from the repair
    /// until it resolved; 0 if it had resolved before the repair, for example because a
    /// full series no longer grows.
    pub(super) fn times(&self) -> [Option<Duration>; 3] {
        let since =
            |time: Option<Instant>, from: Instant| Some(time?.saturating_duration_since(from));
        let ended = self.mended.and_then(|mended| since(self.ended, mended));
        [since(self.fired, self.made), since(self.arrived, self.made), ended]
    }

    /// Text for the log.
    pub(super) fn fire(&self) -> String {
        match self.times() {
            [Some(fired), Some(arrived), _] => format!(
                "fired after {:.1} s, arrived after {:.1} s",
                fired.as_secs_f64(),
                arrived.as_secs_f64()
            ),
            [Some(fired), None, _] => {
                format!("fired after {:.1} s, did not arrive", fired.as_secs_f64())
            }
            _ => "did not fire".to_owned(),
        }
    }
}

/// When the alert was first delivered after `since`; `since` if it was delivered earlier and
/// has not resolved.
fn arrival(received: &[Notice], alert: &str, since: Instant) -> Option<Instant> {
    let mut state = None;
    for notice in received.iter().filter(|notice| notice.alert == alert) {
        if notice.at >= since && state.is_none() && !notice.resolved {
            return Some(notice.at);
        }
        if notice.at < since {
            state = (!notice.resolved).then_some(since);
        }
    }
    state
}

/// Parses a request of Alertmanager's webhook: a group of alerts, each with its state.
fn notices(body: &str) -> Vec<Notice> {
    let at = Instant::now();
    let group: Value = serde_json::from_str(body).unwrap_or_default();
    let alerts = group["alerts"].as_array().cloned().unwrap_or_default();
    let notice = |alert: &Value| {
        Some(Notice {
            at,
            alert: alert["labels"]["alertname"].as_str()?.to_owned(),
            resolved: alert["status"] == "resolved",
        })
    };
    alerts.iter().filter_map(notice).collect()
}

fn copy_rules(from: &Path, to: &Path, factor: u32) -> Result<(), AlertsError> {
    let failed = |source| AlertsError::Folder { path: from.to_owned(), source };
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.file_name() {
            write(&to.join(name), &scaled(&read(&path)?, factor))?;
        }
    }
    Ok(())
}

/// The repository's routes with our URL as every receiver.
fn with_receiver(configuration: &str, url: &str) -> String {
    let (before, after) = configuration.split_once("\nreceivers:\n").unwrap_or((configuration, ""));
    let names = after.lines().filter_map(|line| line.trim().strip_prefix("- name: "));
    names.fold(format!("{before}\nreceivers:\n"), |mut text, name| {
        let _ = write!(
            text,
            "  - name: {name}\n    webhook_configs:\n      - url: {url}/{name}\n        send_resolved: true\n"
        );
        text
    })
}

fn configuration(alertmanager: &str, targets: &[(&str, Vec<String>)]) -> String {
    let mut text = format!(
        "global:\n  scrape_interval: {SCRAPE}\n  scrape_timeout: {SCRAPE}\n  evaluation_interval: {SCRAPE}\n\
         rule_files: [rules/*.yml]\n\
         alerting:\n  alertmanagers:\n    - static_configs:\n        - targets: [\"{alertmanager}\"]\n\
         scrape_configs:\n"
    );
    for (job, addresses) in targets {
        let _ = write!(
            text,
            "  - job_name: {job}\n    static_configs:\n      - targets: {addresses:?}\n"
        );
    }
    text
}

fn read(path: &Path) -> Result<String, AlertsError> {
    std::fs::read_to_string(path)
        .map_err(|source| AlertsError::Folder { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str) -> Result<(), AlertsError> {
    let failed = |source| AlertsError::Folder { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

fn lock(received: &Mutex<Vec<Notice>>) -> MutexGuard<'_, Vec<Notice>> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_receiver_is_ours_and_the_routes_stay() {
        let text = "route:\n  receiver: a\n\nreceivers:\n  # Wakes.\n  - name: a\n    slack_configs:\n      - channel: x\n  - name: b\n";
        let expected = "route:\n  receiver: a\n\nreceivers:\n\
            \x20 - name: a\n    webhook_configs:\n      - url: http://h/a\n        send_resolved: true\n\
            \x20 - name: b\n    webhook_configs:\n      - url: http://h/b\n        send_resolved: true\n";
        assert_eq!(with_receiver(text, "http://h"), expected);
    }

    #[test]
    fn an_alert_that_stands_from_before_has_arrived_and_one_that_resolved_has_not() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let notice =
            |seconds, resolved| Notice { at: after(seconds), alert: "A".to_owned(), resolved };
        let received = [notice(1, false), notice(3, true), notice(5, false)];
        let arrived = |since| arrival(&received, "A", after(since));
        assert_eq!(arrived(0), Some(after(1)));
        assert_eq!(arrived(2), Some(after(2)), "it stands");
        assert_eq!(arrived(4), Some(after(5)), "it had resolved");
        assert_eq!(arrived(6), Some(after(6)));
        assert_eq!(arrival(&received, "B", begin), None);
    }

    #[test]
    fn groups_are_told_apart_into_alerts() {
        let body = r#"{"status":"firing","alerts":[{"status":"firing","labels":{"alertname":"A"}},
                       {"status":"resolved","labels":{"alertname":"B"}},{"labels":{}}]}"#;
        let found: Vec<_> =
            notices(body).into_iter().map(|notice| (notice.alert, notice.resolved)).collect();
        assert_eq!(found, [("A".to_owned(), false), ("B".to_owned(), true)]);
        assert!(notices("no json").is_empty());
    }
}
