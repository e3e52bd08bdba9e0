//! Validation of Messages requests.

use http::HeaderMap;
use serde_json::Value;

use crate::provider::Provider;
use crate::wire::fields::{self, Field, Finding, Kind, may, must};
use crate::wire::models::{Model, Sampling, reasoning_tokens};
use crate::wire::problem::Problem;
use crate::wire::schema::{self, Dialect};
use crate::wire::{Asked, Incoming, Streaming, is_bad_key, is_json};

/// The version from which on every model refuses sampling parameters.
const NEWEST: &str = "2026-10-21";
const VERSIONS: [&str; 2] = ["2023-06-01", NEWEST];

static MESSAGE: &[Field] =
    &[must("role", Kind::Word(&["user", "assistant"])), must("content", Kind::TextOr(&Kind::Map))];
static METADATA: &[Field] = &[may("user_id", Kind::Text)];
static FORMAT: &[Field] = &[must("type", Kind::Word(&["json_schema"])), must("schema", Kind::Map)];
static OUTPUT: &[Field] = &[
    may("effort", Kind::Word(&["low", "medium", "high", "xhigh", "max"])),
    may("format", Kind::Object(FORMAT)),
];
static THINKING: &[Field] = &[
    must("type", Kind::Word(&["disabled", "adaptive", "enabled", "between_tools"])),
    may("budget_tokens", Kind::Whole),
    may("display", Kind::Text),
];
static CACHE: &[Field] =
    &[must("type", Kind::Word(&["ephemeral"])), may("ttl", Kind::Word(&["5m", "1h"]))];

static REQUEST: &[Field] = &[
    must("model", Kind::Text),
    must("max_tokens", Kind::Whole),
    must("messages", Kind::List(&Kind::Object(MESSAGE))),
    may("cache_control", Kind::Object(CACHE)),
    may("container", Kind::Any),
    may("inference_geo", Kind::Text),
    may("metadata", Kind::Object(METADATA)),
    may("output_config", Kind::Object(OUTPUT)),
    may("service_tier", Kind::Word(&["auto", "standard_only"])),
    may("stop_sequences", Kind::List(&Kind::Text)),
    may("stream", Kind::Flag),
    may("system", Kind::TextOr(&Kind::Map)),
    may("temperature", Kind::Number),
    may("thinking", Kind::Object(THINKING)),
    may("tool_choice", Kind::Map),
    may("tools", Kind::List(&Kind::Map)),
    may("top_k", Kind::Whole),
    may("top_p", Kind::Number),
];

fn invalid(message: impl Into<Box<str>>) -> Problem {
    Problem::new(400, "invalid_request_error", message)
}

/// Validates a request.
///
/// # Errors
/// The first problem that the service would report.
pub(crate) fn check(incoming: &Incoming<'_>) -> Result<Asked, Problem> {
    let body = incoming.body;
    let version = authorise(incoming.headers)?;
    if !is_json(incoming.headers) || body.is_null() {
        return Err(invalid("The request body is not valid JSON."));
    }
    if let Some(finding) = fields::check(body, REQUEST) {
        return Err(field_problem(finding));
    }
    let name = body["model"].as_str().unwrap_or_default();
    let model = incoming
        .models
        .find(Provider::Anthropic, name)
        .map_err(|_| Problem::new(404, "not_found_error", format!("model: {name}")))?;
    cap(&model, body)?;
    sampling(&model, version, body)?;
    messages(&model, version, body)?;
    let reasoning = thinking(&model, body)?;
    let (prompt, instructions) = texts(body);
    let stream =
        if body["stream"] == true { Streaming::Sse { usage: true } } else { Streaming::No };
    Ok(Asked {
        model: name.to_owned(),
        prompt,
        instructions,
        stream,
        cap: body["max_tokens"].as_u64(),
        reasoning,
        schema_at: format(body)?,
        cache_asked: caches(body),
        ..Asked::default()
    })
}

/// Checks the key and the version; returns the version.
///
/// # Errors
/// Either is missing or invalid.
pub(crate) fn authorise(headers: &HeaderMap) -> Result<&str, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let refused = |message: &str| Err(Problem::new(401, "authentication_error", message));
    match text("x-api-key").or(bearer).map(str::trim) {
        None | Some("") => refused("x-api-key header is required"),
        Some(key) if is_bad_key(key) => refused("invalid x-api-key"),
        Some(_) => version(headers),
    }
}

fn version(headers: &HeaderMap) -> Result<&str, Problem> {
    match headers.get("anthropic-version").and_then(|value| value.to_str().ok()) {
        None => Err(invalid("anthropic-version: header is required")),
        Some(version) if VERSIONS.contains(&version) => Ok(version),
        Some(version) => Err(invalid(format!(
            "anthropic-version: \"{version}\" is not a valid version. Supported versions are {}.",
            VERSIONS.join(", ")
        ))),
    }
}

fn field_problem(finding: Finding) -> Problem {
    // Paths use dots everywhere: messages.0.role
    let dotted = |path: String| path.replace('[', ".").replace(']', "");
    invalid(match finding {
        Finding::Unknown { path } => format!("{}: Extra inputs are not permitted", dotted(path)),
        Finding::Missing { path } => format!("{}: Field required", dotted(path)),
        Finding::Type { path, expected, .. } => {
            format!("{}: Input should be {expected}", dotted(path))
        }
        Finding::Word { path, got, allowed } => {
            let allowed: Vec<String> = allowed.iter().map(|word| format!("'{word}'")).collect();
            format!("{}: Input should be {}, not '{got}'", dotted(path), allowed.join(" or "))
        }
    })
}

