//! OpenAI Chat Completions: replies, streams, refusals to serve.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Lab, chat_body, chat_plan, status_and_json};

#[tokio::test]
async fn a_good_request_gets_a_plan_that_fits() {
    let lab = Lab::new().await;
    let reply = lab.chat(&chat_body("job-1")).send().await.unwrap();
    assert!(reply.headers()["x-request-id"].to_str().unwrap().starts_with("req_"));
    assert!(reply.headers().contains_key("x-ratelimit-remaining-requests"));
    let (status, reply) = status_and_json(reply).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["model"], "gpt-6-luna");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply["choices"][0]["message"]["refusal"], Value::Null);
    let usage = &reply["usage"];
    let reasoning = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    assert_eq!(reasoning, 128);
    assert!(usage["completion_tokens"].as_u64().unwrap() > reasoning);
    let plan = chat_plan(&reply);
    let keys: Vec<&String> = plan.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["meals", "daily_totals"].map(str::to_owned).iter().collect::<Vec<_>>());
    assert_eq!(plan["meals"].as_array().unwrap().len(), 3);
    let calories = plan["daily_totals"]["calories"].as_f64().unwrap();
    assert!((1900.0..=2100.0).contains(&calories), "{calories}");
}

#[tokio::test]
async fn equal_requests_get_equal_plans_and_seeds_vary_them() {
    let lab = Lab::new().await;
    let plan = async |seed: &str| chat_plan(&lab.chat_json(&chat_body(seed)).await.1);
    assert_eq!(plan("a").await, plan("a").await);
    let mut others = 0;
    for seed in ["b", "c", "d", "e"] {
        others += usize::from(plan(seed).await != plan("a").await);
    }
    assert!(others >= 2, "{others}");
}

/// Status, `error.code`, `error.param` of the answer to a changed good request.
async fn refusal(lab: &Lab, change: Value) -> (u16, Value, Value) {
    let mut body = chat_body("job-1");
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
            value => body[name] = value.clone(),
        }
    }
    let (status, reply) = lab.chat_json(&body).await;
    let error = &reply["error"];
    assert!(error["message"].is_string() && error["type"].is_string(), "{reply}");
    (status.as_u16(), error["code"].clone(), error["param"].clone())
}

#[tokio::test]
async fn wrong_requests_are_refused_as_openai_refuses_them() {
    let lab = Lab::new().await;
    let cases = [
        (json!({"surprise": 1}), 400, json!("unknown_parameter"), json!("surprise")),
        (json!({"messages": null}), 400, json!("missing_required_parameter"), json!("messages")),
        (json!({"messages": "hello"}), 400, json!("invalid_type"), json!("messages")),
        (json!({"temperature": 0.2}), 400, json!("unsupported_value"), json!("temperature")),
        (json!({"top_p": 0.9}), 400, json!("unsupported_value"), json!("top_p")),
        (
            json!({"max_completion_tokens": null, "max_tokens": 9000}),
            400,
            json!("unsupported_parameter"),
            json!("max_tokens"),
        ),
        (
            json!({"reasoning_effort": "minimal"}),
            400,
            json!("unsupported_value"),
            json!("reasoning_effort"),
        ),
        (
            json!({"max_completion_tokens": 128_001}),
            400,
            json!("invalid_value"),
            json!("max_completion_tokens"),
        ),
        (json!({"model": "gpt-4-vision-preview"}), 404, json!("model_not_found"), Value::Null),
        (json!({"model": "gpt-99"}), 404, json!("model_not_found"), Value::Null),
        (
            json!({"stream_options": {"include_usage": true}}),
            400,
            Value::Null,
            json!("stream_options"),
        ),
        (
            json!({"safety_identifier": "x".repeat(129)}),
            400,
            json!("string_above_max_length"),
            json!("safety_identifier"),
        ),
    ];
    for (change, status, code, param) in cases {
        assert_eq!(refusal(&lab, change.clone()).await, (status, code, param), "{change}");
    }
    let stats = lab.stats("").await;
    assert_eq!(stats["rejected"], 12);
    assert_eq!(stats["rejections"][0]["provider"], "openai");
}

#[tokio::test]
async fn schemas_outside_the_strict_subset_are_refused() {
    let lab = Lab::new().await;
    let with = |schema: Value| json!({"response_format": {"type": "json_schema", "json_schema": {"name": "p", "strict": true, "schema": schema}}});
    let open =
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    assert_eq!(refusal(&lab, with(open.clone())).await.1, "invalid_json_schema");
    let optional = json!({"type": "object", "additionalProperties": false, "properties": {"a": {"type": "string"}}, "required": []});
    assert_eq!(refusal(&lab, with(optional)).await.1, "invalid_json_schema");
    let lengths = json!({"type": "object", "additionalProperties": false, "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"]});
    assert_eq!(refusal(&lab, with(lengths)).await.1, "invalid_json_schema");
    let unnamed =
        json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}});
    assert_eq!(refusal(&lab, unnamed).await.2, "response_format.json_schema.name");
}

#[tokio::test]
async fn keys_are_asked_for_and_looked_at() {
    let lab = Lab::new().await;
    let send = async |key: Option<&str>| {
        let request = lab.client.post(lab.url("/v1/chat/completions")).json(&chat_body("a"));
        let request = match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        status_and_json(request.send().await.unwrap()).await
    };
    assert_eq!(send(None).await.0, StatusCode::UNAUTHORIZED);
    let (status, reply) = send(Some("sk-invalid")).await;
    assert_eq!((status.as_u16(), &reply["error"]["code"]), (401, &json!("invalid_api_key")));
}

#[tokio::test]
async fn a_small_cap_truncates_the_plan() {
    let lab = Lab::new().await;
    let mut body = chat_body("a");
    body["max_completion_tokens"] = json!(300);
    let (_, reply) = lab.chat_json(&body).await;
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert_eq!(reply["usage"]["completion_tokens"], 300);
}

#[tokio::test]
async fn models_can_be_added() {
    let lab = Lab::with(json!({"models": [{"provider": "openai", "model": "gpt-99"}]})).await;
    let mut body = chat_body("a");
    body["model"] = json!("gpt-99");
    assert_eq!(lab.chat_json(&body).await.0, StatusCode::OK);
}
