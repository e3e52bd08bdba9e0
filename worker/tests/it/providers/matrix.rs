//! The outage matrix: each provider with each kind of failure at each
//! position of the fallback, over sockets. Prints who delivered and how many
//! calls it took.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use regimen_worker::llm::ProviderName;
use regimen_worker::llm::outcome::FallbackError;
use regimen_worker::llm::policy::FallbackPolicy;
use serde_json::{Value, json};

use super::bench::{Counts, Kept, Ran, Sim, quick, small_request};

/// The whole fallback.
pub(super) const PROVIDERS: [ProviderName; 4] =
    [ProviderName::Openai, ProviderName::Anthropic, ProviderName::Gemini, ProviderName::Llama];

/// A kind of failure: its name, the simulator's action, and how many calls
/// the failing provider gets by the retry table.
struct Failure {
    name: &'static str,
    action: Value,
    calls: u32,
    /// How the run ends when there is nobody to fall over to.
    alone: &'static str,
}

fn failures(provider: ProviderName) -> Vec<Failure> {
    let failure = |name, calls, alone, action| Failure { name, action, calls, alone };
    let status = |status: u16| json!({ "do": "status", "status": status });
    let limited = |reason: &str| json!({ "do": "status", "status": 429, "reason": reason });
    let do_it = |action: &str| json!({ "do": action });
    let cut = |at: &str| json!({ "do": "cut", "at": at });
    let mut all = vec![
        failure("408", 3, "retry", status(408)),
        failure("409", 3, "retry", status(409)),
        failure("500", 3, "retry", status(500)),
        failure("502", 3, "retry", status(502)),
        failure("503", 3, "retry", status(503)),
        failure("504", 3, "retry", status(504)),
        failure("overloaded", 3, "retry", do_it("overloaded")),
        failure("cut before the answer", 3, "retry", cut("request")),
        failure("cut after headers", 3, "retry", cut("headers")),
        failure("cut half way", 3, "retry", cut("half")),
        failure("error in the stream", 3, "retry", json!({ "do": "stream_error", "after": 0.0 })),
        failure("silent", 3, "retry", do_it("hang")),
        failure("silent after headers", 3, "retry", do_it("hang_after_headers")),
        failure("empty body", 3, "retry", do_it("empty_body")),
        failure("empty text", 3, "retry", do_it("empty_text")),
        failure(
            "rate limit",
            3,
            "retry",
            json!({ "do": "status", "status": 429, "retry_after": "0.02" }),
        ),
        failure(
            "rate limit for an hour",
            1,
            "retry",
            json!({ "do": "status", "status": 429, "retry_after": "3600" }),
        ),
        failure("no money", 1, "retry", limited("money")),
        failure("bad key", 1, "give up", status(401)),
        failure("forbidden", 1, "give up", status(403)),
        failure("no such model", 1, "give up", status(404)),
        failure("bad request", 1, "bad request", status(400)),
        failure("too large", 1, "bad request", status(413)),
        failure("truncated", 2, "unverifiable", do_it("truncated")),
        failure("refused", 1, "refused", do_it("refusal")),
        failure("blocked", 1, "refused", do_it("blocked")),
        failure("no JSON", 2, "unverifiable", do_it("invalid_json")),
        failure("a page of HTML", 3, "retry", do_it("garbage_body")),
        failure("not our schema", 2, "unverifiable", do_it("schema_invalid")),
    ];
    match provider {
        ProviderName::Gemini => {
            all.push(failure("daily quota", 1, "retry", limited("daily_quota")))
        }
        ProviderName::Anthropic => {
            all.push(failure("spend limit", 1, "retry", limited("spend_limit")));
        }
        ProviderName::Openai | ProviderName::Llama => {}
    }
    all
}

/// How long a silent provider is waited for: long enough for a well one on a busy machine.
const SILENCE: Duration = Duration::from_secs(3);

/// One field of the matrix.
struct Case {
    provider: ProviderName,
    failure: Failure,
    position: usize,
}

/// Those before the failing one have a bad key, those behind it are well.
async fn play(sim: &Sim, case: &Case) -> (Ran, u32) {
    let mut order: Vec<_> = PROVIDERS.into_iter().filter(|name| *name != case.provider).collect();
    order.insert(case.position, case.provider);
    let seed =
        format!("{}-{}-{}", case.provider, case.failure.name.replace(' ', "-"), case.position);
    for before in &order[..case.position] {
        let bad_key = json!({ "do": "status", "status": 401 });
        sim.rule(json!({ "provider": before.as_str(), "marker": seed, "action": bad_key })).await;
    }
    let provider = case.provider.as_str();
    sim.rule(json!({ "provider": provider, "marker": seed, "action": case.failure.action })).await;
    let policy = FallbackPolicy { stall: SILENCE, first_byte: SILENCE, ..quick() };
    let fallback = sim.fallback(&order, policy, None);
    let ran = fallback
        .run(&small_request(&seed, Duration::from_secs(60)), &Counts, &Kept::default())
        .await;
    let seen = sim.get(&format!("/control/stats?marker={seed}")).await;
    (ran, u32::try_from(seen["calls"].as_u64().unwrap()).unwrap())
}

