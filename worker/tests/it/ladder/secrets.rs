//! What a provider says of itself stays with operators, and even there without
//! its secrets: a user sees the kind of failure and nothing else.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, soon};

/// Stands in every secret below.
const MARKER: &str = "MARKER";
/// Stands in words that operators need and users must not see.
const WORDS: &str = "upstream-gw";

/// Failures that name keys, accounts and addresses in all kinds of places.
fn failures() -> Vec<Value> {
    let message = format!(
        "{WORDS} refused: Incorrect API key provided: sk-proj-{MARKER}*****wxYZ (organization \
         org-{MARKER}abc, project proj_{MARKER}1) at https://svc:{MARKER}@gw.internal/v1?key={MARKER}; \
         Bearer {MARKER}.abc, AIza{MARKER}0123456789abcdefghijk, token={MARKER}x"
    );
    let error = json!({"error": {"message": message, "type": "server_error", "code": null}});
    let event = format!("data: {error}\n\n");
    vec![
        json!({"do": "status", "status": 500, "message": message}),
        json!({"do": "status", "status": 400, "message": message}),
        json!({"do": "status", "status": 503, "body": format!("<title>{message}</title>")}),
        json!({"do": "exact_body", "body": error.to_string()}),
        json!({"do": "exact_body", "body": event, "headers": {"content-type": "text/event-stream"}}),
        json!({"do": "exact_body", "body": message, "headers": {"content-type": "text/plain"}}),
        json!({"do": "status", "status": 401, "message": message}),
    ]
}

/// Every text a user can reach of a job, by any way.
async fn seen_by(fleet: &Fleet, ingress: &Ingress, user: Uuid, job: Uuid) -> String {
    let view = soon("the end", ingress.ended(user, job)).await;
    let list = ingress.get(user, "/v1/jobs").await;
    let request = ingress.door().request(Method::GET, user, &format!("/v1/jobs/{job}/events"));
    let events = request.send().await.unwrap().text().await.unwrap();
    // What row security lets a user read of the tables directly.
    let tables = text(
        fleet,
        "select coalesce(string_agg(t, ' '), '') from (
                 select to_jsonb(e)::text from regimen.job_events e
                 union all select coalesce(error_detail, '') from regimen.jobs
                 union all select to_jsonb(u)::text from regimen.ai_usage u) as all_texts (t)",
    )
    .await;
    format!("{view} {list} {events} {tables}")
}

async fn text(fleet: &Fleet, sql: &str) -> String {
    fleet.db().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn users_see_the_kind_of_a_failure_and_operators_its_words_without_secrets() {
    let fleet = Fleet::new(&[("RETRY_ROUNDS_SECONDS", "0.1"), ("PROVIDER_ATTEMPTS", "1")]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    for (failure, lifts) in failures().into_iter().zip(1..) {
        fleet.simulator.control(json!({"replace": true, "rules": [{"action": failure}]})).await;
        let (user, job) = ingress.submit_one().await;
        let seen = seen_by(&fleet, &ingress, user, job).await;
        assert!(!seen.contains(MARKER) && !seen.contains(WORDS), "{failure}: {seen}");

        let admin = ingress.get(Uuid::new_v4(), &format!("/admin/jobs/{job}")).await.to_string();
        assert!(!admin.contains(MARKER), "{failure}: {admin}");
        // A breaker may have kept the second round from asking.
        assert!(admin.contains(WORDS), "{failure}: {admin}");
        // So that the next failure is asked for: nothing stays shut.
        let resume =
            ingress.door().request(Method::POST, Uuid::new_v4(), "/admin/providers/openai/resume");
        assert!(resume.send().await.unwrap().status().is_success());
        let lifted = "regimen_provider_lifts{provider=\"openai\"}";
        fleet.until_metric(&worker, lifted, f64::from(lifts)).await;
    }
    let all = "select string_agg(error_detail, ' ') from regimen.job_attempts";
    let kept = text(&fleet, all).await;
    assert!(kept.contains(WORDS) && !kept.contains(MARKER), "{kept}");
}
