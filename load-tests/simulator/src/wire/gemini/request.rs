//! Validation of generateContent requests.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::provider::Provider;
use crate::wire::fields::{self, Field, Finding, Kind, may, must};
use crate::wire::models::{Model, reasoning_tokens};
use crate::wire::problem::Problem;
use crate::wire::schema::{self, Dialect};
use crate::wire::{Asked, GeminiPath, Incoming, Streaming, is_bad_key, is_json};

static CONTENT: &[Field] =
    &[may("role", Kind::Word(&["user", "model"])), must("parts", Kind::List(&Kind::Map))];
static INSTRUCTION: &[Field] = &[may("role", Kind::Text), must("parts", Kind::List(&Kind::Map))];
static THINKING: &[Field] = &[
    may("includeThoughts", Kind::Flag),
    may("thinkingBudget", Kind::Whole),
    may("thinkingLevel", Kind::Text),
];

static CONFIG: &[Field] = &[
    may("candidateCount", Kind::Whole),
    may("enableEnhancedCivicAnswers", Kind::Flag),
    may("frequencyPenalty", Kind::Number),
    may("imageConfig", Kind::Map),
    may("logprobs", Kind::Whole),
    may("maxOutputTokens", Kind::Whole),
    may("mediaResolution", Kind::Text),
    may("presencePenalty", Kind::Number),
    may("responseFormat", Kind::Any),
    may("responseJsonSchema", Kind::Any),
    may("responseLogprobs", Kind::Flag),
    may("responseMimeType", Kind::Text),
    may("responseModalities", Kind::List(&Kind::Text)),
    may("responseSchema", Kind::Map),
    may("seed", Kind::Whole),
    may("speechConfig", Kind::Map),
    may("stopSequences", Kind::List(&Kind::Text)),
    may("temperature", Kind::Number),
    may("thinkingConfig", Kind::Object(THINKING)),
    may("topK", Kind::Number),
    may("topP", Kind::Number),
];

static REQUEST: &[Field] = &[
    may("cachedContent", Kind::Text),
    may("contents", Kind::List(&Kind::Object(CONTENT))),
    may("generationConfig", Kind::Object(CONFIG)),
    may("model", Kind::Text),
    may("safetySettings", Kind::List(&Kind::Map)),
    may("serviceTier", Kind::Text),
    may("store", Kind::Flag),
    may("systemInstruction", Kind::Object(INSTRUCTION)),
    may("toolConfig", Kind::Map),
    may("tools", Kind::List(&Kind::Map)),
];

fn invalid(message: impl Into<Box<str>>) -> Problem {
    Problem::new(400, "INVALID_ARGUMENT", message)
}

/// Validates a request.
///
/// # Errors
/// The first problem that the service would report.
pub(crate) fn check(incoming: &Incoming<'_>) -> Result<Asked, Problem> {
    let Some(path) = incoming.path else {
        return Err(Problem::new(404, "NOT_FOUND", "The address names no model."));
    };
    authorise(incoming.headers, path.key_in_query)?;
    let model = model(incoming, path)?;
    if !is_json(incoming.headers) || incoming.body.is_null() {
        return Err(invalid("Invalid JSON payload received. The body is no JSON object."));
    }
    let body = incoming.body;
    if let Some(finding) = fields::check(body, REQUEST) {
        return Err(field_problem(&finding));
    }
    if body["contents"].as_array().is_none_or(Vec::is_empty) {
        return Err(invalid("* GenerateContentRequest.contents: contents is not specified\n"));
    }
    let config = &body["generationConfig"];
    let cap = cap(&model, config)?;
    let (prompt, instructions) = texts(body);
    Ok(Asked {
        model: path.model.clone(),
        prompt,
        instructions,
        stream: streaming(path),
        cap,
        reasoning: thinking(&model, config)?,
        schema_at: response_schema(config)?,
        show_thoughts: config["thinkingConfig"]["includeThoughts"] == true,
        server_timeout: server_timeout(incoming.headers),
        ..Asked::default()
    })
}

