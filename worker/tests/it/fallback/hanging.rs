//! One deadline for four providers: who hangs never takes the others' turn.

use serde_json::{Value, json};

use crate::fleet::{Fleet, soon};

#[tokio::test]
async fn three_providers_hang_and_the_fourth_answers_in_time() {
    const DEADLINE: i64 = 24;
    let deadline = DEADLINE.to_string();
    let mut fleet = Fleet::new(&[
        ("JOB_DEADLINE_SECONDS", deadline.as_str()),
        ("RETRY_ROUNDS_SECONDS", "3600"),
        // Only the sliced deadline ends these calls.
        ("PROVIDER_FIRST_BYTE_SECONDS", "600"),
    ])
    .await;
    fleet.ask_all_providers();
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let hang = |provider: &str| json!({"provider": provider, "action": {"do": "hang"}});
    let rules: Vec<Value> = ["openai", "anthropic", "gemini"].map(hang).into();
    fleet.simulator.control(json!({ "rules": rules })).await;

    let (user, job) = ingress.submit_one().await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!((&view["status"], &view["claims"]), (&json!("succeeded"), &json!(1)), "{view}");
    assert_eq!(view["provider"], "llama");
    // Every attempt stands in the job, with its error.
    let attempts: Vec<_> = view["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["provider"].as_str().unwrap(), one["outcome"].as_str().unwrap()))
        .collect();
    let timed_out = |name| (name, "timeout");
    let expected =
        [timed_out("openai"), timed_out("anthropic"), timed_out("gemini"), ("llama", "ok")];
    assert_eq!(attempts, expected, "{view}");
    assert!(view["attempts"][0]["error"].as_str().unwrap().contains("too long"), "{view}");
    let counts = fleet.simulator.wait("aborted=3&calls=4").await;
    assert_eq!(counts["open"], 0, "{counts}");
    let late = format!(
        "select count(*) from regimen.jobs
         where finished_at > first_claimed_at + interval '{DEADLINE} seconds'"
    );
    assert_eq!(fleet.count(&late).await, 0);
}
