//! Health data stays out of the logs of both binaries, at every level, on the way
//! to a plan and on the way to a failure; lines say each thing once, and nobody
//! waits for them.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, PATIENCE, answers, soon};

/// The answers a person gives in their own words, with a word in each that
/// stands nowhere else. Those of allergies and diets are read; the others too, but
/// go by.
const FREE_TEXTS: [&str; 13] = [
    "challenges",
    "country",
    "dislikedFoods",
    "equipment",
    "foodAllergies",
    "gender",
    "groceryBudget",
    "healthConditions",
    "healthConditions_other",
    "injuries",
    "medications",
    "occupation_activity",
    "timeFrame",
];

/// The word of a field.
fn marker(field: &str) -> String {
    format!("Mrk{}quorv", field.replace('_', ""))
}

/// A quiz with a marker in each free text, and `word`.
fn marked(word: &str) -> Value {
    let mut answers = answers();
    for field in FREE_TEXTS {
        let text = format!("{} and {}", marker(field), marker(field));
        let is_list = matches!(field, "challenges" | "equipment" | "healthConditions");
        answers[field] = if is_list { json!([text]) } else { json!(text) };
    }
    answers["foodAllergies"] = json!(format!("peanuts, {}", marker("foodAllergies")));
    answers["dislikedFoods"] = json!(format!("{} {word}", marker("dislikedFoods")));
    answers
}

/// What providers answer, quoting what they were sent.
fn failures() -> Vec<Value> {
    let quoted = format!("you said: {}, peanuts", FREE_TEXTS.map(marker).join(", "));
    let error = json!({"error": {"message": quoted, "type": "invalid_request_error"}}).to_string();
    let status = |status: u16| json!({"do": "exact_body", "status": status, "body": error});
    let mut failures: Vec<Value> =
        [400, 401, 402, 403, 404, 408, 413, 418, 429, 500, 503, 529].map(status).to_vec();
    failures.extend([
        json!({"do": "exact_body", "status": 200, "body": quoted}),
        json!({"do": "exact", "text": quoted}),
        json!({"do": "exact", "text": json!({"plan": quoted}).to_string()}),
        json!({"do": "obey", "says": quoted}),
        json!({"do": "allergen", "food": format!("peanut butter {}", marker("foodAllergies"))}),
        json!({"do": "wrong_totals"}),
        json!({"do": "overloaded"}),
        json!({"do": "hang"}),
        json!({"do": "hang_after_headers"}),
        json!({"do": "cut", "at": "half"}),
        json!({"do": "truncated"}),
        json!({"do": "refusal"}),
        json!({"do": "blocked"}),
        json!({"do": "empty_body"}),
        json!({"do": "empty_text"}),
        json!({"do": "invalid_json"}),
        json!({"do": "garbage_body"}),
        json!({"do": "schema_invalid"}),
        json!({"do": "stream_error"}),
        json!({"do": "failed", "code": "server_error"}),
    ]);
    failures
}