/// Checks the key.
///
/// # Errors
/// It is missing, invalid, or in the wrong place.
pub(crate) fn authorise(headers: &HeaderMap, key_in_query: bool) -> Result<(), Problem> {
    let key = headers.get("x-goog-api-key").and_then(|value| value.to_str().ok()).map(str::trim);
    let reason = |reason: &str| {
        json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason, "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        })
    };
    let with = |mut problem: Problem, why: &str| {
        problem.details.push(reason(why));
        Err(problem)
    };
    match key {
        None | Some("") if key_in_query || headers.contains_key("authorization") => with(
            Problem::new(
                401,
                "UNAUTHENTICATED",
                "Keys of this kind are only accepted in the x-goog-api-key header.",
            ),
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        ),
        None | Some("") => Err(Problem::new(
            403,
            "PERMISSION_DENIED",
            "The caller has no established identity: send an API key in the x-goog-api-key header.",
        )),
        Some(key) if key.starts_with("AIza") => with(
            invalid("API key not valid. Unrestricted standard keys are no longer accepted."),
            "API_KEY_INVALID",
        ),
        Some(key) if is_bad_key(key) => with(
            Problem::new(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        ),
        Some(_) => Ok(()),
    }
}

fn model(incoming: &Incoming<'_>, path: &GeminiPath) -> Result<Model, Problem> {
    let GeminiPath { version, model, method, .. } = path;
    let missing = || {
        let message = format!(
            "models/{model} is not found for API version {version}, or is not supported for {method}. Call ModelList to see the list of available models and their supported methods."
        );
        Problem::new(404, "NOT_FOUND", message)
    };
    if !matches!(method.as_str(), "generateContent" | "streamGenerateContent") {
        return Err(missing());
    }
    // The alias names exist in the preview version only.
    let name = match (version.as_str(), model.as_str()) {
        ("v1beta", "gemini-flash-latest") => "gemini-3.8-flash",
        ("v1beta", "gemini-flash-lite-latest") => "gemini-3.5-flash-lite",
        (_, name) => name,
    };
    incoming.models.find(Provider::Gemini, name).map_err(|_| missing())
}

/// The service accepts `snake_case` names, too; names inside a schema stay unchanged.
pub(crate) fn camel(body: Value) -> Value {
    let keys = |value: Value| match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (camel_word(&key), value)).collect())
        }
        other => other,
    };
    let mut body = keys(body);
    for pointer in ["/generationConfig", "/generationConfig/thinkingConfig"] {
        if let Some(inner) = body.pointer_mut(pointer) {
            *inner = keys(inner.take());
        }
    }
    body
}

fn camel_word(word: &str) -> String {
    let mut parts = word.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |joined, part| {
        let mut letters = part.chars();
        let head = letters.next().map(|letter| letter.to_ascii_uppercase());
        joined + &head.into_iter().chain(letters).collect::<String>()
    })
}

/// A path in the spelling of error messages.
fn snake(path: &str) -> String {
    path.chars().fold(String::new(), |mut text, letter| {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
        text
    })
}

fn field_problem(finding: &Finding) -> Problem {
    let (path, message) = match finding {
        Finding::Unknown { path } => {
            let (outer, name) = path.rsplit_once('.').unwrap_or(("", path));
            let place =
                if outer.is_empty() { String::new() } else { format!(" at '{}'", snake(outer)) };
            (
                outer,
                format!(
                    "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
                ),
            )
        }
        Finding::Missing { path } => {
            (path.as_str(), format!("* GenerateContentRequest.{path}: is not specified\n"))
        }
        Finding::Type { path, expected, got } => (
            path.as_str(),
            format!("Invalid value at '{}': expected {expected}, got {got}", snake(path)),
        ),
        Finding::Word { path, got, allowed } => (
            path.as_str(),
            format!(
                "Invalid value at '{}': \"{got}\" is none of {}",
                snake(path),
                allowed.join(", ")
            ),
        ),
    };
    let mut problem = invalid(message.clone());
    problem.details.push(json!({
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": snake(path), "description": message}],
    }));
    problem
}

