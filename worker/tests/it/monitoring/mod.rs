//! What `deploy/monitoring` says of our metrics, held against the metrics: every
//! name, label and value of a rule or a panel, and every alert against its entry
//! in the runbook and its unit test.

mod expression;
mod files;
mod names;

use std::collections::{BTreeMap, BTreeSet};

use expression::{Result, Used, labels};
use files::{Dashboard, Rule, dashboards, repository, rules, tested_alerts};
use names::Names;

use reqwest::Method;

use crate::fleet::Fleet;

/// The parts of an entry in the runbook.
const PARTS: [&str; 4] = ["**Means:**", "**Look:**", "**Do:**", "**Wake somebody:**"];

#[tokio::test]
async fn every_name_in_rules_and_dashboards_is_one_of_ours() {
    let rules = rules();
    let mut names = Names::of_tables();
    let mut wrong = Vec::new();
    let mut used = Used::default();
    for rule in &rules {
        match labels(&rule.expr, &names, &mut used) {
            Ok(labels) => {
                wrong.extend(rule.unknown_labels(&labels).map(|label| {
                    format!("{}: the annotations name the label {label}", rule.name())
                }));
                if let Some(record) = &rule.record {
                    names.record(record, labels.into_iter().chain(rule.labels.keys().cloned()));
                }
            }
            Err(error) => wrong.push(format!("{}: {error}", rule.name())),
        }
    }
    for Dashboard { name, panels } in dashboards() {
        for panel in &panels {
            for target in &panel.targets {
                let outcome: Result<_> = labels(&target.expr, &names, &mut used);
                match outcome {
                    Ok(labels) => wrong.extend(target.unknown_labels(&labels).map(|label| {
                        format!("{name}, {}: the legend names the label {label}", panel.title)
                    })),
                    Err(error) => wrong.push(format!("{name}, {}: {error}", panel.title)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let pages = pages(&used.routes).await;
    let exported: BTreeSet<_> = pages
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect();
    let is_missing =
        |name: &&String| names.begins_with_the_process(name) && !exported.contains(name.as_str());
    let missing: Vec<_> = used.names.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "neither binary exports {missing:?}");
    let is_no_route = |route: &&String| !pages.contains(&format!("route=\"{route}\""));
    let unknown: Vec<_> = used.routes.iter().filter(is_no_route).collect();
    assert!(unknown.is_empty() && !used.routes.is_empty(), "the ingress has no {unknown:?}");
}

/// What both binaries export after a job, a webhook and a request to each of `routes`.
async fn pages(routes: &BTreeSet<String>) -> String {
    let secret = "whsec_monitoring";
    let mut fleet = Fleet::new(&[("STRIPE_WEBHOOK_SECRET", secret)]).await;
    fleet.ask_all_providers();
    let (ingress, worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let (user, job) = ingress.submit_one().await;
    assert_eq!(ingress.ended(user, job).await["status"], "succeeded");
    let event = serde_json::json!({
        "id": "evt_monitoring", "object": "event", "type": "product.created", "created": 1,
        "livemode": false, "data": {"object": {"id": "prod_1", "object": "product"}},
    });
    let answer = ingress.door().deliver(&event, secret).await;
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    for route in routes {
        // Its answer is a refusal, of no body.
        ingress.door().request(Method::POST, user, route).send().await.unwrap();
    }
    [fleet.metrics(&worker).await, fleet.metrics(&ingress.binary).await].concat()
}

#[test]
fn every_alert_has_its_entry_in_the_runbook_and_every_entry_its_alert() {
    let runbook = std::fs::read_to_string(repository().join("docs/runbook.md")).unwrap();
    let entries = entries(&runbook);
    let mut wrong = Vec::new();
    let mut alerts = BTreeSet::new();
    for rule in rules().into_iter().filter(|rule| rule.alert.is_some()) {
        let name = rule.name().to_owned();
        let link = format!("docs/runbook.md#{}", name.to_lowercase());
        if rule.annotations.get("runbook_url") != Some(&link) {
            wrong.push(format!("{name}: runbook_url is not {link}"));
        }
        if rule.annotations.get("summary").is_none_or(String::is_empty) {
            wrong.push(format!("{name}: there is no summary"));
        }
        if !["page", "ticket", "none"].contains(&rule.severity()) {
            wrong.push(format!("{name}: the severity is {:?}", rule.severity()));
        }
        match entries.get(&name) {
            None => wrong.push(format!("{name}: docs/runbook.md has no heading ### {name}")),
            Some(entry) => {
                let missing = PARTS.iter().filter(|part| !entry.contains(**part));
                wrong.extend(missing.map(|part| format!("{name}: the entry lacks {part}")));
            }
        }
        assert!(alerts.insert(name.clone()), "two alerts are called {name}");
    }
    let stale = entries.keys().filter(|name| !alerts.contains(*name));
    wrong.extend(stale.map(|name| format!("docs/runbook.md: there is no alert {name}")));
    assert!(wrong.is_empty() && !alerts.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_alert_has_a_unit_test() {
    let tested = tested_alerts();
    // The test that all is well counts this one.
    let untested: Vec<_> = rules()
        .into_iter()
        .filter_map(|rule| rule.alert)
        .filter(|name| name != "Watchdog" && !tested.contains(name))
        .collect();
    assert_eq!(untested, Vec::<String>::new());
}

#[test]
fn every_panel_says_what_it_shows() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        assert!(uids.insert(dashboard.name.clone()), "two dashboards are {}", dashboard.name);
        for panel in &dashboard.panels {
            let place = format!("{}, {:?}", dashboard.name, panel.title);
            assert!(!panel.title.is_empty() && !panel.targets.is_empty(), "{place}");
            assert!(panel.targets.iter().all(|target| target.is_of_ours), "{place}: data source");
        }
    }
    assert_eq!(uids.len(), 5);
}

/// The text below each heading of the third level within the section of alerts.
fn entries(runbook: &str) -> BTreeMap<String, String> {
    let section = runbook.split("\n## ").find(|section| section.starts_with("Alerts\n")).unwrap();
    let entries = section.split("\n### ").skip(1);
    entries
        .map(|entry| entry.split_once('\n').unwrap())
        .map(|(name, text)| (name.trim().to_owned(), text.to_owned()))
        .collect()
}

/// A rule as messages name it.
impl Rule {
    fn name(&self) -> &str {
        self.alert.as_deref().or(self.record.as_deref()).unwrap_or_default()
    }

    fn severity(&self) -> &str {
        self.labels.get("severity").map(String::as_str).unwrap_or_default()
    }
}
