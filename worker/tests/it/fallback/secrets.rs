//! What a provider says stays with operators, and even there without its secrets:
//! users and their servers are told the kind of failure and nothing else, and no
//! log says what a provider quotes of a quiz.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::callbacks::receiver::{Delivery, Receiver};
use crate::callbacks::{LOCAL, submit_body};
use crate::fleet::{Fleet, Ingress, answers, soon};

/// Stands in every secret below.
const MARKER: &str = "MARKER";
/// Stands in words that operators need and users must not see.
const WORDS: &str = "upstream-gw";
/// Stands in the quiz, and in what a provider quotes of it.
const DECLARED: &str = "vexilium";

/// Failures that quote the quiz and name keys, accounts and addresses in all
/// kinds of places.
pub(crate) fn failures() -> Vec<Value> {
    let message = format!(
        "{WORDS} refused 'torn {DECLARED}': Incorrect API key provided: sk-proj-{MARKER}*****wxYZ (organization \
         org-{MARKER}abc, project proj_{MARKER}1) at https://svc:{MARKER}@gw.internal/v1?key={MARKER}; \
         Bearer {MARKER}.abc, AIza{MARKER}0123456789abcdefghijk, token={MARKER}x"
    );
    let error = json!({"error": {"message": message, "type": "server_error", "code": null}});
    let event = format!("data: {error}\n\n");
    let named = json!({"error": {"message": message, "type": DECLARED, "param": DECLARED}});
    vec![
        json!({"do": "status", "status": 422, "body": named.to_string()}),
        json!({"do": "status", "status": 402, "message": message}),
        json!({"do": "status", "status": 404, "message": message}),
        json!({"do": "status", "status": 429, "message": message}),
        json!({"do": "status", "status": 400, "message": format!("{WORDS} cannot take 'torn {DECLARED}'")}),
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

/// A callback about a failure holds its code, and of the provider nothing.
fn holds_only_the_class(told: &Delivery) {
    let (body, text) = (told.json(), String::from_utf8_lossy(&told.body));
    let error: Vec<_> = body["data"]["error"].as_object().unwrap().keys().collect();
    assert_eq!(error, ["code"], "{text}");
    for private in [MARKER, WORDS, DECLARED] {
        assert!(!text.contains(private), "{private} in {text}");
    }
}

#[tokio::test]
async fn users_see_the_kind_of_a_failure_and_operators_its_words_without_secrets() {
    let rest = [
        ("RETRY_ROUNDS_SECONDS", "0.1"),
        ("PROVIDER_ATTEMPTS", "1"),
        ("RUST_LOG", "trace"),
        ("OPENAI_API_KEY", "sk-MARKER-of-our-own-0123456789"),
    ];
    let fleet = Fleet::new(&[&LOCAL[..], &rest].concat()).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    let worker = fleet.worker().await;
    let mut answers = answers();
    answers["injuries"] = json!(format!("torn {DECLARED}"));
    let body = json!({"kinds": ["meal"], "answers": answers, "callback_url": receiver.url});
    for (failure, lifts) in failures().into_iter().zip(1..) {
        fleet.simulator.control(json!({"replace": true, "rules": [{"action": failure}]})).await;
        let user = Uuid::new_v4();
        let job = submit_body(&ingress, user, &body).await;
        let seen = seen_by(&fleet, &ingress, user, job).await;
        assert!(!seen.contains(MARKER) && !seen.contains(WORDS), "{failure}: {seen}");
        holds_only_the_class(receiver.until(lifts).await.last().unwrap());

        let admin = ingress.get(Uuid::new_v4(), &format!("/admin/jobs/{job}")).await.to_string();
        assert!(!admin.contains(MARKER), "{failure}: {admin}");
        // A breaker may have kept the second round from asking.
        assert!(admin.contains(WORDS), "{failure}: {admin}");
        // So that the next failure is asked for: nothing stays shut.
        let resume =
            ingress.door().request(Method::POST, Uuid::new_v4(), "/admin/providers/openai/resume");
        assert!(resume.send().await.unwrap().status().is_success());
        let lifted = "regimen_provider_lifts{provider=\"openai\"}";
        fleet.until_metric(&worker, lifted, f64::from(u32::try_from(lifts).unwrap())).await;
    }
    let all = "select string_agg(error_detail, ' ') from regimen.job_attempts";
    let kept = text(&fleet, all).await;
    assert!(kept.contains(WORDS) && !kept.contains(MARKER), "{kept}");

    let logs = [worker.process.output(), ingress.binary.process.output()];
    assert!(logs[0].contains("a provider needs attention") && logs[0].contains("bad_request"));
    for line in logs.iter().flat_map(|log| log.lines()) {
        let told = [MARKER, WORDS, DECLARED].into_iter().find(|private| line.contains(private));
        assert_eq!(told, None, "{line}");
    }
}
