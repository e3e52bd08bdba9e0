//! What is wrong with one host only is that host's matter: whoever else is
//! healthy writes the plan, whatever the others complain of.

use serde_json::{Value, json};

use crate::fleet::{Fleet, soon};

/// In the order in which they are asked.
const COMPLAINING: [&str; 3] = ["openai", "anthropic", "gemini"];
const HEALTHY: &str = "llama";

/// Complaints about an account or a deployment; the same words from all of them.
fn complaints() -> Vec<Value> {
    let error = |message: &str| json!({ "error": { "message": message } });
    let unknown = error("Unknown parameter: 'frobnicate'.");
    vec![
        json!({"do": "status", "status": 400, "message": "Your credit balance is too low to access the API."}),
        json!({"do": "status", "status": 422, "body": unknown}),
        json!({"do": "exact_body", "body": unknown.to_string()}),
        json!({"do": "exact_body", "body": error("Insufficient credits").to_string()}),
        json!({"do": "status", "status": 400, "body": ""}),
        json!({"do": "status", "status": 403, "message": "This organization has been disabled."}),
    ]
}

#[tokio::test]
async fn a_healthy_host_is_asked_whatever_all_others_complain_of() {
    for complaint in complaints() {
        // A fleet of its own each time: complaints open breakers.
        let mut fleet = Fleet::new(&[("RETRY_ROUNDS_SECONDS", "0.1")]).await;
        fleet.ask_all_providers();
        let rules = COMPLAINING.map(|host| json!({ "provider": host, "action": complaint }));
        fleet.simulator.control(json!({ "rules": rules })).await;
        let (ingress, _worker) = (fleet.ingress().await, fleet.worker().await);
        let (user, job) = ingress.submit_one().await;
        let view = soon("the plan", ingress.ended(user, job)).await;
        let by = (view["status"].as_str(), view["provider"].as_str());
        assert_eq!(by, (Some("succeeded"), Some(HEALTHY)), "{complaint}: {view}");
    }
}

/// Nothing is sent to such a host, nobody tries it again, and an operator learns of it.
#[tokio::test]
async fn a_host_with_a_certificate_that_nobody_trusts_is_left_out_and_reported() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let url = fleet.simulator.untrusted_url().to_owned();
    fleet.set("OPENAI_BASE_URL", &url);
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    let (user, job) = ingress.submit_one().await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!((&view["status"], &view["provider"]), (&json!("succeeded"), &json!("anthropic")));
    let alert = r#"regimen_provider_alerts_total{provider="openai",class="certificate"}"#;
    fleet.until_metric(&worker, alert, 1.0).await;
    let sql = "select count(*) from regimen.job_attempts
               where provider = 'openai' and outcome = 'certificate'";
    assert_eq!(fleet.count(sql).await, 1, "one call, without a second try");
    let log = worker.process.output();
    assert!(log.contains("a provider needs attention"), "{log}");
}
