//! What reaches Sentry when things fail: defects and what is lost, with ids and
//! codes; nothing for what is expected, and no word of anybody's answers.

use std::process::Command;

use regimen_common::clock::Clock;
use regimen_common::config::{Env, Environment};
use regimen_common::process;
use regimen_common::telemetry::{self, TelemetryConfig};
use regimen_common::test_support::Language;
use reqwest::{Method, StatusCode};
use sentry::Level;
use sentry::protocol::Event;
use serde_json::{Value, json};
use uuid::Uuid;

use super::recorder::{Recorder, Then, fields};
use super::{end, watched};
use crate::callbacks::LOCAL;
use crate::callbacks::receiver::{Receiver, Reply};
use crate::fallback::secrets::failures;
use crate::fleet::{Fleet, answers, soon};
use crate::panics::three_panics;
use crate::stripe::worker::{event, subscription};

const SECRET: &str = "whsec_of_the_signals";

/// Words of a quiz, of a plan, of an account, of keys: none may leave.
const MARKERS: [&str; 11] = [
    "peanut",
    "zebrine",
    "quorvine",
    "vexilium",
    "warfarin",
    "marblium",
    "galoptic",
    "MARKER",
    "@example.test",
    "a-service-key-for-tests",
    SECRET,
];

fn marked() -> Value {
    let mut answers = answers();
    answers["foodAllergies"] = json!("peanuts, zebrine lacquer");
    answers["dislikedFoods"] = json!("quorvine");
    answers["injuries"] = json!("left knee, torn vexilium");
    answers["medications"] = json!("warfarin marblium");
    answers["healthConditions_other"] = json!("galoptic syndrome");
    json!({ "kinds": ["meal"], "answers": answers })
}

/// A person with an account, a marked quiz and a job.
async fn submit(
    fleet: &Fleet,
    ingress: &crate::fleet::Ingress,
    callback: Option<&str>,
) -> (Uuid, Uuid) {
    let (user, mut body) = (fleet.profile().await, marked());
    if let Some(url) = callback {
        body["callback_url"] = json!(url);
    }
    (user, ingress.submit_body(user, &body).await[0])
}

fn assert_reported(event: &Event<'_>, service: &str) {
    assert_eq!(event.level, Level::Error);
    assert_eq!(event.release.as_deref(), Some("regimen@test"));
    assert_eq!(event.environment.as_deref(), Some("development"));
    assert!(event.server_name.as_ref().is_some_and(|name| !name.is_empty()), "{event:?}");
    assert_eq!(event.tags["service"], service);
    assert!(event.fingerprint.len() <= 4, "{:?}", event.fingerprint);
}

