//! The fallback from end to end over scripted providers: who is called, when,
//! how often, and how the run ends. The tests over sockets are in tests/it.

mod harness;

use std::time::Duration;

use regimen_common::job::FailureCode;

use self::harness::{Act, Bench, down, error_reply, limited};
use super::ProviderName::{Anthropic, Gemini, Llama, Openai};
use super::error::ErrorReply;
use super::fallback::StoredReply;
use super::outcome::FallbackError;
use super::policy::FallbackPolicy;
use super::{ProviderError, RawReply};

const GOOD: Act = Act::Say("{\"ok\":1}");
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_first_provider_delivers_and_its_cost_is_known() {
    let bench = Bench::new(vec![(Openai, vec![GOOD]), (Anthropic, vec![])]);
    let delivered = bench.run().await.unwrap();
    assert_eq!((delivered.provider, delivered.n, delivered.calls), (Openai, 1, 1));
    assert_eq!(delivered.plan, "{\"ok\":1}");
    assert_eq!(bench.log.lines(), ["started 1 openai", "replied 1", "finished 1 ok"]);
    // 1000 × 0.10 + 2000 × 0.50
    assert_eq!(bench.log.ends.lock().unwrap()[0].cost_micros, 1_100);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_retried_with_backoff_and_then_the_next_one_is_asked() {
    let bench = Bench::new(vec![(Openai, vec![down()]), (Anthropic, vec![GOOD])]);
    let delivered = bench.run().await.unwrap();
    assert_eq!(bench.asked(), [Openai, Openai, Openai, Anthropic]);
    assert_eq!(delivered.provider, Anthropic);
    assert_eq!(delivered.failures.len(), 3);
    assert!(bench.call(1).at <= 2 * SECOND);
    assert!(bench.call(2).at - bench.call(1).at <= 4 * SECOND);
    assert_eq!(bench.call(3).at, bench.call(2).at, "falling over takes no time");
    let lines = bench.log.lines();
    assert!(lines[1].starts_with("finished 1 unavailable retry in"), "{lines:?}");
    assert!(lines.contains(&"fell back openai anthropic".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_fits_is_obeyed_exactly() {
    let bench = Bench::new(vec![(Openai, vec![limited(20), GOOD]), (Anthropic, vec![])]);
    let delivered = bench.run().await.unwrap();
    assert_eq!(delivered.provider, Openai);
    let waited = bench.call(1).at;
    assert!(waited >= 20 * SECOND && waited < 20 * SECOND + SECOND / 10, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_does_not_fit_means_the_next_provider_at_once() {
    let bench = Bench::new(vec![(Openai, vec![limited(86)]), (Anthropic, vec![GOOD])]);
    assert_eq!(bench.run().await.unwrap().provider, Anthropic);
    assert_eq!(bench.asked(), [Openai, Anthropic]);
    assert_eq!(bench.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn while_a_provider_cools_down_other_jobs_go_elsewhere() {
    let bench = Bench::new(vec![(Openai, vec![limited(86), GOOD]), (Anthropic, vec![GOOD])]);
    bench.run().await.unwrap();
    bench.run().await.unwrap();
    assert_eq!(bench.asked(), [Openai, Anthropic, Anthropic]);
}

#[tokio::test(start_paused = true)]
async fn when_all_are_cooling_down_the_first_to_be_free_is_waited_for() {
    let bench = Bench::new(vec![(Openai, vec![limited(176), GOOD])]);
    let first = bench.run().await.unwrap_err();
    assert!(matches!(first, FallbackError::Exhausted { retryable: true, .. }));
    assert!(first.to_string().contains("takes no more requests"), "{first}");
    tokio::time::advance(10 * SECOND).await;
    let delivered = bench.run().await.unwrap();
    assert_eq!((delivered.provider, bench.asked().len()), (Openai, 2));
    assert!(bench.elapsed() >= 176 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_was_cooling_down_still_gets_its_turn() {
    let bench =
        Bench::new(vec![(Openai, vec![limited(86), GOOD]), (Anthropic, vec![GOOD, down()])]);
    bench.run().await.unwrap();
    let delivered = bench.run().await.unwrap();
    assert_eq!(delivered.provider, Openai);
    let asked = bench.asked();
    assert_eq!(asked, [Openai, Anthropic, Anthropic, Anthropic, Anthropic, Openai]);
    let waited = bench.call(5).at;
    assert!(waited >= 86 * SECOND && waited < 87 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn three_hanging_providers_leave_the_fourth_its_turn() {
    let bench = Bench::new(vec![
        (Openai, vec![Act::Hang]),
        (Anthropic, vec![Act::Hang]),
        (Gemini, vec![Act::Hang]),
        (Llama, vec![Act::SayAfter(40, "{\"ok\":1}")]),
    ]);
    let delivered = bench.run().await.unwrap();
    assert_eq!(delivered.provider, Llama);
    assert!(bench.elapsed() <= 180 * SECOND, "{:?}", bench.elapsed());
    assert_eq!(bench.asked(), [Openai, Anthropic, Gemini, Llama]);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_reply_raises_the_cap_and_then_changes_the_model() {
    let bench = Bench::new(vec![(Openai, vec![Act::Truncate]), (Anthropic, vec![GOOD])]);
    bench.run().await.unwrap();
    assert_eq!(bench.asked(), [Openai, Openai, Anthropic]);
    let cap = |index| bench.call(index).request.max_output_tokens;
    assert_eq!((cap(0), cap(1)), (6_000 + 4_096, 2 * (6_000 + 4_096)));
    assert!(bench.log.ends.lock().unwrap()[0].cost_micros > 0, "it was paid for");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_reply_is_repeated_once() {
    let bench = Bench::new(vec![(Openai, vec![Act::Say("{\"bad\":1}")]), (Anthropic, vec![GOOD])]);
    bench.run().await.unwrap();
    assert_eq!(bench.asked(), [Openai, Openai, Anthropic]);
    assert_eq!(bench.call(1).request.correction, None);
    assert_eq!(bench.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_precise_correction_is_asked_once_from_the_same_provider() {
    let nearly = Act::Say("{\"nearly\":1}");
    let bench = Bench::new(vec![(Openai, vec![nearly.clone(), GOOD])]);
    bench.run().await.unwrap();
    let correction = bench.call(1).request.correction.unwrap();
    assert_eq!(correction.previous, "{\"nearly\":1}");
    assert_eq!(correction.instruction, "leave the peanuts out");

    let bench = Bench::new(vec![(Openai, vec![nearly]), (Anthropic, vec![GOOD])]);
    bench.run().await.unwrap();
    assert_eq!(bench.asked(), [Openai, Openai, Anthropic]);
    assert_eq!(bench.call(2).request.correction, None, "another provider starts afresh");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_needs_a_second_one_to_end_the_job() {
    let bench = Bench::new(vec![
        (Openai, vec![Act::Refuse]),
        (Anthropic, vec![Act::Refuse]),
        (Gemini, vec![GOOD]),
    ]);
    assert!(matches!(bench.run().await, Err(FallbackError::Refused { .. })));
    assert_eq!(bench.asked(), [Openai, Anthropic]);

    let bench = Bench::new(vec![(Openai, vec![Act::Refuse]), (Anthropic, vec![GOOD])]);
    assert_eq!(bench.run().await.unwrap().provider, Anthropic);
    let alone = Bench::new(vec![(Openai, vec![Act::Refuse])]);
    assert!(matches!(alone.run().await, Err(FallbackError::Refused { .. })));
}

/// A permit that comes when little time is left is not used: the call could only fail, and
/// would count against a provider that works.
#[tokio::test(start_paused = true)]
async fn a_call_that_waited_for_our_own_limit_gets_its_time_or_is_not_made() {
    let slow = Act::SayAfter(88, "{\"ok\":1}");
    let scripts = vec![(Openai, vec![slow]), (Anthropic, vec![GOOD])];
    let bench = Bench::limited(FallbackPolicy::default(), 1, scripts);
    let (first, second) = tokio::join!(bench.run(), bench.run());
    assert_eq!((first.unwrap().provider, second.unwrap().provider), (Openai, Anthropic));
    assert_eq!(bench.asked(), [Openai, Anthropic]);
    assert_eq!(bench.call(1).at, 85 * SECOND, "its share of 90 s, less the time of a call");
}

#[tokio::test(start_paused = true)]
async fn moderation_that_declines_counts_as_a_refusal_and_costs_nothing() {
    let declined = || Act::Fail(ProviderError::Declined(error_reply(403, None)));
    let bench = Bench::new(vec![
        (Openai, vec![declined()]),
        (Anthropic, vec![Act::Refuse]),
        (Gemini, vec![GOOD]),
    ]);
    assert!(matches!(bench.run().await, Err(FallbackError::Refused { .. })));
    assert_eq!(bench.log.ends.lock().unwrap()[0].cost_micros, 0);
    let alone = Bench::new(vec![(Openai, vec![declined()])]);
    assert!(matches!(alone.run().await, Err(FallbackError::Refused { .. })));
    // Its breaker stays closed.
    alone.run().await.unwrap_err();
    assert_eq!(alone.asked(), [Openai, Openai]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_falls_over_once() {
    let rejected = || {
        let message = "the schema has no type".to_owned();
        Act::Fail(ProviderError::BadRequest(ErrorReply { message, ..error_reply(400, None) }))
    };
    let bench = Bench::new(vec![
        (Openai, vec![rejected()]),
        (Anthropic, vec![rejected()]),
        (Gemini, vec![GOOD]),
    ]);
    let error = bench.run().await.unwrap_err();
    assert!(matches!(error, FallbackError::BadRequest { .. }));
    assert_eq!(error.code(), Some(FailureCode::BadRequest));
    assert_eq!(bench.asked(), [Openai, Anthropic]);

    // Who says nothing says not the same.
    let silent = || Act::Fail(ProviderError::BadRequest(error_reply(400, None)));
    let bench = Bench::new(vec![
        (Openai, vec![silent()]),
        (Anthropic, vec![silent()]),
        (Gemini, vec![GOOD]),
    ]);
    assert_eq!(bench.run().await.unwrap().provider, Gemini);
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_is_not_tried_again_by_later_jobs() {
    let unauthorized = Act::Fail(ProviderError::Unauthorized(error_reply(401, None)));
    let bench = Bench::new(vec![(Openai, vec![unauthorized]), (Anthropic, vec![GOOD])]);
    bench.run().await.unwrap();
    bench.run().await.unwrap();
    assert_eq!(bench.asked(), [Openai, Anthropic, Anthropic]);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_lets_one_probe_through_after_its_time() {
    let policy = FallbackPolicy { breaker_threshold: 3, ..FallbackPolicy::default() };
    let script = vec![down(), down(), down(), GOOD];
    let bench = Bench::with(policy, vec![(Openai, script), (Anthropic, vec![GOOD])]);
    bench.run().await.unwrap();
    bench.run().await.unwrap();
    assert_eq!(bench.asked(), [Openai, Openai, Openai, Anthropic, Anthropic]);
    tokio::time::advance(policy.breaker_open).await;
    assert_eq!(bench.run().await.unwrap().provider, Openai);
}

#[tokio::test(start_paused = true)]
async fn the_wish_comes_first_and_retired_models_lead_to_their_successor() {
    let slots = || vec![(Openai, vec![GOOD]), (Anthropic, vec![GOOD]), (Gemini, vec![GOOD])];
    let asked = async |provider, model: Option<&str>| {
        let bench = Bench::new(slots());
        let request = super::fallback::Request {
            provider,
            model: model.map(str::to_owned),
            ..bench.request()
        };
        let delivered = bench.ask(&request).await.unwrap();
        (delivered.provider, delivered.model)
    };
    let got = asked(Some(Gemini), None).await;
    assert_eq!(got, (Gemini, "gemini-3.5-flash-lite".to_owned()));
    let got = asked(Some(Anthropic), Some("claude-3-5-sonnet-20241022")).await;
    assert_eq!(got, (Anthropic, "claude-sonnet-5-5".to_owned()));
    let got = asked(None, Some("gemini-1.5-flash")).await;
    assert_eq!(got, (Gemini, "gemini-3.5-flash-lite".to_owned()));
    let got = asked(Some(Anthropic), Some("gpt-4o-mini")).await;
    assert_eq!(got, (Anthropic, "claude-haiku-5-5".to_owned()), "another provider's model");
    let got = asked(Some(Openai), Some("ft:our-own")).await;
    assert_eq!(got, (Openai, "ft:our-own".to_owned()));
    let got = asked(Some(Llama), Some("house-llama")).await;
    assert_eq!(got, (Openai, "gpt-6-luna".to_owned()), "a provider without a key");
}

#[tokio::test(start_paused = true)]
async fn how_a_run_ends_says_whether_another_round_may_help() {
    let run = async |acts: Vec<Act>| {
        let names = [Openai, Anthropic, Gemini, Llama];
        let scripts = names.into_iter().zip(acts).map(|(name, act)| (name, vec![act])).collect();
        Bench::new(scripts).run().await.unwrap_err()
    };
    let bad = || Act::Say("{\"bad\":1}");
    assert!(matches!(run(vec![]).await, FallbackError::NoProvider));
    assert!(matches!(run(vec![bad(), bad()]).await, FallbackError::Unverifiable { .. }));
    let mixed = run(vec![bad(), down()]).await;
    assert!(matches!(mixed, FallbackError::Exhausted { retryable: true, .. }), "{mixed}");
    assert_eq!(mixed.failures().len(), 5);
    let keys = || Act::Fail(ProviderError::Unauthorized(error_reply(401, None)));
    let all_keys = run(vec![keys(), keys()]).await;
    assert!(matches!(all_keys, FallbackError::Exhausted { retryable: false, .. }), "{all_keys}");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_run_whose_providers_had_no_turn() {
    let slow = Act::SayAfter(88, "{\"bad\":1}");
    let bench =
        Bench::new(vec![(Openai, vec![slow.clone()]), (Anthropic, vec![slow]), (Gemini, vec![])]);
    let request = super::fallback::Request {
        deadline: tokio::time::Instant::now() + 90 * SECOND,
        ..bench.request()
    };
    let error = bench.ask(&request).await.unwrap_err();
    assert!(matches!(error, FallbackError::DeadlineExceeded { .. }), "{error}");
    assert_eq!(error.code(), None, "another round may go better");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_log_ends_the_run_before_the_call() {
    let mut bench = Bench::new(vec![(Openai, vec![down()])]);
    bench.log.stop_at = Some(2);
    assert!(matches!(bench.run().await, Err(FallbackError::Stopped("over budget"))));
    assert_eq!(bench.asked(), [Openai]);
}

#[tokio::test(start_paused = true)]
async fn a_stored_reply_is_judged_before_anybody_is_asked() {
    let stored = |text: &str| StoredReply {
        n: 7,
        provider: Openai,
        model: "gpt-6-luna".to_owned(),
        raw: RawReply {
            status: 200,
            body: serde_json::json!({
                "choices": [{ "message": { "content": text }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 10, "completion_tokens": 20 },
            })
            .to_string()
            .into(),
            request_id: None,
        },
    };
    let bench = Bench::new(vec![(Openai, vec![GOOD])]);
    let request =
        super::fallback::Request { stored: Some(stored("{\"ok\":7}")), ..bench.request() };
    let delivered = bench.ask(&request).await.unwrap();
    assert_eq!((delivered.n, delivered.calls, bench.asked().len()), (7, 0, 0));
    assert_eq!(bench.log.lines(), ["finished 7 ok"]);

    let bench = Bench::new(vec![(Openai, vec![GOOD])]);
    let request =
        super::fallback::Request { stored: Some(stored("{\"bad\":7}")), ..bench.request() };
    assert_eq!(bench.ask(&request).await.unwrap().calls, 1);
    assert_eq!(bench.log.lines()[0], "finished 7 invalid");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_counted_at_the_most_it_can_have_cost() {
    let cut = Act::Fail(ProviderError::Cut { detail: "mid-stream".to_owned() });
    let bench = Bench::new(vec![(Openai, vec![cut, GOOD])]);
    bench.run().await.unwrap();
    let ends = bench.log.ends.lock().unwrap();
    assert!(ends[0].estimated && !ends[1].estimated);
    assert!(ends[0].cost_micros > ends[1].cost_micros);
}