fn cap(model: &Model, config: &Value) -> Result<Option<u64>, Problem> {
    let Some(asked) = config["maxOutputTokens"].as_i64() else { return Ok(None) };
    match u64::try_from(asked) {
        Ok(cap) if (1..=model.max_output).contains(&cap) => Ok(Some(cap)),
        _ => Err(invalid(format!(
            "The value of max_output_tokens is {asked}, but the supported range is from 1 to {}.",
            model.max_output
        ))),
    }
}

fn thinking(model: &Model, config: &Value) -> Result<u64, Problem> {
    let thinking = &config["thinkingConfig"];
    let level = thinking["thinkingLevel"].as_str().map(str::to_ascii_uppercase);
    let budget = thinking["thinkingBudget"].as_i64();
    match (level, budget) {
        (Some(_), Some(_)) => {
            Err(invalid("Thinking budget and thinking level cannot be set at the same time."))
        }
        (Some(_), None) if model.efforts.is_empty() => {
            Err(invalid("Thinking level is not supported for this model."))
        }
        (Some(level), None) if !model.efforts.contains(&level.as_str()) => {
            Err(invalid(format!("Thinking level {level} is not supported for this model.")))
        }
        (Some(level), None) => Ok(reasoning_tokens(&level)),
        (None, Some(budget)) => Ok(u64::try_from(budget).map_or(512, |budget| budget.min(512))),
        (None, None) if model.efforts.is_empty() => Ok(512),
        (None, None) => Ok(reasoning_tokens(model.default_effort)),
    }
}

fn response_schema(config: &Value) -> Result<Option<&'static str>, Problem> {
    let (json, open) = (&config["responseJsonSchema"], &config["responseSchema"]);
    let (schema, dialect, name) = match (json.is_null(), open.is_null()) {
        (true, true) => return Ok(None),
        (false, false) => {
            return Err(invalid(
                "response_schema must not be set when response_json_schema is set.",
            ));
        }
        (false, true) => (json, Dialect::GeminiJson, "responseJsonSchema"),
        (true, false) => (open, Dialect::GeminiOpenApi, "responseSchema"),
    };
    if config["responseMimeType"] != "application/json" {
        return Err(invalid("A response schema needs response_mime_type 'application/json'."));
    }
    match schema::check(schema, dialect) {
        None if dialect == Dialect::GeminiJson => Ok(Some("/generationConfig/responseJsonSchema")),
        None => Ok(Some("/generationConfig/responseSchema")),
        Some(found) => Err(invalid(format!(
            "Invalid value at 'generation_config.{}{}': {}",
            snake(name),
            found.path.iter().map(|step| format!(".{step}")).collect::<String>(),
            found.message()
        ))),
    }
}

fn streaming(path: &GeminiPath) -> Streaming {
    match path.method.as_str() {
        "streamGenerateContent" if path.is_array() => Streaming::Array,
        "streamGenerateContent" => Streaming::Sse { usage: true },
        _ => Streaming::No,
    }
}

fn server_timeout(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-server-timeout")?.to_str().ok()?.parse().ok()
}

/// All text, and that of the instructions alone.
fn texts(body: &Value) -> (String, String) {
    let mut instructions = String::new();
    collect(&body["systemInstruction"], &mut instructions);
    let mut all = instructions.clone();
    for content in body["contents"].as_array().into_iter().flatten() {
        collect(content, &mut all);
    }
    (all, instructions)
}

fn collect(content: &Value, into: &mut String) {
    for text in content["parts"].as_array().into_iter().flatten().filter_map(|p| p["text"].as_str())
    {
        into.push_str(text);
        into.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_both_spellings() {
        let body = json!({
            "generation_config": {"max_output_tokens": 5, "response_json_schema": {"my_key": 1}, "thinking_config": {"thinking_level": "LOW"}}
        });
        let read = camel(body);
        assert_eq!(read["generationConfig"]["maxOutputTokens"], 5);
        assert_eq!(read["generationConfig"]["responseJsonSchema"]["my_key"], 1);
        assert_eq!(read["generationConfig"]["thinkingConfig"]["thinkingLevel"], "LOW");
    }
}