/// Bad requests, each with the markers in other places.
async fn send_bad_requests(ingress: &Ingress, user: Uuid) -> usize {
    let quiz = marked("never-accepted");
    let all = FREE_TEXTS.map(marker).join(" ");
    let mut wrong = quiz.clone();
    for (_, answer) in wrong.as_object_mut().unwrap() {
        *answer = json!({ all.clone(): all });
    }
    let mut foreign = quiz.clone();
    foreign[&all] = json!(all);
    let long = json!(vec![all.as_str(); 200]);
    let mut too_long = quiz.clone();
    too_long["foodAllergies"] = json!(all.repeat(40));
    too_long["challenges"] = long;
    let of = |answers: &Value| json!({"kinds": ["meal"], "answers": answers}).to_string();
    let bodies = [
        of(&wrong),
        of(&foreign),
        of(&too_long),
        json!({"kinds": [all], "answers": quiz}).to_string(),
        json!({"kinds": ["meal"], "answers": quiz, "callback_url": format!("https://{all}/")})
            .to_string(),
        json!({"kinds": ["meal"], "answers": quiz, "provider": all}).to_string(),
        json!({"kinds": ["meal"], "answers": quiz, "quiz_result_id": all}).to_string(),
        format!("{{\"answers\": {quiz}, \"kinds\": [\"meal\"]"),
        all.clone(),
        all.repeat(5_000),
    ];
    let mut sent = 0;
    for path in ["/v1/plans", "/generate-plans"] {
        for body in &bodies {
            let request = ingress.door().request(Method::POST, user, path);
            let request = request.header("content-type", "application/json").body(body.clone());
            match request.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    assert!(status.is_client_error() || status.is_success(), "{path} {status}");
                }
                // What is too large is refused and cut off before it is read.
                Err(error) => assert!(body.len() > 262_144, "{path} {error}"),
            }
            sent += 1;
        }
    }
    let word = marker("injuries");
    for path in [
        format!("/{word}"),
        format!("/v1/jobs/{word}"),
        format!("/v1/jobs?status={word}"),
        format!("/plan-status/{word}"),
        format!("/v1/plans/{word}/active"),
    ] {
        let request = ingress.door().request(Method::GET, user, &path);
        let request = request.header("user-agent", &word).header("x-unknown", &word);
        assert!(request.send().await.unwrap().status().is_client_error(), "{path}");
        sent += 1;
    }
    let webhook = ingress.door().request(Method::POST, user, "/api/stripe/webhook");
    let webhook = webhook.header("stripe-signature", format!("t=1,v1={word}")).body(all);
    assert_eq!(webhook.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    sent + 1
}

/// Searches the lines of these processes; says how many places that were.
#[expect(clippy::print_stdout, reason = "the figure is the result of the test")]
fn search(logs: &[(&str, String)], words: &[String], ways: usize) {
    let mut lines = 0;
    for (process, log) in logs {
        for line in log.lines() {
            lines += 1;
            let low = line.to_lowercase();
            let told = words.iter().find(|word| low.contains(&word.to_lowercase()));
            assert_eq!(told, None, "{process}: {line}");
        }
    }
    println!(
        "{} words searched in {lines} lines of {} processes on {ways} ways: {} places",
        words.len(),
        logs.len(),
        words.len() * lines
    );
    assert!(lines > 200, "{lines} lines");
}

