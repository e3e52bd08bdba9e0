//! What holds for every format: plans, streams, lists of models.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::format::{self, Format, events};
use crate::support::{Lab, status_and_json};

#[tokio::test]
async fn every_format_answers_the_same_plan_whole_and_streamed() {
    let lab = Lab::new().await;
    let mut texts = Vec::new();
    for kind in format::ALL {
        let (status, reply) =
            status_and_json(kind.good(&lab, "job-1", false).send().await.unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{kind:?}: {reply}");
        let whole = kind.text(&reply);
        let plan: Value = serde_json::from_str(&whole)
            .unwrap_or_else(|error| panic!("{kind:?}: {error}: {reply}"));
        assert_eq!(plan["meals"].as_array().unwrap().len(), 3, "{kind:?}");

        let reply = kind.good(&lab, "job-1", true).send().await.unwrap();
        assert_eq!(reply.headers()["content-type"], "text/event-stream");
        let stream = reply.text().await.unwrap();
        let (streamed, ended) = kind.streamed(&stream);
        assert!(ended, "{kind:?}: {stream}");
        assert_eq!(streamed, whole, "{kind:?}");
        assert!(events(&stream).len() > 5, "{kind:?}");
        texts.push(whole);
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn usage_is_counted_as_each_provider_counts() {
    let lab = Lab::with(json!({"rules": [{
        "usage": {"input": 3000, "cached": 1024, "cache_write": 512, "output": 2000, "reasoning": 300},
        "action": {"do": "answer"},
    }]}))
    .await;
    let usage = async |kind: Format, name: &str| {
        status_and_json(kind.good(&lab, "a", false).send().await.unwrap()).await.1[name].clone()
    };
    let chat = usage(Format::Chat, "usage").await;
    assert_eq!((&chat["prompt_tokens"], &chat["completion_tokens"]), (&json!(3000), &json!(2300)));
    assert_eq!(chat["prompt_tokens_details"]["cached_tokens"], 1024);
    assert_eq!(chat["completion_tokens_details"]["reasoning_tokens"], 300);
    let responses = usage(Format::Responses, "usage").await;
    assert_eq!(
        (&responses["input_tokens"], &responses["total_tokens"]),
        (&json!(3000), &json!(5300))
    );
    assert_eq!(responses["output_tokens_details"]["reasoning_tokens"], 300);
    let anthropic = usage(Format::Anthropic, "usage").await;
    assert_eq!(
        (&anthropic["input_tokens"], &anthropic["output_tokens"]),
        (&json!(1464), &json!(2300))
    );
    assert_eq!(
        (&anthropic["cache_read_input_tokens"], &anthropic["cache_creation_input_tokens"]),
        (&json!(1024), &json!(512))
    );
    assert_eq!(anthropic["output_tokens_details"]["thinking_tokens"], 300);
    let gemini = usage(Format::Gemini, "usageMetadata").await;
    assert_eq!(
        (&gemini["promptTokenCount"], &gemini["candidatesTokenCount"]),
        (&json!(3000), &json!(2000))
    );
    assert_eq!(
        (&gemini["thoughtsTokenCount"], &gemini["cachedContentTokenCount"]),
        (&json!(300), &json!(1024))
    );
    assert_eq!(gemini["totalTokenCount"], 5300);
}

#[tokio::test]
async fn streams_carry_their_usage() {
    let lab = Lab::new().await;
    let stream = async |kind: Format, body: Value| {
        events(&kind.request(&lab, &body, true).send().await.unwrap().text().await.unwrap())
    };
    let mut body = Format::Chat.body("a", true);
    body["stream_options"] = json!({"include_usage": true});
    let chat = stream(Format::Chat, body).await;
    let last = chat.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["prompt_tokens"].as_u64().unwrap() > 0);
    let responses = stream(Format::Responses, Format::Responses.body("a", true)).await;
    assert!(
        responses.last().unwrap()["response"]["usage"]["output_tokens"].as_u64().unwrap() > 128
    );
    let numbers: Vec<u64> =
        responses.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    let anthropic = stream(Format::Anthropic, Format::Anthropic.body("a", true)).await;
    let delta = anthropic.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert!(delta["usage"]["output_tokens"].as_u64().unwrap() > 128);
    assert!(anthropic[0]["message"]["usage"]["input_tokens"].as_u64().unwrap() > 0);
    let gemini = stream(Format::Gemini, Format::Gemini.body("a", true)).await;
    assert_eq!(gemini.last().unwrap()["usageMetadata"]["thoughtsTokenCount"], 128);
}

#[tokio::test]
async fn request_ids_stand_where_each_provider_puts_them() {
    let lab = Lab::new().await;
    for kind in format::ALL {
        let reply = kind.good(&lab, "a", false).send().await.unwrap();
        let header =
            |name: &str| reply.headers().get(name).map(|id| id.to_str().unwrap().to_owned());
        let found = match kind {
            Format::Chat | Format::Responses | Format::Llama => header("x-request-id"),
            Format::Anthropic => header("request-id"),
            Format::Gemini => {
                status_and_json(reply).await.1["responseId"].as_str().map(str::to_owned)
            }
        };
        assert!(found.is_some_and(|id| id.len() > 10), "{kind:?}");
    }
}

#[tokio::test]
async fn anthropic_and_responses_put_thinking_before_the_text() {
    let lab = Lab::new().await;
    let (_, reply) =
        status_and_json(Format::Anthropic.good(&lab, "a", false).send().await.unwrap()).await;
    assert_eq!(
        (&reply["content"][0]["type"], &reply["content"][1]["type"]),
        (&json!("thinking"), &json!("text"))
    );
    let mut body = Format::Anthropic.body("a", false);
    body["thinking"] = json!({"type": "disabled"});
    let (_, reply) =
        status_and_json(Format::Anthropic.request(&lab, &body, false).send().await.unwrap()).await;
    assert_eq!(reply["content"][0]["type"], "text");
    let (_, reply) =
        status_and_json(Format::Responses.good(&lab, "a", false).send().await.unwrap()).await;
    assert_eq!(
        (&reply["output"][0]["type"], &reply["output"][1]["type"]),
        (&json!("reasoning"), &json!("message"))
    );
}

#[tokio::test]
async fn gemini_streams_an_array_without_alt_sse_and_shows_thoughts_when_asked() {
    let lab = Lab::new().await;
    let mut body = Format::Gemini.body("a", true);
    body["generationConfig"]["thinkingConfig"]["includeThoughts"] = json!(true);
    let url = lab.url("/v1/models/gemini-3.5-flash-lite:streamGenerateContent");
    let send =
        |body: &Value| lab.client.post(&url).header("x-goog-api-key", "AQ.x").json(body).send();
    let (status, reply) = status_and_json(send(&body).await.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    let frames = reply.as_array().unwrap();
    assert_eq!(frames[0]["candidates"][0]["content"]["parts"][0]["thought"], true);
    assert_eq!(frames.last().unwrap()["candidates"][0]["finishReason"], "STOP");
    body["surprise"] = json!(1);
    let (status, reply) = status_and_json(send(&body).await.unwrap()).await;
    assert_eq!((status.as_u16(), &reply[0]["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
}

#[tokio::test]
async fn prompts_are_cached_where_the_provider_caches() {
    let lab = Lab::new().await;
    let long = "Write plans with care. ".repeat(400);
    let mut body = Format::Chat.body("a", false);
    body["messages"][0]["content"] = json!(long);
    let cached = async || {
        lab.chat_json(&body).await.1["usage"]["prompt_tokens_details"]["cached_tokens"].clone()
    };
    assert_eq!(cached().await, 0);
    assert!(cached().await.as_u64().unwrap() >= 1024);
    let mut body = Format::Anthropic.body("a", false);
    body["system"] =
        json!([{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]);
    let usage = async || {
        let reply = Format::Anthropic.request(&lab, &body, false).send().await.unwrap();
        status_and_json(reply).await.1["usage"].clone()
    };
    assert!(usage().await["cache_creation_input_tokens"].as_u64().unwrap() > 512);
    assert!(usage().await["cache_read_input_tokens"].as_u64().unwrap() > 512);
}

#[tokio::test]
async fn workout_plans_are_told_by_the_targets() {
    let lab = Lab::new().await;
    let mut body = Format::Anthropic.body("a", false);
    body["output_config"] = json!({"effort": "low"});
    let targets = r#"REGIMEN-TARGETS: {"kind":"workout","days":4,"places":["home"],"seed":"w"}"#;
    body["messages"][0]["content"] = json!(targets);
    let reply = Format::Anthropic.request(&lab, &body, false).send().await.unwrap();
    let text = Format::Anthropic.text(&status_and_json(reply).await.1);
    let plan: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(plan["weekly_plan"].as_array().unwrap().len(), 4);
    for key in [
        "weekly_summary",
        "periodization_plan",
        "exercise_library_by_location",
        "progression_tracking",
        "personalized_tips",
        "injury_prevention",
        "nutrition_timing",
        "lifestyle_integration",
    ] {
        assert!(!plan[key].is_null(), "{key}");
    }
}

#[tokio::test]
async fn models_are_listed_to_whoever_asks_with_a_key() {
    let lab = Lab::new().await;
    let get = async |path: &str, header: Option<(&str, &str)>| {
        let mut request = lab.client.get(lab.url(path));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        if header.is_some_and(|(name, _)| name == "x-api-key") {
            request = request.header("anthropic-version", "2026-10-21");
        }
        status_and_json(request.send().await.unwrap()).await
    };
    let (status, list) = get("/v1/models", Some(("authorization", "Bearer sk"))).await;
    assert_eq!((status, &list["object"]), (StatusCode::OK, &json!("list")));
    let (status, list) = get("/v1/models", Some(("x-api-key", "sk"))).await;
    assert_eq!((status, &list["data"][0]["type"]), (StatusCode::OK, &json!("model")));
    let (status, list) = get("/v1beta/models", Some(("x-goog-api-key", "AQ."))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(list["models"][0]["name"].as_str().unwrap().starts_with("models/"));
    assert_eq!(get("/v1/models", None).await.0, StatusCode::UNAUTHORIZED);
    let (status, health) = lab.ask(Method::GET, "/health").await;
    assert_eq!((status, &health["status"]), (StatusCode::OK, &json!("healthy")));
}
