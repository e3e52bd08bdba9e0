//! Our requests against what the official SDKs send for the same prompt. The
//! recordings are made by load-tests/wire/capture.py.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use http::StatusCode;
use regimen_worker::llm::anthropic::Messages;
use regimen_worker::llm::feature::Features;
use regimen_worker::llm::gemini::GenerateContent;
use regimen_worker::llm::openai::{ChatCompletions, Dialect};
use regimen_worker::llm::{
    Correction, GenerateRequest, LazyPrompt, Prompt, Provider, Reasoning, ReplySchema, Timeouts,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use url::Url;

use super::transport;

/// Where ours differs from the SDK's, and why. Paths are JSON pointers; a
/// difference that is not listed fails the test, and so does a listed one
/// that is none.
fn allowed(provider: &str) -> BTreeMap<&'static str, &'static str> {
    const LEFT_OUT: &str = "outside the provider's subset: it moves into the description";
    const ORDER: &str = "keeps the order of generation";
    const SPELLING: &str = "the SDK keeps Python's spelling; JSON names are lowerCamelCase";
    const KEY: &str = "the key goes as x-api-key, as in the API's own documentation";
    let listed: &[_] = match provider {
        "openai" | "llama" => &[
            ("/body/response_format/json_schema/schema/properties/title/maxLength", LEFT_OUT),
            ("/body/response_format/json_schema/schema/properties/title/description", LEFT_OUT),
        ],
        "anthropic" => &[("/headers/authorization", KEY), ("/headers/x-api-key", KEY)],
        _ => &[
            ("/body/systemInstruction/role", "the API ignores the role of a system instruction"),
            ("/body/generationConfig/thinkingConfig/thinking_level", SPELLING),
            ("/body/generationConfig/thinkingConfig/thinkingLevel", SPELLING),
            ("/body/generationConfig/responseJsonSchema/properties/title/maxLength", LEFT_OUT),
            ("/body/generationConfig/responseJsonSchema/properties/title/description", LEFT_OUT),
            ("/body/generationConfig/responseJsonSchema/propertyOrdering", ORDER),
            ("/body/generationConfig/responseJsonSchema/$defs/Day/propertyOrdering", ORDER),
        ],
    };
    listed.iter().copied().collect()
}

/// One address that records a request and answers with an error.
async fn recorder() -> (Url, mpsc::Receiver<Value>) {
    let (seen, requests) = mpsc::channel(1);
    let record = async move |request: Request| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let headers: BTreeMap<_, _> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let query: BTreeMap<_, _> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let request = json!({
            "method": parts.method.as_str(),
            "path": parts.uri.path(),
            "query": query,
            "headers": headers,
            "body": serde_json::from_slice::<Value>(&body).unwrap(),
        });
        seen.send(request).await.unwrap();
        StatusCode::BAD_REQUEST
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let app = Router::new().fallback(record);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (base, requests)
}

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire").join(name);
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

fn request(provider: &str, corrected: bool) -> GenerateRequest {
    let written = fixture("prompt.json");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (model, reasoning) = match provider {
        "openai" => ("gpt-6-luna", Reasoning::Effort("low".to_owned())),
        "anthropic" => ("claude-haiku-5-5", Reasoning::Effort("low".to_owned())),
        "gemini" => ("gemini-3.5-flash-lite", Reasoning::Effort("low".to_owned())),
        _ => ("house-llama", Reasoning::Unset),
    };
    let correction = corrected.then(|| Correction {
        previous: text(&written["correction"]["previous"]),
        instruction: text(&written["correction"]["instruction"]),
    });
    let output_estimate = u32::try_from(written["output_estimate"].as_u64().unwrap()).unwrap();
    GenerateRequest {
        prompt: Arc::new(LazyPrompt::from(Prompt {
            system: text(&written["system"]),
            user: text(&written["user"]),
            schema: Arc::new(ReplySchema::new(&written["schema"])),
            schema_name: text(&written["schema_name"]),
            user_hash: text(&written["user_hash"]),
        })),
        model: model.to_owned(),
        max_output_tokens: output_estimate,
        reasoning,
        correction,
        without: Features::default(),
    }
}

fn adapter(provider: &str, base: &Url) -> Box<dyn Provider> {
    let key = SecretString::from("test-key");
    let v1 = base.join("v1").unwrap();
    match provider {
        "openai" => Box::new(ChatCompletions::new(Dialect::Openai, &v1, key, transport())),
        "llama" => Box::new(ChatCompletions::new(Dialect::Compatible, &v1, key, transport())),
        "anthropic" => Box::new(Messages::new(base, key, transport())),
        _ => Box::new(GenerateContent::new(base, key, transport())),
    }
}

/// Every place where two values differ, as JSON pointers.
fn differences(ours: &Value, theirs: &Value, at: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names: std::collections::BTreeSet<&String> =
                ours.keys().chain(theirs.keys()).collect();
            for name in names {
                let missing = Value::Null;
                let (left, right) =
                    (ours.get(name).unwrap_or(&missing), theirs.get(name).unwrap_or(&missing));
                differences(left, right, &format!("{at}/{name}"), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (left, right)) in ours.iter().zip(theirs).enumerate() {
                differences(left, right, &format!("{at}/{index}"), found);
            }
        }
        _ if ours == theirs => {}
        _ => found.push(at.to_owned()),
    }
}

#[tokio::test]
async fn our_requests_are_the_official_sdks_but_for_what_is_listed() {
    let timeouts = Timeouts {
        first_byte: Duration::from_secs(10),
        stall: Duration::from_secs(10),
        total: Duration::from_secs(10),
    };
    let (base, mut requests) = recorder().await;
    for provider in ["openai", "llama", "anthropic", "gemini"] {
        for corrected in [false, true] {
            let suffix = if corrected { "-correction" } else { "" };
            let theirs = fixture(&format!("{provider}{suffix}.json"));
            let request = request(provider, corrected);
            let error = adapter(provider, &base).prepare(&request)(timeouts).await.unwrap_err();
            assert_eq!(error.class(), "bad_request");

            let mut ours = requests.recv().await.unwrap();
            // Only what means something on the wire is recorded of the SDK's headers.
            let names = [
                "content-type",
                "authorization",
                "x-api-key",
                "x-goog-api-key",
                "anthropic-version",
            ];
            ours["headers"]
                .as_object_mut()
                .unwrap()
                .retain(|name, _| names.contains(&name.as_str()));
            let mut theirs = theirs;
            theirs.as_object_mut().unwrap().remove("sdk");

            let mut found = Vec::new();
            differences(&ours, &theirs, "", &mut found);
            let allowed: Vec<_> = allowed(provider).into_keys().collect();
            found.sort_unstable();
            assert_eq!(found, allowed, "{provider}{suffix}\nours: {ours:#}\ntheirs: {theirs:#}");
        }
    }
}
