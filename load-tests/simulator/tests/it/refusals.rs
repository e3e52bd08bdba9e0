//! Wrong requests to Responses, Anthropic, Gemini and the slot, refused as the
//! real services refuse them. Chat Completions has its own file.

use serde_json::{Value, json};

use crate::format::Format;
use crate::support::{Lab, closed, status_and_json};

/// Sets the value at `pointer`; null takes the field away.
fn change(body: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match value {
        Value::Null => drop(parent.as_object_mut().unwrap().remove(name)),
        value => parent[name] = value,
    }
}

/// Status and body of the answer to a good request with one change.
async fn changed(lab: &Lab, kind: Format, pointer: &str, value: Value) -> (u16, Value) {
    let mut body = kind.body("job", false);
    change(&mut body, pointer, value);
    let (status, reply) =
        status_and_json(kind.request(lab, &body, false).send().await.unwrap()).await;
    (status.as_u16(), reply)
}

fn with(property: Value) -> Value {
    closed(json!({"x": property}))
}

#[tokio::test]
async fn responses_refuses_what_it_does_not_know() {
    let lab = Lab::new().await;
    let cases = [
        ("/surprise", json!(1), "unknown_parameter", "surprise"),
        ("/messages", json!([]), "unknown_parameter", "messages"),
        ("/input", Value::Null, "missing_required_parameter", "input"),
        ("/max_output_tokens", json!("many"), "invalid_type", "max_output_tokens"),
        ("/temperature", json!(0.5), "unsupported_value", "temperature"),
        ("/reasoning/effort", json!("minimal"), "unsupported_value", "reasoning.effort"),
        ("/text/format/name", Value::Null, "missing_required_parameter", "text.format.name"),
        ("/text/format/json_schema", json!({}), "unknown_parameter", "text.format.json_schema"),
        (
            "/text/format/schema",
            with(json!({"oneOf": []})),
            "invalid_json_schema",
            "text.format.schema",
        ),
    ];
    for (pointer, value, code, param) in cases {
        let (status, reply) = changed(&lab, Format::Responses, pointer, value).await;
        let error = &reply["error"];
        assert_eq!(
            (status, &error["code"], &error["param"]),
            (400, &json!(code), &json!(param)),
            "{pointer}"
        );
    }
}

#[tokio::test]
async fn anthropic_refuses_what_it_does_not_know() {
    let lab = Lab::new().await;
    let unions: serde_json::Map<String, Value> =
        (0..17).map(|index| (format!("p{index}"), json!({"type": ["string", "null"]}))).collect();
    let cases = [
        ("/surprise", json!(1), 400, "surprise: Extra inputs are not permitted"),
        ("/max_tokens", Value::Null, 400, "max_tokens: Field required"),
        ("/messages", Value::Null, 400, "messages: Field required"),
        ("/messages/0/role", json!("system"), 400, "messages.0.role"),
        ("/temperature", json!(1), 400, "temperature"),
        ("/top_k", json!(5), 400, "top_k"),
        ("/max_tokens", json!(128_001), 400, "128001 > 128000"),
        ("/output_format", json!({}), 400, "output_format: Extra inputs"),
        ("/output_config/effort", json!("none"), 400, "output_config.effort"),
        ("/thinking", json!({"type": "enabled", "budget_tokens": 2000}), 400, "thinking.type"),
        ("/model", json!("claude-3-5-sonnet-20241022"), 404, "model: claude-3-5-sonnet-20241022"),
        (
            "/output_config/format/schema",
            with(json!({"type": "integer", "minimum": 1})),
            400,
            "minimum",
        ),
        (
            "/output_config/format/schema",
            with(json!({"type": "array", "minItems": 2})),
            400,
            "minItems",
        ),
        (
            "/output_config/format/schema",
            with(json!({"type": "string", "pattern": "a"})),
            400,
            "pattern",
        ),
        ("/output_config/format/schema", closed(Value::Object(unions)), 400, "union types"),
        (
            "/output_config/format/schema",
            json!({"type": "object", "properties": {}}),
            400,
            "additionalProperties",
        ),
    ];
    for (pointer, value, status, words) in cases {
        let (got, reply) = changed(&lab, Format::Anthropic, pointer, value.clone()).await;
        assert_eq!((got, &reply["type"]), (status, &json!("error")), "{pointer} {value}: {reply}");
        assert!(reply["error"]["message"].as_str().unwrap().contains(words), "{pointer}: {reply}");
        assert!(reply["request_id"].as_str().unwrap().starts_with("req_"));
    }
}