fn cap(model: &Model, body: &Value) -> Result<(), Problem> {
    match body["max_tokens"].as_i64().map(u64::try_from) {
        Some(Ok(cap)) if cap > model.max_output => Err(invalid(format!(
            "max_tokens: {cap} > {}, which is the maximum allowed number of output tokens for {}",
            model.max_output, model.name
        ))),
        Some(Ok(1..)) => Ok(()),
        _ => Err(invalid("max_tokens: Input should be greater than or equal to 1")),
    }
}

fn sampling(model: &Model, version: &str, body: &Value) -> Result<(), Problem> {
    for name in ["temperature", "top_p", "top_k"] {
        let Some(asked) = body[name].as_f64() else { continue };
        if version == NEWEST {
            return Err(invalid(format!("{name}: not accepted by version {NEWEST}")));
        }
        let default = name != "top_k" && (asked - 1.0).abs() < f64::EPSILON;
        if model.sampling == Sampling::DefaultOnly && !default {
            return Err(invalid(format!("{name}: not supported by this model")));
        }
    }
    Ok(())
}

fn messages(model: &Model, version: &str, body: &Value) -> Result<(), Problem> {
    let list = body["messages"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let Some(last) = list.last() else {
        return Err(invalid("messages: at least one message is required"));
    };
    let current = model.sampling == Sampling::DefaultOnly;
    if last["role"] == "assistant" && current {
        return Err(invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ));
    }
    for (index, message) in list.iter().enumerate() {
        for block in message["content"].as_array().into_iter().flatten() {
            let document = block["type"] == "document" && message["role"] == "assistant";
            let cited = block["citations"].as_array().is_some_and(|list| !list.is_empty());
            if version == NEWEST && (document || (cited && message["role"] == "user")) {
                return Err(invalid(format!(
                    "messages.{index}.content: this block is not accepted by version {NEWEST}"
                )));
            }
            if block["type"] == "text" && block["text"].as_str().is_none_or(str::is_empty) {
                return Err(invalid(format!(
                    "messages.{index}.content: text content blocks must be non-empty"
                )));
            }
        }
    }
    Ok(())
}

/// The number of thinking tokens, if thinking is allowed as requested.
fn thinking(model: &Model, body: &Value) -> Result<u64, Problem> {
    let effort = body["output_config"]["effort"].as_str();
    let adaptive = !model.efforts.is_empty();
    let always = model.name == "claude-sonnet-5-5";
    if effort.is_some() && !adaptive {
        return Err(invalid("output_config.effort: not supported by this model"));
    }
    match body["thinking"]["type"].as_str() {
        Some("disabled") if always => {
            Err(invalid("thinking.type: 'disabled' is not supported by this model"))
        }
        Some("disabled") => Ok(0),
        Some("enabled") if adaptive => {
            Err(invalid("thinking.type: 'enabled' is not supported by this model, use 'adaptive'"))
        }
        Some("enabled") => {
            let budget = body["thinking"]["budget_tokens"].as_u64().unwrap_or(0);
            if budget < 1024 {
                return Err(invalid(
                    "thinking.budget_tokens: Input should be greater than or equal to 1024",
                ));
            }
            if Some(budget) >= body["max_tokens"].as_u64() {
                return Err(invalid("`max_tokens` must be greater than `thinking.budget_tokens`"));
            }
            Ok(budget.min(2000))
        }
        Some("adaptive" | "between_tools") if !adaptive => {
            Err(invalid("thinking.type: adaptive thinking is not supported by this model"))
        }
        _ => Ok(reasoning_tokens(effort.unwrap_or(model.default_effort))),
    }
}

fn format(body: &Value) -> Result<Option<&'static str>, Problem> {
    let schema = &body["output_config"]["format"]["schema"];
    if schema.is_null() {
        return Ok(None);
    }
    match schema::check(schema, Dialect::Anthropic) {
        None => Ok(Some("/output_config/format/schema")),
        Some(found) => Err(invalid(format!(
            "output_config.format.schema: at {}: {}",
            if found.path.is_empty() { "the root".to_owned() } else { found.path.join(".") },
            found.message()
        ))),
    }
}

/// Whether the request, its system text or a message requests caching.
fn caches(body: &Value) -> bool {
    let asks = |value: &Value| value.get("cache_control").is_some_and(Value::is_object);
    let block = |content: &Value| content.as_array().is_some_and(|blocks| blocks.iter().any(asks));
    let mut messages = body["messages"].as_array().into_iter().flatten();
    asks(body) || block(&body["system"]) || messages.any(|message| block(&message["content"]))
}

/// All text, and that of the instructions alone.
fn texts(body: &Value) -> (String, String) {
    let mut instructions = String::new();
    collect(&body["system"], &mut instructions);
    let mut all = instructions.clone();
    for message in body["messages"].as_array().into_iter().flatten() {
        collect(&message["content"], &mut all);
    }
    (all, instructions)
}

fn collect(content: &Value, into: &mut String) {
    let blocks = content.as_array().into_iter().flatten();
    let texts = blocks.filter_map(|block| block["text"].as_str());
    for text in content.as_str().into_iter().chain(texts) {
        into.push_str(text);
        into.push('\n');
    }
}
