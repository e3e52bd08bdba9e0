//! Health data stays out of the logs of both binaries, at every level, on the
//! way to a plan and on the way to a failure.

use serde_json::json;
use uuid::Uuid;

use crate::fleet::{Fleet, answers, soon};

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