#[tokio::test]
async fn defects_and_losses_are_reported_without_a_word_of_anybodys_answers() {
    let (recorder, receiver) =
        (Recorder::start(Then::Thanks).await, Receiver::with(&[], Reply::Status(503)).await);
    let key = ("OPENAI_API_KEY", "sk-MARKER-of-a-key");
    let settings: Vec<_> = LOCAL
        .into_iter()
        .chain([("STRIPE_WEBHOOK_SECRET", SECRET), key, ("RETRY_ROUNDS_SECONDS", "0.05")])
        .chain([("PROVIDER_ATTEMPTS", "1")])
        .collect();
    let fleet = watched(&recorder, &settings).await;
    let ingress = fleet.ingress().await;

    // An event that nobody can read, found by the worker when it starts.
    let user = fleet.profile().await;
    let now = Clock::system().now().timestamp();
    let paid =
        event("evt_1", "customer.subscription.created", now, &subscription("active", Some(user)));
    assert_eq!(ingress.door().deliver(&paid, SECRET).await.status(), StatusCode::OK);
    let spoil = "update regimen.stripe_events set payload = '{\"peanuts\"'";
    fleet.db().await.batch_execute(spoil).await.unwrap();
    let mut worker = fleet.worker().await;
    let dead = "select count(*) from regimen.stripe_events where state = 'dead'";
    fleet.until_count(dead, 1).await;

    // A plan, and callbacks that nobody takes.
    let (user, job) = submit(&fleet, &ingress, Some(&receiver.url)).await;
    assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    let unsent = recorder.incident("callback_dead").await;
    assert_eq!(fields(&unsent)["job_id"], job.to_string());
    assert_eq!(unsent.user.as_ref().unwrap().id, Some(user.to_string()));

    // Providers that fail in every way and quote the quiz: expected.
    for (action, lifts) in failures().into_iter().zip(1_u8..) {
        let rule = json!({"name": "failing", "action": action});
        fleet.simulator.control(json!({ "rules": [rule] })).await;
        let (user, job) = submit(&fleet, &ingress, None).await;
        assert_eq!(soon("the end", ingress.ended(user, job)).await["status"], "failed");
        fleet.simulator.forget("failing").await;
        let resume = ingress.door().request(Method::POST, user, "/admin/providers/openai/resume");
        assert!(resume.send().await.unwrap().status().is_success());
        let lifted = "regimen_provider_lifts{provider=\"openai\"}";
        fleet.until_metric(&worker, lifted, f64::from(lifts)).await;
    }
    let action = json!({"do": "allergen", "food": "peanut butter"});
    fleet.simulator.control(json!({"rules": [{"name": "failing", "action": action}]})).await;
    let (user, job) = submit(&fleet, &ingress, None).await;
    assert_eq!(soon("the end", ingress.ended(user, job)).await["status"], "failed");
    fleet.simulator.forget("failing").await;

    // A stored request that cannot be read: a defect.
    fleet
        .db()
        .await
        .batch_execute(
            "insert into regimen.pauses (what, name, paused_by) values ('queue', 'free', 'a test')",
        )
        .await
        .unwrap();
    let (unreadable, job) = submit(&fleet, &ingress, None).await;
    let spoil = "update regimen.jobs set input = '{\"nutrition\": \"peanuts\"}' where id = $1";
    fleet.db().await.execute(spoil, &[&job]).await.unwrap();
    fleet.db().await.batch_execute("delete from regimen.pauses").await.unwrap();
    assert_eq!(soon("the end", ingress.ended(unreadable, job)).await["error"]["code"], "internal");
    let defect = recorder.incident("job_internal").await;
    assert_reported(&defect, "regimen-worker");
    assert_eq!(defect.user.as_ref().unwrap().id, Some(unreadable.to_string()));
    let about = json!(defect.contexts["ai_generation"]);
    for (name, wanted) in
        [("job_id", job.to_string()), ("kind", "meal".to_owned()), ("attempt", "1".to_owned())]
    {
        assert_eq!(about[name], wanted, "{about}");
    }
    assert!(about["prompt_version"].is_string() && about["quiz_result_id"].is_string(), "{about}");
    let (trace, transaction) =
        (json!(defect.contexts["trace"]), recorder.transaction("process plans").await);
    assert_eq!(trace["trace_id"].as_str().map(str::len), Some(32));
    assert_eq!(transaction.release.as_deref(), Some("regimen@test"));

    // A job that takes its third worker with it.
    let (user, job) = fleet.one_held_job_of(&ingress, marked()).await;
    fleet
        .db()
        .await
        .batch_execute("update regimen.jobs set lost = 2 where state = 'running'")
        .await
        .unwrap();
    worker.process.kill9().await;
    let worker = fleet.worker().await;
    assert_eq!(soon("the end", ingress.ended(user, job)).await["error"]["code"], "poisoned");
    let poisoned = recorder.incident("job_poisoned").await;
    assert_eq!(fields(&poisoned)["job_id"], job.to_string());
    assert_reported(&poisoned, "regimen-worker");

    // Signatures by the dozen.
    for _ in 0..45 {
        let refused = ingress.door().deliver(&marked(), "whsec_of_somebody").await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }
    assert_eq!(fields(&recorder.incident("webhook_forgeries").await)["deliveries"], 20);

    // A database whose words quote the quiz: at the end of a job, and many times
    // at its beginning.
    says_the_quiz(&fleet, "update", "new.state = 'succeeded'").await;
    fleet.simulator.release("reply").await;
    fleet.simulator.forget("reply").await;
    let (user, job) = submit(&fleet, &ingress, None).await;
    assert_eq!(soon("the end", ingress.ended(user, job)).await["error"]["code"], "internal");
    assert!(worker.process.output().contains("zebrine"), "the log has the words");
    says_the_quiz(&fleet, "insert", "true").await;
    let broken = Uuid::new_v4();
    for _ in 0..30 {
        let answer = ingress.door().post_plans(broken, &marked(), None).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    end(worker).await;
    end(ingress.binary).await;

    let events = recorder.events();
    let of_requests: Vec<_> = events
        .iter()
        .filter(|event| event.logger.as_deref() == Some("regimen_ingress::error"))
        .collect();
    assert_eq!(of_requests.len(), 10, "as many of one kind as a minute takes");
    assert_reported(of_requests[0], "regimen-ingress");
    assert_eq!(of_requests[0].transaction.as_deref(), Some("POST /v1/plans"));
    assert_eq!(of_requests[0].user.as_ref().unwrap().id, Some(broken.to_string()));
    assert_eq!(recorder.incidents("webhook_forgeries").len(), 1);
    let dead: Vec<_> = events.iter().filter(|event| fields(event)["event_id"] == "evt_1").collect();
    assert_eq!(dead.len(), 1, "{dead:?}");
    // Everything else that was reported is what somebody has to look at.
    for event in &events {
        let said = event.message.as_deref().unwrap_or_default();
        let expected =
            ["provider needs attention", "job", "callback", "Stripe", "request failed", "claim"];
        assert!(expected.iter().any(|word| said.contains(word)), "{event:?}");
        let class = fields(event)["class"].clone();
        assert!(
            !["rate_limited", "overloaded", "unavailable"].iter().any(|one| class == *one),
            "{event:?}"
        );
    }
    // Its attempts are the trail of a job.
    assert!(
        !defect.breadcrumbs.values.iter().any(|crumb| crumb.category.as_deref() != Some("attempt"))
    );
    assert_nothing_left(&recorder);
    assert_no_plan_left(&fleet, &recorder).await;
    assert_sentry_takes(&recorder);
}

/// Makes Postgres refuse to change jobs so, in words that quote the quiz.
async fn says_the_quiz(fleet: &Fleet, change: &str, when: &str) {
    let sql = format!(
        "create function public.refuse_{change}() returns trigger language plpgsql as
         $$ begin raise exception 'cannot take %', new.input; end $$;
         create trigger refuse_{change} before {change} on regimen.jobs
         for each row when ({when}) execute function public.refuse_{change}()"
    );
    fleet.db().await.batch_execute(&sql).await.unwrap();
}

/// Whether no text of a stored plan was sent.
async fn assert_no_plan_left(fleet: &Fleet, recorder: &Recorder) {
    let sql = "select plan_data from public.ai_meal_plans limit 1";
    let plan: Value = fleet.db().await.query_one(sql, &[]).await.unwrap().get(0);
    let mut texts = Vec::new();
    let mut values = vec![&plan];
    while let Some(value) = values.pop() {
        match value {
            Value::String(text) if text.len() > 15 => texts.push(text.as_str()),
            Value::Array(list) => values.extend(list),
            Value::Object(members) => values.extend(members.values()),
            _ => {}
        }
    }
    assert!(texts.len() > 10, "{plan}");
    for request in recorder.received() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let told = texts.iter().find(|text| body.contains(**text));
        assert_eq!(told, None, "{} {body}", request.path);
    }
}

