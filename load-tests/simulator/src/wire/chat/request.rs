//! Validation of Chat Completions requests.

use serde_json::Value;

use crate::provider::{Api, Provider};
use crate::wire::fields::{self, Field, Kind, may, must};
use crate::wire::models::{Model, reasoning_tokens};
use crate::wire::openai::{self, invalid};
use crate::wire::problem::Problem;
use crate::wire::{Asked, Incoming, Streaming};

const ROLES: &[&str] = &["developer", "system", "user", "assistant", "tool", "function"];

static PART: &[Field] = &[
    must("type", Kind::Word(&["text", "image_url", "input_audio", "file", "refusal"])),
    may("text", Kind::Text),
    may("image_url", Kind::Map),
    may("input_audio", Kind::Map),
    may("file", Kind::Map),
    may("refusal", Kind::Text),
];

static MESSAGE: &[Field] = &[
    must("role", Kind::Word(ROLES)),
    may("content", Kind::TextOr(&Kind::Object(PART))),
    may("name", Kind::Text),
    may("refusal", Kind::Text),
    may("audio", Kind::Map),
    may("tool_calls", Kind::List(&Kind::Map)),
    may("tool_call_id", Kind::Text),
    may("function_call", Kind::Map),
];

static JSON_SCHEMA: &[Field] = &[
    must("name", Kind::Text),
    may("description", Kind::Text),
    may("schema", Kind::Map),
    may("strict", Kind::Flag),
];

static RESPONSE_FORMAT: &[Field] = &[
    must("type", Kind::Word(&["text", "json_object", "json_schema"])),
    may("json_schema", Kind::Object(JSON_SCHEMA)),
];

static STREAM_OPTIONS: &[Field] =
    &[may("include_usage", Kind::Flag), may("include_obfuscation", Kind::Flag)];

static REQUEST: &[Field] = &[
    must("model", Kind::Text),
    must("messages", Kind::List(&Kind::Object(MESSAGE))),
    may("audio", Kind::Map),
    may("frequency_penalty", Kind::Number),
    may("function_call", Kind::Any),
    may("functions", Kind::List(&Kind::Map)),
    may("logit_bias", Kind::Map),
    may("logprobs", Kind::Flag),
    may("max_completion_tokens", Kind::Whole),
    may("max_tokens", Kind::Whole),
    may("metadata", Kind::Map),
    may("modalities", Kind::List(&Kind::Text)),
    may("n", Kind::Whole),
    may("parallel_tool_calls", Kind::Flag),
    may("prediction", Kind::Map),
    may("presence_penalty", Kind::Number),
    may("prompt_cache_key", Kind::Text),
    may("prompt_cache_retention", Kind::Text),
    may("reasoning_effort", Kind::Text),
    may("response_format", Kind::Object(RESPONSE_FORMAT)),
    may("safety_identifier", Kind::Text),
    may("seed", Kind::Whole),
    may("service_tier", Kind::Word(&["auto", "default", "flex", "scale", "priority"])),
    may("stop", Kind::TextOr(&Kind::Text)),
    may("store", Kind::Flag),
    may("stream", Kind::Flag),
    may("stream_options", Kind::Object(STREAM_OPTIONS)),
    may("temperature", Kind::Number),
    may("tool_choice", Kind::Any),
    may("tools", Kind::List(&Kind::Map)),
    may("top_logprobs", Kind::Whole),
    may("top_p", Kind::Number),
    may("user", Kind::Text),
    may("verbosity", Kind::Word(&["low", "medium", "high"])),
    may("web_search_options", Kind::Map),
];

/// Validates a request of either host.
///
/// # Errors
/// The first problem that the service would report.
pub(crate) fn check(incoming: &Incoming<'_>) -> Result<Asked, Problem> {
    let body = incoming.body;
    openai::authorise(incoming.headers)?;
    openai::json_only(incoming.headers, body)?;
    if let Some(finding) = fields::check(body, REQUEST) {
        return Err(openai::field_problem(finding));
    }
    let provider = incoming.api.provider();
    let name = body["model"].as_str().unwrap_or_default();
    let model = openai::model(incoming.models, provider, name)?;
    messages(body)?;
    if provider == Provider::Llama {
        compatible_host(body)?;
    }
    openai::caller(body)?;
    let effort = openai::effort(&model, body["reasoning_effort"].as_str(), "reasoning_effort")?;
    openai::sampling(&model, effort, body)?;
    let cap = cap(incoming.api, &model, body)?;
    let schema_at = response_format(body)?;
    if body["n"].as_u64().is_some_and(|n| n != 1) {
        return Err(invalid(
            "This stand-in answers with one choice: leave out 'n'.",
            "n",
            "unsupported_value",
        ));
    }
    let (prompt, instructions) = texts(body);
    Ok(Asked {
        model: name.to_owned(),
        prompt,
        instructions,
        stream: streaming(body)?,
        cap,
        reasoning: reasoning_tokens(effort),
        schema_at,
        ..Asked::default()
    })
}