/// Compares one run with the retry table; returns its line of the report.
fn check(case: &Case, ran: &Ran, calls: u32) -> String {
    let (before, last) = (case.position, case.position + 1 == PROVIDERS.len());
    let own_calls = u32::try_from(before).unwrap() + case.failure.calls;
    let at = format!("{} {} at {}", case.provider, case.failure.name, case.position + 1);
    match ran {
        Ok(delivered) => {
            assert!(!last, "{at}: nobody should have delivered, {} did", delivered.provider);
            assert_eq!(calls, own_calls + 1, "{at}: {:?}", delivered.failures);
            assert_ne!(delivered.provider, case.provider, "{at}");
            format!("{} ({calls})", delivered.provider)
        }
        Err(error) => {
            assert!(last, "{at}: {error}");
            assert_eq!(calls, own_calls, "{at}: {:?}", error.failures());
            let end = match error {
                FallbackError::Exhausted { retryable: true, .. } => "retry",
                FallbackError::Exhausted { retryable: false, .. } => "give up",
                FallbackError::BadRequest { .. } => "bad request",
                FallbackError::Refused { .. } => "refused",
                FallbackError::Unverifiable { .. } => "unverifiable",
                FallbackError::DeadlineExceeded { .. } => "out of time",
                FallbackError::NoProvider => "nobody",
                FallbackError::Stopped(never) => match *never {},
            };
            assert_eq!(end, case.failure.alone, "{at}: {error}");
            format!("{end} ({calls})")
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_of_every_provider_at_every_position() {
    let sim = Sim::start().await;
    let cases = PROVIDERS.into_iter().flat_map(|provider| {
        (0..PROVIDERS.len()).flat_map(move |position| {
            failures(provider).into_iter().map(move |failure| Case { provider, failure, position })
        })
    });
    // The silent ones only wait, so that they can all wait at once.
    let (silent, others): (Vec<_>, Vec<_>) =
        cases.partition(|case| case.failure.name.starts_with("silent"));
    let mut lines: BTreeMap<(ProviderName, &str), Vec<(usize, String)>> = BTreeMap::new();
    for (cases, at_once) in [(others, 8), (silent, 32)] {
        let sim = &sim;
        let play = async |case| {
            let (ran, calls) = play(sim, &case).await;
            (case, ran, calls)
        };
        let mut played = stream::iter(cases).map(play).buffer_unordered(at_once);
        while let Some((case, ran, calls)) = played.next().await {
            let (line, field) = ((case.provider, case.failure.name), check(&case, &ran, calls));
            lines.entry(line).or_default().push((case.position, field));
        }
    }
    println!(
        "provider  | failure                | who delivered (calls) with the failing one 1st, 2nd …"
    );
    for ((provider, failure), mut fields) in lines {
        fields.sort();
        let fields: Vec<_> = fields.into_iter().map(|(_, field)| format!("{field:<18}")).collect();
        println!("{:<9} | {failure:<22} | {}", provider.as_str(), fields.join(" | "));
    }
}

/// How many calls a plan takes when three calls in ten fail in all kinds of ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_per_plan_while_three_calls_in_ten_fail() {
    const PLANS: u32 = 200;
    let sim = Sim::start().await;
    sim.control(json!({ "mix": { "percent": 30, "seed": 4 } })).await;
    let policy = FallbackPolicy { stall: SILENCE, first_byte: SILENCE, ..quick() };
    let fallback = sim.fallback(&PROVIDERS, policy, None);
    let (fallback, within) = (&fallback, Duration::from_secs(120));
    let run = async |n| {
        let request = small_request(&format!("mix-{n}"), within);
        fallback.run(&request, &Counts, &Kept::default()).await
    };
    let mut runs = stream::iter(0..PLANS).map(run).buffer_unordered(40);
    let mut by_provider: BTreeMap<ProviderName, u32> = BTreeMap::new();
    while let Some(ran) = runs.next().await {
        *by_provider.entry(ran.unwrap().provider).or_default() += 1;
    }
    let seen = sim.get("/control/stats").await;
    let calls = seen["calls"].as_f64().unwrap();
    let per_plan = calls / f64::from(PLANS);
    println!(
        "30 % faults: {PLANS} plans, {calls} calls, {per_plan:.2} calls per plan, delivered by {by_provider:?}"
    );
    // Independent faults alone make 1 / 0.7 = 1.43 calls a plan.
    assert!(per_plan < 1.8, "{per_plan}");
}
