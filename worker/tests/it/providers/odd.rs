//! What real hosts send: good replies in odd shapes cost one call, errors in
//! the place of a reply are named, refused parts of a request are left out.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use regimen_simulator::Shape;
use regimen_worker::llm::ProviderName;
use regimen_worker::llm::ProviderName::{Anthropic, Gemini, Llama, Openai};
use regimen_worker::llm::fallback::Fallback;
use regimen_worker::llm::outcome::FallbackError;
use regimen_worker::llm::policy::FallbackPolicy;
use serde_json::{Value, json};

use super::bench::{Counts, Kept, Reads, Sim, quick, request, small_request};
use super::matrix::PROVIDERS;

const WITHIN: Duration = Duration::from_secs(60);

/// Every shape, from every provider, is one call and a plan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_reply_in_an_odd_shape_costs_one_call() {
    let sim = Sim::start().await;
    let cases = PROVIDERS.into_iter().flat_map(|provider| {
        Shape::ALL.iter().map(move |shape| (provider, serde_json::to_value(shape).unwrap()))
    });
    let sim = &sim;
    let play = async |(provider, shape): (ProviderName, Value)| {
        let seed = format!("{provider}-{}", shape.as_str().unwrap());
        sim.rule(json!({ "marker": seed, "action": { "do": "odd", "shape": shape } })).await;
        let (fallback, kept) = (sim.fallback(&[provider], quick(), None), Kept::default());
        let ran = fallback.run(&request(&seed, WITHIN), &Reads, &kept).await;
        let ends = kept.ends.into_inner().unwrap();
        let delivered = ran.unwrap_or_else(|error| panic!("{seed}: {error}: {ends:?}"));
        assert_eq!(delivered.calls, 1, "{seed}: {ends:?}");
        let doubted = ["usage_null", "usage_negative", "usage_huge", "usage_missing"];
        let estimated = doubted.iter().any(|shape| seed.ends_with(shape));
        assert_eq!(ends[0].estimated, estimated, "{seed}: {ends:?}");
        assert!((1..200_000).contains(&ends[0].cost_micros), "{seed}: {ends:?}");
        assert!(ends[0].usage.output > 500, "{seed}: {ends:?}");
        let plan = serde_json::to_string(&delivered.plan).unwrap();
        assert!(!plan.contains("\\u0000"), "{seed}");
        if seed.ends_with("split_letter") {
            assert!(plan.contains('😀'), "{seed}: its halves have not met");
        }
        if seed.ends_with("half_letter") {
            assert!(plan.contains("a\u{fffd} "), "{seed}");
        }
    };
    stream::iter(cases).map(play).buffer_unordered(8).collect::<Vec<()>>().await;
}