fn messages(body: &Value) -> Result<(), Problem> {
    let list = body["messages"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    if list.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1.";
        return Err(invalid(message, "messages", "empty_array"));
    }
    for (index, message) in list.iter().enumerate() {
        let spoken = !matches!(message["role"].as_str(), Some("assistant"));
        if spoken && message["content"].is_null() {
            let param = format!("messages[{index}].content");
            let text = format!("Invalid value for '{param}': expected a string, got null.");
            return Err(Problem::new(400, "invalid_request_error", text).param(param));
        }
    }
    Ok(())
}

/// What compatible hosts usually do not accept, unlike OpenAI.
fn compatible_host(body: &Value) -> Result<(), Problem> {
    if body["reasoning_effort"] == "none" {
        let message = "Reasoning cannot be switched off: 'none' is not an effort of this model.";
        return Err(invalid(message, "reasoning_effort", "unsupported_value"));
    }
    if body.get("stop").is_some_and(|stop| !stop.is_null()) {
        let message = "Unsupported parameter: 'stop' is not supported.";
        return Err(invalid(message, "stop", "unsupported_parameter"));
    }
    let choice = &body["tool_choice"];
    if !choice.is_null() && choice != "auto" {
        let message = "Unsupported value: 'tool_choice' only supports 'auto'.";
        return Err(invalid(message, "tool_choice", "unsupported_value"));
    }
    Ok(())
}

fn cap(api: Api, model: &Model, body: &Value) -> Result<Option<u64>, Problem> {
    let read = |name: &str| body[name].as_i64().map(|cap| u64::try_from(cap).unwrap_or(0));
    let (old, new) = (read("max_tokens"), read("max_completion_tokens"));
    if old.is_some() && !model.efforts.is_empty() && api == Api::Chat {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return Err(invalid(message, "max_tokens", "unsupported_parameter"));
    }
    if old.is_some() && new.is_some() {
        let message =
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return Err(invalid(message, "max_tokens", "invalid_parameter_combination"));
    }
    let param = if old.is_some() { "max_tokens" } else { "max_completion_tokens" };
    let cap = old.or(new);
    openai::cap(model, cap, param)?;
    Ok(cap)
}

fn response_format(body: &Value) -> Result<Option<&'static str>, Problem> {
    let format = &body["response_format"];
    match format["type"].as_str() {
        Some("json_schema") => {}
        Some("json_object") if !body["messages"].to_string().to_lowercase().contains("json") => {
            let message = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.";
            return Err(Problem::new(400, "invalid_request_error", message).param("messages"));
        }
        _ => return Ok(None),
    }
    let inner = &format["json_schema"];
    if inner.is_null() {
        let param = "response_format.json_schema";
        let message = format!("Missing required parameter: '{param}'.");
        return Err(invalid(message, param, "missing_required_parameter"));
    }
    let name = inner["name"].as_str().unwrap_or_default();
    openai::schema_name(name, "response_format.json_schema.name")?;
    let schema = &inner["schema"];
    if inner["strict"] == true {
        openai::strict_schema(name, schema, "response_format")?;
    }
    Ok(schema.is_object().then_some("/response_format/json_schema/schema"))
}

fn streaming(body: &Value) -> Result<Streaming, Problem> {
    if body["stream"] == true {
        return Ok(Streaming::Sse { usage: body["stream_options"]["include_usage"] == true });
    }
    if body["stream_options"].is_object() {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Problem::new(400, "invalid_request_error", message).param("stream_options"));
    }
    Ok(Streaming::No)
}

/// All text, and that of the instructions alone.
fn texts(body: &Value) -> (String, String) {
    let (mut all, mut instructions) = (String::new(), String::new());
    for message in body["messages"].as_array().into_iter().flatten() {
        let system = matches!(message["role"].as_str(), Some("system" | "developer"));
        let parts = message["content"].as_array().into_iter().flatten();
        let texts = parts.filter_map(|part| part["text"].as_str());
        for text in message["content"].as_str().into_iter().chain(texts) {
            all.push_str(text);
            all.push('\n');
            if system {
                instructions.push_str(text);
                instructions.push('\n');
            }
        }
    }
    (all, instructions)
}