/// Whether Sentry's own server drops nothing of what it was sent.
fn assert_sentry_takes(recorder: &Recorder) {
    let Some(python) = Language::python("sentry") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut check = python.script("check.py");
    for (n, request) in recorder.received().iter().enumerate() {
        if request.path.ends_with("/envelope/") {
            let path = folder.path().join(n.to_string());
            std::fs::write(&path, &request.body).unwrap();
            check.arg(path);
        }
    }
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["bad"], json!([]), "{told}");
    for kind in ["event", "transaction"] {
        assert!(told["read"][kind].as_u64() > Some(10), "{told}");
    }
}

fn assert_nothing_left(recorder: &Recorder) {
    let received = recorder.received();
    assert!(received.len() > 10, "{}", received.len());
    for request in &received {
        let text = format!("{} {:?}", String::from_utf8_lossy(&request.body), request.headers);
        let text = text.to_lowercase();
        let told = MARKERS.iter().find(|marker| text.contains(&marker.to_lowercase()));
        assert_eq!(told, None, "{} {text}", request.path);
    }
}

/// In a process of its own, as what it sets up is set up for all of a process.
#[tokio::test]
async fn panics_are_reported_with_their_job_and_without_their_text() {
    let recorder = Recorder::start(Then::Thanks).await;
    let name = "signals::reports::a_process_whose_handlers_panic";
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--ignored", "--nocapture"]).env("SIGNALS_DSN", recorder.dsn());
    let ended = tokio::task::spawn_blocking(move || child.output());
    let output = soon("the process", ended).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = recorder.events();
    let panics: Vec<_> = events
        .iter()
        .filter(|event| event.exception.iter().any(|exception| exception.ty == "panic"))
        .collect();
    assert_eq!(panics.len(), 3, "{events:?}");
    for event in &panics {
        assert_eq!(json!(event.contexts["ai_generation"])["kind"], "meal", "{event:?}");
        assert!(event.user.as_ref().unwrap().id.is_some());
        assert_eq!(event.transaction.as_deref(), Some("process trapped"));
        let trace = event.exception[0].stacktrace.as_ref().unwrap();
        let functions: Vec<_> =
            trace.frames.iter().filter_map(|frame| frame.function.clone()).collect();
        assert!(functions.iter().any(|name| name.contains("springs")), "{functions:?}");
    }
    assert_eq!(recorder.incidents("job_poisoned").len(), 1);
    for request in recorder.received() {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        assert!(!text.contains("as its test wants"), "{text}");
    }
}

#[test]
#[ignore = "the other half of the test above, which runs it"]
fn a_process_whose_handlers_panic() {
    process::install_crypto();
    let dsn = std::env::var("SIGNALS_DSN").unwrap();
    let mut env = Env::from_pairs([("SENTRY_DSN", dsn.as_str()), ("RUST_LOG", "warn")]);
    let config = TelemetryConfig::take(&mut env, Environment::Staging);
    let telemetry = telemetry::init(&config, "regimen-worker").unwrap();
    process::runtime().unwrap().block_on(three_panics());
    drop(telemetry);
}
