//! What operators see of the fallback on a worker's own port.

use std::collections::BTreeSet;

use serde_json::json;
use uuid::Uuid;

use crate::fleet::{Fleet, answers, soon};

#[tokio::test]
async fn a_worker_tells_of_attempts_breakers_cost_and_verification_in_bounded_series() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    fleet.until_metric(&worker, r#"regimen_provider_breaker{provider="openai""#, 0.0).await;
    let status = |provider: &str, status: u16, reason: &str| {
        let action = json!({"do": "status", "status": status, "reason": reason});
        json!({"provider": provider, "times": 1, "action": action})
    };
    let wrong = |what: &str| {
        let action = json!({"do": what, "food": "peanut butter"});
        json!({"provider": "gemini", "times": 1, "action": action})
    };
    let rules = [
        status("openai", 401, "rate"),
        status("anthropic", 429, "money"),
        wrong("allergen"),
        json!({"provider": "gemini", "times": 1, "action": {"do": "wrong_totals"}}),
    ];
    fleet.simulator.control(json!({ "rules": rules })).await;
    // Bad key, no money, an allergen, and then wrong totals that are put right.
    let (user, job) = ingress.submit_one().await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!((&view["status"], &view["provider"]), (&json!("succeeded"), &json!("gemini")));
    for line in [
        r#"regimen_provider_attempts_total{provider="openai",class="unauthorized"}"#,
        r#"regimen_provider_attempts_total{provider="anthropic",class="out_of_money"}"#,
        r#"regimen_provider_attempts_total{provider="gemini",class="invalid"}"#,
        r#"regimen_provider_attempts_total{provider="gemini",class="ok"}"#,
        r#"regimen_provider_alerts_total{provider="openai",class="unauthorized"}"#,
        r#"regimen_provider_alerts_total{provider="anthropic",class="out_of_money"}"#,
        r#"regimen_provider_cost_micros_total{provider="gemini"}"#,
        r#"regimen_plans_verified_total{kind="meal",outcome="dangerous"}"#,
        r#"regimen_plans_verified_total{kind="meal",outcome="repaired"}"#,
        r#"regimen_plan_violations_total{kind="meal",class="allergen"}"#,
        "regimen_provider_call_seconds_count",
    ] {
        fleet.until_metric(&worker, line, 1.0).await;
    }
    let open = r#"regimen_provider_breaker{provider="openai",model="gpt-6-luna"}"#;
    fleet.until_metric(&worker, open, 2.0).await;
    let metrics = fleet.metrics(&worker).await;
    assert!(metrics.contains(
        r#"regimen_provider_breaker{provider="gemini",model="gemini-3.5-flash-lite"} 0"#
    ));

    // Nothing a user says becomes a label, and no id does.
    let before = series(&metrics);
    for n in 0..5 {
        let body = json!({"kinds": ["meal"], "answers": answers(), "provider": "llama",
                          "model": format!("wished-for-{n}")});
        let user = Uuid::new_v4();
        let job = ingress.submit_body(user, &body).await[0];
        soon("the plan", ingress.ended(user, job)).await;
    }
    fleet
        .until_metric(
            &worker,
            r#"regimen_provider_attempts_total{provider="llama",class="ok"}"#,
            5.0,
        )
        .await;
    let metrics = fleet.metrics(&worker).await;
    assert!(!metrics.contains("wished-for") && !metrics.contains(&job.to_string()));
    let new: Vec<_> = series(&metrics).difference(&before).cloned().collect();
    assert!(new.iter().all(|line| line.contains("llama") || line.contains("clean")), "{new:?}");
}

/// The series of the fallback, without their values.
fn series(metrics: &str) -> BTreeSet<String> {
    let of_ours =
        |line: &&str| line.starts_with("regimen_provider") || line.starts_with("regimen_plan");
    let name = |line: &str| line.rsplit_once(' ').map(|(name, _)| name.to_owned());
    metrics.lines().filter(of_ours).filter_map(name).collect()
}
