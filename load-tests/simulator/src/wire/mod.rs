//! The providers' wire formats: the validation of requests, and the shapes of
//! replies, streams and errors. Nothing here waits or counts.

pub(crate) mod anthropic;
pub(crate) mod chat;
pub(crate) mod complaint;
pub(crate) mod faults;
pub(crate) mod fields;
pub(crate) mod gemini;
pub(crate) mod headers;
pub(crate) mod models;
pub(crate) mod odd;
pub(crate) mod openai;
pub(crate) mod problem;
pub(crate) mod responses;
pub(crate) mod schema;
pub(crate) mod sse;
pub(crate) mod usage;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::provider::Api;

use self::models::Models;
use self::problem::Problem;
use self::usage::Usage;

/// A model call before its validation.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) api: Api,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Value,
    pub(crate) models: &'a Models,
    /// The values that Gemini has in the path instead of the body.
    pub(crate) path: Option<&'a GeminiPath>,
}

/// `/v1beta/models/{model}:{method}?alt=sse`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GeminiPath {
    /// v1 or v1beta.
    pub(crate) version: String,
    pub(crate) model: String,
    pub(crate) method: String,
    /// `alt=sse` is set.
    pub(crate) sse: bool,
    /// The URL contains a key.
    pub(crate) key_in_query: bool,
}

impl GeminiPath {
    /// Whether the reply is one JSON array, sent in pieces.
    pub(crate) fn is_array(&self) -> bool {
        self.method == "streamGenerateContent" && !self.sse
    }
}

/// The content of a valid request of any format.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) model: String,
    /// All text of the request, in order.
    pub(crate) prompt: String,
    /// The part that is the same in all calls: the instructions.
    pub(crate) instructions: String,
    pub(crate) stream: Streaming,
    /// The cap on output tokens, including reasoning.
    pub(crate) cap: Option<u64>,
    /// The number of reasoning tokens.
    pub(crate) reasoning: u64,
    /// The JSON pointer of the structured output's schema in the body.
    pub(crate) schema_at: Option<&'static str>,
    /// Whether thoughts are shown (Gemini).
    pub(crate) show_thoughts: bool,
    /// Whether the caller requested caching of the prompt (Anthropic).
    pub(crate) cache_asked: bool,
    /// The service's own time limit in seconds (Gemini).
    pub(crate) server_timeout: Option<u64>,
}

/// Whether and how the reply is streamed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Streaming {
    /// One body.
    #[default]
    No,
    /// Server-sent events.
    Sse {
        /// OpenAI Chat: a last chunk with the usage.
        usage: bool,
    },
    /// Gemini without `alt=sse`: one JSON array, sent in pieces.
    Array,
}

/// The model's answer to a call.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// The request id, and the base of all ids in the reply.
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) text: Arc<str>,
    pub(crate) stop: Stop,
    pub(crate) usage: Usage,
    /// Whether thoughts are shown (Gemini).
    pub(crate) show_thoughts: bool,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It had finished.
    Done,
    /// The cap on output tokens was reached.
    Length,
    /// The model declined, with a text.
    Refused,
    /// A filter blocked the reply.
    Filtered,
}

/// The body as [`check`] expects it: Gemini accepts names in two spellings.
pub(crate) fn normalise(api: Api, body: Value) -> Value {
    match api {
        Api::Generate => gemini::request::camel(body),
        Api::Chat | Api::LlamaChat | Api::Responses | Api::Messages => body,
    }
}

/// Validates a request as the real service would.
///
/// # Errors
/// The first problem that the service would report.
pub(crate) fn check(incoming: &Incoming<'_>) -> Result<Asked, Problem> {
    match incoming.api {
        Api::Chat | Api::LlamaChat => chat::request::check(incoming),
        Api::Responses => responses::request::check(incoming),
        Api::Messages => anthropic::request::check(incoming),
        Api::Generate => gemini::request::check(incoming),
    }
}

/// Checks the key and, where there is one, the version of a request.
///
/// # Errors
/// The service's error for an invalid one.
pub(crate) fn authorise(api: Api, headers: &HeaderMap) -> Result<(), Problem> {
    match api {
        Api::Chat | Api::LlamaChat | Api::Responses => openai::authorise(headers),
        Api::Messages => anthropic::request::authorise(headers).map(drop),
        Api::Generate => gemini::request::authorise(headers, false),
    }
}

/// The complete reply as one body.
pub(crate) fn body(api: Api, said: &Said) -> Value {
    match api {
        Api::Chat | Api::LlamaChat => chat::reply::body(said),
        Api::Responses => responses::reply::body(said),
        Api::Messages => anthropic::reply::body(said),
        Api::Generate => gemini::reply::body(said),
    }
}

/// The reply as the pieces of a stream.
pub(crate) fn events(api: Api, stream: Streaming, said: &Said) -> Vec<Bytes> {
    match api {
        Api::Chat | Api::LlamaChat => chat::stream::events(stream, said),
        Api::Responses => responses::stream::events(said),
        Api::Messages => anthropic::stream::events(said),
        Api::Generate => gemini::stream::events(stream, said),
    }
}

/// The first pieces of a stream, up to the share `after`, then the provider's error event.
pub(crate) fn interrupt(
    api: Api,
    stream: Streaming,
    mut events: Vec<Bytes>,
    after: f64,
    id: &str,
) -> Vec<Bytes> {
    // In thousandths, to avoid converting a float to an index. The last two pieces end
    // the reply.
    let share = (0..1000_u32).filter(|step| f64::from(*step) < after * 1000.0).count();
    let kept = (events.len() * share / 1000).min(events.len().saturating_sub(2)).max(1);
    events.truncate(kept);
    let problem = faults::overloaded(api.provider());
    let body = problem_body(api, Streaming::No, &problem, id);
    events.push(match api {
        Api::Chat | Api::LlamaChat => sse::data(&body),
        Api::Responses => responses::stream::error(&problem, events.len()),
        Api::Messages => sse::named("error", &body),
        Api::Generate => gemini::stream::error(stream, &body),
    });
    events
}

/// An error in the shape of `api`. Gemini wraps it on a stream that is one array.
pub(crate) fn problem_body(api: Api, stream: Streaming, problem: &Problem, id: &str) -> Value {
    let body = problem.body(api.provider(), &headers::request_id(api.provider(), id));
    if stream == Streaming::Array { Value::Array(vec![body]) } else { body }
}

/// Whether the request has the media type of JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"))
}

/// A key that contains a mark of being bad; no provider accepts it.
pub(crate) fn is_bad_key(key: &str) -> bool {
    key.contains("invalid") || key.contains("revoked")
}