/// What `how` is called, and a part of its text that operators see.
const COMPLAINTS: [(&str, &str, &str); 13] = [
    ("json_number", "out_of_money", "Insufficient credits"),
    ("json_text", "rate_limited", "slow down"),
    ("json_plain", "unavailable", "queue full"),
    ("json_typed", "unavailable", "Overloaded"),
    ("event_number", "unauthorized", "No auth credentials found"),
    ("event_text", "rate_limited", "slow down"),
    ("event_plain", "unavailable", "queue full"),
    ("event_named", "unavailable", "no worker is free"),
    ("event_stop", "unavailable", "gave up"),
    ("detail", "unauthorized", "Not authenticated"),
    ("detail_list", "bad_request", "body.prompt: Field required"),
    ("json_as_stream", "rate_limited", "slow down"),
    ("page", "cut", "502 Bad Gateway"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_the_place_of_a_reply_is_named_with_its_text() {
    let sim = Sim::start().await;
    for (how, class, text) in COMPLAINTS {
        for provider in PROVIDERS {
            // Only this format says it with a choice's reason to stop.
            if how == "event_stop" && !matches!(provider, Openai | Llama) {
                continue;
            }
            let seed = format!("{provider}-{how}");
            let complain = json!({ "do": "complain", "how": how });
            sim.rule(json!({ "marker": seed, "times": 1, "action": complain })).await;
            let (fallback, kept) = (sim.fallback(&[provider], quick(), None), Kept::default());
            // Whether it is asked again is the retry table's.
            let _ = fallback.run(&small_request(&seed, WITHIN), &Counts, &kept).await;
            let ends = kept.ends.into_inner().unwrap();
            assert_eq!(ends[0].outcome, class, "{seed}: {ends:?}");
            assert!(ends[0].detail.contains(text), "{seed}: {ends:?}");
        }
    }
}

/// Runs once; who delivered after how many calls, and how each attempt ended.
async fn run(fallback: &Fallback, seed: &str) -> (Option<ProviderName>, Vec<&'static str>) {
    let kept = Kept::default();
    let ran = fallback.run(&small_request(seed, WITHIN), &Counts, &kept).await;
    let ends = kept.ends.into_inner().unwrap().iter().map(|end| end.outcome).collect();
    (ran.ok().map(|delivered| delivered.provider), ends)
}

#[tokio::test]
async fn a_host_that_refuses_parts_of_a_request_is_asked_without_them_and_remembered() {
    let refusals = [
        (
            "max_completion_tokens",
            422,
            json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"}]}),
        ),
        (
            "json_schema",
            400,
            json!({"error": {"message": "response_format.type must be text or json_object", "param": "response_format"}}),
        ),
        ("json_object", 501, json!({"error": "json_object is not supported"})),
        (
            "stream_options",
            400,
            json!({"error": {"message": "Unknown parameter: 'stream_options'."}}),
        ),
    ];
    let sim = Sim::start().await;
    let fallback = sim.fallback(&[Llama, Openai], quick(), None);
    for (refused, status, body) in refusals {
        let action = json!({ "do": "status", "status": status, "body": body });
        sim.rule(json!({ "provider": "llama", "marker": format!("\"{refused}\"").trim_matches('"'), "action": action })).await;
    }
    let (by, ends) = run(&fallback, "first").await;
    assert_eq!(by, Some(Llama), "{ends:?}");
    assert_eq!(ends, ["bad_request", "bad_request", "bad_request", "bad_request", "ok"]);
    let (by, ends) = run(&fallback, "second").await;
    assert_eq!((by, ends), (Some(Llama), vec!["ok"]), "it is remembered");

    let calls = sim.get("/control/calls?marker=second&limit=1").await;
    let body: Value = serde_json::from_str(calls[0]["body"].as_str().unwrap()).unwrap();
    assert!(body["max_tokens"].is_number(), "{body}");
    assert!(body["messages"][0]["content"].as_str().unwrap().contains("JSON Schema"), "{body}");
}

#[tokio::test]
async fn what_cannot_be_left_out_is_refused_once_and_the_next_one_is_asked() {
    let sim = Sim::start().await;
    let fallback = sim.fallback(&[Llama, Openai], quick(), None);
    let action = json!({ "do": "status", "status": 400, "message": "the field max_completion_tokens is odd, so is max_tokens" });
    sim.rule(json!({ "provider": "llama", "action": action })).await;
    for seed in ["first", "second"] {
        let (by, ends) = run(&fallback, seed).await;
        assert_eq!((by, ends), (Some(Openai), vec!["bad_request", "bad_request", "ok"]));
    }
}

/// One host's own fault never ends a job while another was not asked.
#[tokio::test]
async fn only_the_same_fault_at_two_hosts_ends_a_job() {
    let sim = Sim::start().await;
    let reject = async |seed: &str, provider: ProviderName, status: u16, message: &str| {
        let action = json!({ "do": "status", "status": status, "message": message });
        sim.rule(json!({ "provider": provider.as_str(), "marker": seed, "action": action })).await;
    };
    let fallback = sim.fallback(&[Anthropic, Llama, Gemini, Openai], quick(), None);
    reject("case-a-of-faults", Anthropic, 400, "Your credit balance is too low to access the API.")
        .await;
    reject("case-a-of-faults", Llama, 422, "this deployment takes no system messages").await;
    let (by, ends) = run(&fallback, "case-a-of-faults").await;
    assert_eq!((by, ends), (Some(Gemini), vec!["out_of_money", "bad_request", "ok"]));

    let fallback = sim.fallback(&[Llama, Gemini, Openai, Anthropic], quick(), None);
    reject("case-b-of-faults", Llama, 400, "this workspace has no such feature").await;
    reject("case-b-of-faults", Gemini, 400, "user location is not supported").await;
    reject("case-b-of-faults", Openai, 400, "something else again").await;
    assert_eq!(run(&fallback, "case-b-of-faults").await.0, Some(Anthropic));

    reject("case-c-of-faults", Llama, 400, "This model's maximum context length is 4096 tokens")
        .await;
    reject("case-c-of-faults", Gemini, 400, "the prompt is too long for the context window").await;
    let kept = Kept::default();
    let ran = fallback.run(&small_request("case-c-of-faults", WITHIN), &Counts, &kept).await;
    assert!(matches!(ran, Err(FallbackError::BadRequest { .. })), "{ran:?}");
    assert_eq!(kept.ends.into_inner().unwrap().len(), 2);
}

/// How many calls a plan takes while three replies in ten come in odd shapes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_per_plan_while_three_replies_in_ten_are_odd() {
    const PLANS: u32 = 200;
    let sim = Sim::start().await;
    sim.control(json!({ "mix": { "percent": 30, "kinds": ["odd"], "seed": 5 } })).await;
    // A busy machine is no silent provider.
    let patience = Duration::from_secs(20);
    let policy = FallbackPolicy { stall: patience, first_byte: patience, ..quick() };
    let fallback = &sim.fallback(&PROVIDERS, policy, None);
    let run = async |n| {
        // Each provider in turn comes first.
        let first = PROVIDERS.into_iter().cycle().nth(n).unwrap();
        let request = regimen_worker::llm::fallback::Request {
            provider: Some(first),
            ..request(&format!("odd-{n}"), Duration::from_secs(120))
        };
        fallback.run(&request, &Reads, &Kept::default()).await
    };
    let mut runs = stream::iter(0..PLANS as usize).map(run).buffer_unordered(20);
    let mut failures = Vec::new();
    while let Some(ran) = runs.next().await {
        failures.extend(ran.unwrap().failures);
    }
    let seen = sim.get("/control/stats").await;
    let (calls, odd) = (seen["calls"].as_f64().unwrap(), &seen["outcomes"]["odd"]);
    let per_plan = calls / f64::from(PLANS);
    println!(
        "figures: provider calls per finished plan, 30 % of replies in odd shapes: {per_plan:.2} ({PLANS} plans, {calls} calls, {odd} odd replies)"
    );
    assert!(odd.as_u64().is_some_and(|odd| odd > 30), "{seen}");
    assert!((calls - f64::from(PLANS)).abs() < 0.5, "{per_plan} calls per plan: {failures:?}");
}

/// Replies of real hosts, recorded but for the plan: `{P}` stands for it, `{P1}`
/// and `{P2}` for its halves. Each is one call and a plan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_odd_replies_cost_one_call_each() {
    let sim = Sim::start().await;
    let plan = {
        let (fallback, kept) = (sim.fallback(&[Openai], quick(), None), Kept::default());
        fallback.run(&request("sample", WITHIN), &Reads, &kept).await.unwrap();
        let raw = kept.raw.lock().unwrap()[0].clone();
        regimen_worker::llm::interpret(Openai, &raw).unwrap().text
    };
    let half = (plan.len() / 2..).find(|at| plan.is_char_boundary(*at)).unwrap();
    let recorded = include_str!("../../fixtures/odd_replies.jsonl");
    let mut lost = Vec::new();
    for (number, line) in (1..).zip(recorded.lines()) {
        let mut action: Value = serde_json::from_str(line).unwrap();
        let in_json = action["do"] == "exact_body";
        // As it stands between the quotes of a JSON string.
        let part = |text: &str| match in_json {
            true => {
                let quoted = json!(text).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            false => text.to_owned(),
        };
        let filled = |text: &str| {
            text.replace("{P}", &part(&plan))
                .replace("{P1}", &part(&plan[..half]))
                .replace("{P2}", &part(&plan[half..]))
        };
        let place = if in_json { "body" } else { "text" };
        let text = action[place].as_str().unwrap().to_owned();
        action[place] = json!(filled(&text));
        let providers: &[ProviderName] = match text.as_str() {
            _ if !in_json => &PROVIDERS,
            text if text.contains("candidates") => &[Gemini],
            text if text.contains("message_start") => &[Anthropic],
            _ => &[Openai, Llama],
        };
        for provider in providers {
            // A marker that is the start of no other.
            let seed = format!("{provider}-recorded-{number:04}");
            sim.rule(json!({ "marker": seed, "action": action })).await;
            let (fallback, kept) = (sim.fallback(&[*provider], quick(), None), Kept::default());
            let ran = fallback.run(&request(&seed, WITHIN), &Reads, &kept).await;
            let ends = kept.ends.into_inner().unwrap();
            if ran.is_ok_and(|ran| ran.calls == 1) && ends[0].cost_micros > 0 {
                continue;
            }
            lost.push(format!("{provider}, line {number}: {ends:?}\n  {line}"));
        }
    }
    assert!(lost.is_empty(), "{} lost:\n{}", lost.len(), lost.join("\n"));
}

/// What hosts say in the place of a reply: its class, and words that operators see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_failures_are_named_with_their_words() {
    let sim = Sim::start().await;
    let recorded = include_str!("../../fixtures/odd_failures.jsonl");
    let mut misread = Vec::new();
    for (number, line) in (1..).zip(recorded.lines()) {
        let case: Value = serde_json::from_str(line).unwrap();
        for provider in [Openai, Anthropic, Gemini] {
            if case["only"].as_str().is_some_and(|only| only != provider.as_str()) {
                continue;
            }
            let seed = format!("{provider}-failure-{number}");
            sim.rule(json!({ "marker": seed, "times": 1, "action": case["action"] })).await;
            let (fallback, kept) = (sim.fallback(&[provider], quick(), None), Kept::default());
            // Whether it is asked again is the retry table's.
            let _ = fallback.run(&small_request(&seed, WITHIN), &Counts, &kept).await;
            let end = kept.ends.into_inner().unwrap().remove(0);
            let says = case["says"].as_str().unwrap().to_lowercase();
            if case["class"] != end.outcome || !end.detail.to_lowercase().contains(&says) {
                misread.push(format!("{provider}, line {number}: {end:?}\n  {line}"));
            }
        }
    }
    assert!(misread.is_empty(), "{} misread:\n{}", misread.len(), misread.join("\n"));
}
