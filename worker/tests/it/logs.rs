//! Health data stays out of the logs of both binaries, at every level, on the way
//! to a plan and on the way to a failure; lines say each thing once, and nobody
//! waits for them.

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, PATIENCE, answers, soon};

#[tokio::test]
async fn what_a_person_declared_is_not_logged() {
    let mut fleet = Fleet::new(&[("RUST_LOG", "trace"), ("LOG_FORMAT", "json")]).await;
    fleet.ask_all_providers();
    let (ingress, worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let mut answers = answers();
    answers["foodAllergies"] = json!("peanuts, zebrine lacquer");
    answers["dislikedFoods"] = json!("quorvine");
    answers["injuries"] = json!("left knee, torn vexilium");
    answers["medications"] = json!("warfarin marblium");
    answers["healthConditions_other"] = json!("galoptic syndrome");
    let marked = ["peanut", "zebrine", "quorvine", "vexilium", "warfarin", "marblium", "galoptic"];
    let body = json!({"kinds": ["meal", "workout"], "answers": answers});

    let user = Uuid::new_v4();
    for job in ingress.submit_body(user, &body).await {
        assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    }
    let action = json!({"do": "allergen", "food": "peanut butter"});
    fleet.simulator.control(json!({"rules": [{ "action": action }]})).await;
    let body = json!({"kinds": ["meal"], "answers": body["answers"]});
    let job = ingress.submit_body(user, &body).await[0];
    let view = soon("the end", ingress.ended(user, job)).await;
    assert_eq!(view["error"]["code"], "unverifiable", "{view}");

    let logs = [worker.process.output(), ingress.binary.process.output()];
    // Kinds and counts are what an operator needs.
    assert!(logs[0].contains("a reply breaks rules") && logs[0].contains("allergen"));
    assert!(logs[0].contains(&job.to_string()));
    for line in logs.iter().flat_map(|log| log.lines()) {
        let told = marked.iter().find(|marker| line.to_lowercase().contains(*marker));
        assert_eq!(told, None, "{line}");
    }
}

/// Every line of JSON is an object that says no name twice.
#[tokio::test]
async fn no_line_says_a_field_twice() {
    let fleet = Fleet::new(&[("RUST_LOG", "debug"), ("LOG_FORMAT", "json")]).await;
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    for _ in 0..3 {
        let (user, job) = ingress.submit_one().await;
        soon("the plan", ingress.ended(user, job)).await;
    }
    let mut answered = 0;
    for log in [worker.process.output(), ingress.binary.process.output()] {
        for line in log.lines() {
            let read: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            // What was read knows each name once; written again it is as long as before.
            assert_eq!(read.to_string(), line);
            if read["message"] == "answered" && read["route"] == "/v1/plans" {
                answered += 1;
                assert!(read["request_id"].is_string() && read["user"].is_string(), "{line}");
            }
        }
    }
    assert_eq!(answered, 3);
}

/// The pipe of the log is full and stays so: requests are answered, lines are lost
/// and counted, and the process ends when it is asked to.
#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody() {
    let fleet = Fleet::new(&[("LOG_FORMAT", "json")]).await;
    let mut settings = fleet.settings().clone();
    let folder = tempfile::tempdir().unwrap();
    let addresses = folder.path().join("addresses");
    settings.insert("ADDRESS_FILE".to_owned(), addresses.display().to_string());
    let worker = std::path::Path::new(env!("CARGO_BIN_EXE_regimen-worker"));
    let mut ingress = std::process::Command::new(worker.with_file_name("regimen-ingress"))
        .env_clear()
        .envs(&settings)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let told = soon("the ingress", async {
        loop {
            let text = std::fs::read_to_string(&addresses).unwrap_or_default();
            if text.contains("METRICS_URL=") && text.ends_with('\n') {
                return text;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let url = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap().to_owned()
    };
    let (live, metrics) =
        (format!("{}/livez", url("INGRESS_URL")), format!("{}/metrics", url("METRICS_URL")));
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let lost = async || -> f64 {
        let page = client.get(&metrics).send().await.unwrap().text().await.unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix("regimen_log_lines_lost_total "));
        line.unwrap().parse().unwrap()
    };
    // One line each: more than the pipe and the lines that may wait.
    while lost().await == 0.0 {
        let requests = (0..200).map(async |_| client.get(&live).send().await.unwrap().status());
        let answers = soon("two hundred answers", join_all(requests)).await;
        assert!(answers.iter().all(|status| *status == StatusCode::OK), "{answers:?}");
    }
    let pid = ingress.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || ingress.wait());
    assert!(soon("the ingress's end", ended).await.unwrap().unwrap().success());
}