#[tokio::test]
async fn anthropic_wants_a_key_a_version_and_no_prefill() {
    let lab = Lab::new().await;
    let send = async |headers: &[(&str, &str)], body: &Value| {
        let mut request = lab.client.post(lab.url("/v1/messages")).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, reply) = status_and_json(request.send().await.unwrap()).await;
        (status.as_u16(), reply["error"]["type"].as_str().unwrap_or_default().to_owned())
    };
    let mut body = Format::Anthropic.body("a", false);
    let refused = |status: u16, kind: &str| (status, kind.to_owned());
    let version = ("anthropic-version", "2026-10-21");
    assert_eq!(send(&[version], &body).await, refused(401, "authentication_error"));
    assert_eq!(
        send(&[version, ("x-api-key", "invalid")], &body).await,
        refused(401, "authentication_error")
    );
    assert_eq!(send(&[("x-api-key", "sk")], &body).await, refused(400, "invalid_request_error"));
    assert_eq!(
        send(&[("x-api-key", "sk"), ("anthropic-version", "2020-01-01")], &body).await.0,
        400
    );
    assert_eq!(send(&[version, ("authorization", "Bearer sk")], &body).await.0, 200);
    body["messages"].as_array_mut().unwrap().push(json!({"role": "assistant", "content": "{"}));
    assert_eq!(send(&[version, ("x-api-key", "sk")], &body).await.0, 400);
    let old = json!({"model": "claude-haiku-4-5", "max_tokens": 9000, "temperature": 0.2, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(
        send(&[("x-api-key", "sk"), ("anthropic-version", "2023-06-01")], &old).await.0,
        200
    );
    assert_eq!(send(&[("x-api-key", "sk"), version], &old).await.0, 400);
}

#[tokio::test]
async fn gemini_refuses_what_it_does_not_know() {
    let lab = Lab::new().await;
    let cases = [
        ("/surprise", json!(1), "Unknown name \"surprise\""),
        ("/generationConfig/surprise", json!(1), "at 'generation_config'"),
        ("/contents", Value::Null, "contents is not specified"),
        ("/generationConfig/maxOutputTokens", json!(65_537), "max_output_tokens"),
        ("/generationConfig/responseSchema", json!({"type": "OBJECT"}), "response_json_schema"),
        ("/generationConfig/responseMimeType", Value::Null, "response_mime_type"),
        ("/generationConfig/responseJsonSchema", with(json!({"const": 1})), "const"),
        (
            "/generationConfig/responseJsonSchema",
            with(json!({"type": "string", "pattern": "a"})),
            "pattern",
        ),
        ("/generationConfig/thinkingConfig/thinkingLevel", json!("XHIGH"), "Thinking level"),
        ("/generationConfig/thinkingConfig/thinkingBudget", json!(100), "Thinking budget"),
    ];
    for (pointer, value, words) in cases {
        let (status, reply) = changed(&lab, Format::Gemini, pointer, value).await;
        let error = &reply["error"];
        assert_eq!(
            (status, &error["code"], &error["status"]),
            (400, &json!(400), &json!("INVALID_ARGUMENT")),
            "{pointer}: {reply}"
        );
        assert!(error["message"].as_str().unwrap().contains(words), "{pointer}: {reply}");
    }
}

#[tokio::test]
async fn gemini_looks_at_keys_models_and_versions() {
    let lab = Lab::new().await;
    let body = Format::Gemini.body("a", false);
    let send = async |path: &str, header: Option<(&str, &str)>| {
        let mut request = lab.client.post(lab.url(path)).json(&body);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let (status, reply) = status_and_json(request.send().await.unwrap()).await;
        (status.as_u16(), reply["error"]["status"].as_str().unwrap_or_default().to_owned())
    };
    let good = "/v1/models/gemini-3.5-flash-lite:generateContent";
    let key = Some(("x-goog-api-key", "AQ.x"));
    let refused = |status: u16, kind: &str| (status, kind.to_owned());
    assert_eq!(send(good, None).await, refused(403, "PERMISSION_DENIED"));
    assert_eq!(send(&format!("{good}?key=AQ.x"), None).await, refused(401, "UNAUTHENTICATED"));
    assert_eq!(
        send(good, Some(("x-goog-api-key", "AIzaOld"))).await,
        refused(400, "INVALID_ARGUMENT")
    );
    assert_eq!(
        send(good, Some(("x-goog-api-key", "AQ.invalid"))).await,
        refused(401, "UNAUTHENTICATED")
    );
    assert_eq!(
        send("/v1/models/gemini-1.5-flash:generateContent", key).await,
        refused(404, "NOT_FOUND")
    );
    assert_eq!(
        send("/v1/models/gemini-3.5-flash-lite:guess", key).await,
        refused(404, "NOT_FOUND")
    );
    assert_eq!(send("/v1/models/gemini-flash-latest:generateContent", key).await.0, 404);
    assert_eq!(send("/v1beta/models/gemini-flash-latest:generateContent", key).await.0, 200);
    assert_eq!(send(good, key).await.0, 200);
}

#[tokio::test]
async fn the_slot_refuses_what_its_usual_host_refuses() {
    let lab = Lab::new().await;
    for (pointer, value) in [
        ("/reasoning_effort", json!("none")),
        ("/stop", json!(["x"])),
        ("/tool_choice", json!("required")),
        ("/surprise", json!(true)),
    ] {
        let (status, reply) = changed(&lab, Format::Llama, pointer, value).await;
        assert_eq!(
            (status, &reply["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{pointer}"
        );
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused_everywhere() {
    let lab = Lab::new().await;
    for kind in crate::format::ALL {
        let request = kind.good(&lab, "a", false).body("{");
        let (status, reply) = status_and_json(request.send().await.unwrap()).await;
        assert_eq!(status.as_u16(), 400, "{kind:?}");
        assert!(reply["error"]["message"].is_string(), "{kind:?}: {reply}");
    }
}
