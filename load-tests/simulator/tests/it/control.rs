//! Rules, counts and waiting.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Lab, chat_body};

#[tokio::test]
async fn rules_take_calls_in_order_and_are_counted() {
    let lab = Lab::with(json!({"rules": [
        {"name": "first", "marker": "job-1", "times": 1, "action": {"do": "status", "status": 429, "retry_after": 20}},
        {"name": "all", "marker": "job-1", "action": {"do": "status", "status": 500}},
    ]}))
    .await;
    let reply = lab.chat(&chat_body("job-1")).send().await.unwrap();
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["retry-after"]),
        (429, &"20".parse().unwrap())
    );
    assert_eq!(lab.chat_json(&chat_body("job-1")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(lab.chat_json(&chat_body("job-2")).await.0, StatusCode::OK);
    let stats = lab.stats("").await;
    assert_eq!(stats["calls"], 3);
    assert_eq!(stats["outcomes"], json!({"answered": 1, "status": 2}));
    assert_eq!(stats["providers"]["openai"]["models"]["gpt-6-luna"]["calls"], 3);
    assert_eq!(stats["markers"]["job-1"]["calls"], 2);
    assert_eq!(stats["rules"][0]["used"], 1);
    assert_eq!(stats["rules"][1]["matched"], 2);
    assert_eq!(lab.stats("?marker=job-2").await["answered"], 1);
}

#[tokio::test]
async fn reset_forgets_everything() {
    let lab = Lab::with(json!({"rules": [{"action": {"do": "status", "status": 500}}]})).await;
    lab.chat_json(&chat_body("a")).await;
    let (_, body) = lab.ask(Method::DELETE, "/control").await;
    assert_eq!(body["removed"], 1);
    assert_eq!(lab.stats("").await["calls"], 0);
    assert_eq!(lab.chat_json(&chat_body("a")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_caller_that_goes_away_is_counted_and_can_be_waited_for() {
    let lab = Lab::with(json!({"rules": [{"marker": "job-1", "action": {"do": "hang"}}]})).await;
    let call = tokio::spawn(lab.chat(&chat_body("job-1")).send());
    let (status, _) = lab.ask(Method::GET, "/control/wait?marker=job-1&open=1&timeout=30").await;
    assert_eq!(status, StatusCode::OK);
    call.abort();
    let (status, body) =
        lab.ask(Method::GET, "/control/wait?marker=job-1&aborted=1&timeout=30").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["counts"]["open"], 0);
    assert_eq!(body["counts"]["outcomes"], json!({"aborted": 1}));
}

#[tokio::test]
async fn a_wait_that_is_not_met_says_so() {
    let lab = Lab::new().await;
    let (status, body) = lab.ask(Method::GET, "/control/wait?calls=1&timeout=0.05").await;
    assert_eq!((status, &body["met"]), (StatusCode::GATEWAY_TIMEOUT, &json!(false)));
    let (status, _) = lab.ask(Method::GET, "/control/wait?timeout=1").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_wait_ends_with_the_call_it_waits_for() {
    let lab = Lab::new().await;
    let waiting =
        lab.client.get(lab.url("/control/wait?marker=quiz-text&calls=1&timeout=30")).send();
    let mut body = chat_body("a");
    body["messages"][0]["content"] = json!("with quiz-text in it");
    let (waited, _) = tokio::join!(waiting, lab.chat_json(&body));
    assert_eq!(waited.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn held_calls_answer_once_released() {
    let lab = Lab::with(json!({"rules": [{"name": "gate", "action": {"do": "hold"}}]})).await;
    let call = tokio::spawn(lab.chat(&chat_body("a")).send());
    lab.ask(Method::GET, "/control/wait?open=1&timeout=30").await;
    let (_, body) = lab.ask(Method::POST, "/control/release?rule=gate").await;
    assert_eq!(body["released"], 1);
    assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let lab = Lab::new().await;
    let send = async |body: &str| {
        let request = lab.client.post(lab.url("/control")).body(body.to_owned());
        request.send().await.unwrap().status()
    };
    assert_eq!(send("{").await, StatusCode::BAD_REQUEST);
    assert_eq!(send(r#"{"rules":[{"action":{"do":"hnag"}}]}"#).await, StatusCode::BAD_REQUEST);
    assert_eq!(send(r#"{"mix":{"percent":101}}"#).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_marker_first_asked_about_later_counts_earlier_calls() {
    let lab = Lab::new().await;
    let mut body = chat_body("a");
    body["messages"][0]["content"] = json!("user-77 likes figs");
    lab.chat_json(&body).await;
    assert_eq!(lab.stats("?marker=user-77").await["answered"], 1);
    lab.chat_json(&body).await;
    let tally = lab.stats("?marker=user-77").await;
    assert_eq!((&tally["calls"], tally["arrivals_ms"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(lab.stats("?marker=user-77&provider=gemini").await["calls"], 0);
    assert_eq!(lab.stats("?marker=user-77&provider=openai").await["calls"], 2);
}

#[tokio::test]
async fn logged_calls_show_what_was_sent() {
    let lab = Lab::new().await;
    lab.chat_json(&chat_body("a")).await;
    lab.chat_json(&chat_body("b")).await;
    let (_, calls) = lab.ask(Method::GET, "/control/calls?marker=b").await;
    assert_eq!(calls.as_array().unwrap().len(), 1);
    assert_eq!((&calls[0]["seed"], &calls[0]["outcome"]), (&json!("b"), &json!("answered")));
    let sent: serde_json::Value = serde_json::from_str(calls[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(sent, chat_body("b"));
    let (_, newest) = lab.ask(Method::GET, "/control/calls?limit=1").await;
    assert_eq!(newest[0]["seed"], "b");
}

#[tokio::test]
async fn rules_of_one_marker_can_be_taken_out_or_let_go() {
    let lab = Lab::with(json!({"rules": [
        {"marker": "job-1", "action": {"do": "hold"}},
        {"marker": "job-2", "action": {"do": "status", "status": 500}},
    ]}))
    .await;
    let held = tokio::spawn(lab.chat(&chat_body("job-1")).send());
    assert!(lab.wait("marker=job-1&open=1").await);
    let (_, body) = lab.ask(Method::DELETE, "/control?marker=job-1").await;
    assert_eq!(body["removed"], 1);
    assert_eq!(held.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(lab.chat_json(&chat_body("job-2")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(lab.stats("").await["calls"], 2);
}

#[tokio::test]
async fn no_call_escapes_a_marker_that_is_added_while_calls_arrive() {
    let lab = Lab::new().await;
    let calls = (0..60).map(|_| lab.chat(&chat_body("busy")).send());
    let watch = async {
        assert!(lab.wait("calls=20").await);
        lab.stats("?marker=You%20write%20plans").await
    };
    let (replies, _) = tokio::join!(futures(calls), watch);
    assert_eq!(replies, 60);
    assert_eq!(lab.stats("?marker=You%20write%20plans").await["calls"], 60);
    assert_eq!(lab.stats("").await["open"], 0);
}

/// Runs all at once and counts those that succeeded.
async fn futures<F>(calls: impl Iterator<Item = F>) -> usize
where
    F: Future<Output = Result<reqwest::Response, reqwest::Error>> + Send + 'static,
{
    let mut tasks: tokio::task::JoinSet<_> = calls.collect();
    let mut good = 0;
    while let Some(reply) = tasks.join_next().await {
        good += usize::from(reply.unwrap().unwrap().status() == StatusCode::OK);
    }
    good
}

#[tokio::test]
async fn prompts_without_readable_targets_are_reported() {
    let lab = Lab::new().await;
    let mut body = chat_body("a");
    body["messages"][1]["content"] = json!("no targets");
    lab.chat_json(&body).await;
    body["messages"][1]["content"] = json!("REGIMEN-TARGETS: {oops}");
    lab.chat_json(&body).await;
    let stats = lab.stats("").await;
    assert_eq!(stats["prompts_without_targets"], 1);
    assert_eq!(stats["unreadable_targets"].as_array().unwrap().len(), 1);
}