#[tokio::test]
async fn what_a_person_wrote_is_in_no_line_of_any_level_on_any_way() {
    let settings = [
        ("RUST_LOG", "trace"),
        ("LOG_FORMAT", "json"),
        ("LOG_USER_KEY", "a-key-of-the-logging-test-0123456789"),
        ("OPENAI_MODEL", "gpt-6-luna"),
        ("RETRY_ROUNDS_SECONDS", "0.1"),
        ("JOB_DEADLINE_SECONDS", "8"),
        ("PROVIDER_ATTEMPTS", "1"),
        ("PROVIDER_FIRST_BYTE_SECONDS", "1"),
        ("PROVIDER_STALL_SECONDS", "1"),
        ("PROVIDER_BREAKER_SECONDS", "0.05"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_logs"),
        ("CALLBACK_SECRETS", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
        ("CALLBACK_ALLOW_HTTP", "true"),
        ("CALLBACK_ALLOWED_NETWORKS", "127.0.0.0/8"),
        ("CALLBACK_RETRY_SECONDS", "0.1"),
    ];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let mut doomed = fleet.worker().await;
    let mut users = Vec::new();

    // A worker that is killed in the middle of a call; another one takes over.
    fleet.simulator.hold("held", &[]).await;
    let body = json!({"kinds": ["meal"], "answers": marked("killed"),
                      "callback_url": format!("http://127.0.0.1:1/{}", marker("country"))});
    users.push(Uuid::new_v4());
    let lost = ingress.submit_body(users[0], &body).await[0];
    fleet.simulator.wait("open=1").await;
    doomed.process.kill9().await;
    fleet.simulator.forget("held").await;
    let worker = fleet.worker().await;
    assert_eq!(soon("the plan", ingress.ended(users[0], lost)).await["status"], "succeeded");

    // Postgres refuses the plan, and says in its detail what stands in it.
    let refuse = "alter table public.ai_meal_plans add constraint refused
                  check (daily_calories = 1) not valid";
    fleet.db().await.batch_execute(refuse).await.unwrap();
    let (user, body) = (Uuid::new_v4(), json!({"kinds": ["meal"], "answers": marked("refused")}));
    let job = ingress.submit_body(user, &body).await[0];
    let view = soon("the end", ingress.ended(user, job)).await;
    assert_eq!(view["error"]["code"], "internal", "{view}");
    users.push(user);
    let mend = "alter table public.ai_meal_plans drop constraint refused";
    fleet.db().await.batch_execute(mend).await.unwrap();

    // Every way a provider can fail, one after the other: a failure may keep the provider
    // from being asked for a while.
    let failures = failures();
    for (n, action) in failures.iter().enumerate() {
        fleet.simulator.control(json!({"replace": true, "rules": [{"action": action}]})).await;
        let user = Uuid::new_v4();
        let mut body = json!({"kinds": ["meal"], "answers": marked("any")});
        if n % 3 == 0 {
            body["kinds"] = json!(["meal", "workout"]);
            body["provider"] = json!("openai");
            body["model"] = json!(marker("gender"));
        }
        for job in ingress.submit_body(user, &body).await {
            let view = soon("the end", ingress.ended(user, job)).await;
            assert!(view["status"].is_string(), "{view}");
        }
        users.push(user);
        let resume = "/admin/providers/openai/resume";
        let resume = ingress.door().request(Method::POST, Uuid::new_v4(), resume);
        assert!(resume.send().await.unwrap().status().is_success());
        let lifts = u32::try_from(n + 1).unwrap();
        let lifted = r#"regimen_provider_lifts{provider="openai"}"#;
        fleet.until_metric(&worker, lifted, f64::from(lifts)).await;
    }
    fleet.simulator.control(json!({"replace": true, "rules": []})).await;

    // One that is cancelled, and all that is refused at the door.
    fleet.simulator.hold("cancelled", &[]).await;
    let user = Uuid::new_v4();
    let job =
        ingress.submit_body(user, &json!({"kinds": ["workout"], "answers": marked("x")})).await;
    assert_eq!(ingress.cancel(user, job[0]).await, StatusCode::ACCEPTED);
    users.push(user);
    let refused = send_bad_requests(&ingress, user).await;

    let logs = [
        ("the worker", worker.process.output()),
        ("the killed worker", doomed.process.output()),
        ("the ingress", ingress.binary.process.output()),
    ];
    let mut words: Vec<_> = FREE_TEXTS.map(marker).to_vec();
    words.push("peanut".to_owned());
    words.extend(users.iter().map(Uuid::to_string));
    search(&logs, &words, failures.len() + 3 + refused);

    // Kinds and counts are what an operator needs, with what joins lines.
    let told = &logs[0].1;
    assert!(told.contains("a reply breaks rules") && told.contains("allergen"));
    let lines = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let failed: Vec<_> = lines.filter(|line| line["message"] == "attempt failed").collect();
    assert!(failed.len() > failures.len() / 2, "{}", failed.len());
    for line in failed {
        let user = line["user"].as_str().unwrap();
        assert!(user.len() == 16 && user.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        assert!(line["job_id"].as_str().unwrap().parse::<Uuid>().is_ok(), "{line}");
        let known = ["gpt-6-luna", "custom"];
        assert!(known.contains(&line["model"].as_str().unwrap()), "{line}");
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
