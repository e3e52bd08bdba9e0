//! Validation of Responses requests.

use serde_json::Value;

use crate::wire::fields::{self, Field, Kind, may, must};
use crate::wire::models::reasoning_tokens;
use crate::wire::openai::{self, invalid};
use crate::wire::problem::Problem;
use crate::wire::{Asked, Incoming, Streaming};

static PART: &[Field] = &[
    must(
        "type",
        Kind::Word(&["input_text", "output_text", "input_image", "input_file", "refusal"]),
    ),
    may("text", Kind::Text),
    may("refusal", Kind::Text),
    may("image_url", Kind::Text),
    may("file_id", Kind::Text),
    may("file_data", Kind::Text),
    may("filename", Kind::Text),
    may("detail", Kind::Text),
    may("annotations", Kind::List(&Kind::Map)),
    may("logprobs", Kind::List(&Kind::Map)),
];

static ITEM: &[Field] = &[
    may(
        "type",
        Kind::Word(&[
            "message",
            "reasoning",
            "item_reference",
            "function_call",
            "function_call_output",
        ]),
    ),
    may("role", Kind::Word(&["developer", "system", "user", "assistant"])),
    may("content", Kind::TextOr(&Kind::Object(PART))),
    may("id", Kind::Text),
    may("status", Kind::Text),
    may("phase", Kind::Word(&["commentary", "final_answer"])),
    may("summary", Kind::List(&Kind::Map)),
    may("encrypted_content", Kind::Text),
    may("call_id", Kind::Text),
    may("name", Kind::Text),
    may("arguments", Kind::Text),
    may("output", Kind::Any),
];

static FORMAT: &[Field] = &[
    must("type", Kind::Word(&["text", "json_object", "json_schema"])),
    may("name", Kind::Text),
    may("description", Kind::Text),
    may("schema", Kind::Map),
    may("strict", Kind::Flag),
];

static TEXT: &[Field] = &[
    may("format", Kind::Object(FORMAT)),
    may("verbosity", Kind::Word(&["low", "medium", "high"])),
];

static REASONING: &[Field] = &[
    may("effort", Kind::Text),
    may("summary", Kind::Word(&["auto", "concise", "detailed"])),
    may("generate_summary", Kind::Word(&["auto", "concise", "detailed"])),
];

static STREAM_OPTIONS: &[Field] = &[may("include_obfuscation", Kind::Flag)];

static REQUEST: &[Field] = &[
    must("model", Kind::Text),
    may("input", Kind::TextOr(&Kind::Object(ITEM))),
    may("instructions", Kind::Text),
    may("background", Kind::Flag),
    may("conversation", Kind::Any),
    may("include", Kind::List(&Kind::Text)),
    may("max_output_tokens", Kind::Whole),
    may("max_tool_calls", Kind::Whole),
    may("metadata", Kind::Map),
    may("parallel_tool_calls", Kind::Flag),
    may("previous_response_id", Kind::Text),
    may("prompt", Kind::Map),
    may("prompt_cache_key", Kind::Text),
    may("prompt_cache_retention", Kind::Text),
    may("reasoning", Kind::Object(REASONING)),
    may("safety_identifier", Kind::Text),
    may("service_tier", Kind::Word(&["auto", "default", "flex", "scale", "priority"])),
    may("store", Kind::Flag),
    may("stream", Kind::Flag),
    may("stream_options", Kind::Object(STREAM_OPTIONS)),
    may("temperature", Kind::Number),
    may("text", Kind::Object(TEXT)),
    may("tool_choice", Kind::Any),
    may("tools", Kind::List(&Kind::Map)),
    may("top_logprobs", Kind::Whole),
    may("top_p", Kind::Number),
    may("truncation", Kind::Word(&["auto", "disabled"])),
    may("user", Kind::Text),
];

/// Validates a request.
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
    let name = body["model"].as_str().unwrap_or_default();
    let model = openai::model(incoming.models, incoming.api.provider(), name)?;
    if body["input"].is_null() && body["prompt"].is_null() {
        let message = "Missing required parameter: 'input'.";
        return Err(invalid(message, "input", "missing_required_parameter"));
    }
    openai::caller(body)?;
    let effort = openai::effort(&model, body["reasoning"]["effort"].as_str(), "reasoning.effort")?;
    openai::sampling(&model, effort, body)?;
    let cap = body["max_output_tokens"].as_i64().map(|cap| u64::try_from(cap).unwrap_or(0));
    openai::cap(&model, cap, "max_output_tokens")?;
    let schema_at = format(body)?;
    let (prompt, instructions) = texts(body);
    let stream =
        if body["stream"] == true { Streaming::Sse { usage: true } } else { Streaming::No };
    Ok(Asked {
        model: name.to_owned(),
        prompt,
        instructions,
        stream,
        cap,
        reasoning: reasoning_tokens(effort),
        schema_at,
        ..Asked::default()
    })
}

fn format(body: &Value) -> Result<Option<&'static str>, Problem> {
    let format = &body["text"]["format"];
    if format["type"] != "json_schema" {
        return Ok(None);
    }
    for name in ["name", "schema"] {
        if format[name].is_null() {
            let param = format!("text.format.{name}");
            let message = format!("Missing required parameter: '{param}'.");
            return Err(invalid(message, &param, "missing_required_parameter"));
        }
    }
    let name = format["name"].as_str().unwrap_or_default();
    openai::schema_name(name, "text.format.name")?;
    // Strict is the default of this format, unlike that of Chat Completions.
    if format["strict"] != false {
        openai::strict_schema(name, &format["schema"], "text.format.schema")?;
    }
    Ok(Some("/text/format/schema"))
}

/// All text, and that of the instructions alone.
fn texts(body: &Value) -> (String, String) {
    let mut instructions = body["instructions"].as_str().unwrap_or_default().to_owned();
    let mut rest = body["input"].as_str().unwrap_or_default().to_owned();
    for item in body["input"].as_array().into_iter().flatten() {
        let parts = item["content"].as_array().into_iter().flatten();
        let texts = parts.filter_map(|part| part["text"].as_str());
        for text in item["content"].as_str().into_iter().chain(texts) {
            let system = matches!(item["role"].as_str(), Some("system" | "developer"));
            let target = if system { &mut instructions } else { &mut rest };
            target.push_str(text);
            target.push('\n');
        }
    }
    (format!("{instructions}\n{rest}"), instructions)
}
