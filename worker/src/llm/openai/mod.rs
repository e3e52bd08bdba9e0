//! OpenAI's Chat Completions, and the hosts that speak the same format (the
//! "llama" slot). The two differ in a few fields, kept apart by [`Dialect`].

pub mod reply;
pub mod stream;

use http::{HeaderMap, header};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use super::feature::{Feature, Names};
use super::http::{Assemble, Outgoing, Transport, Wire};
use super::schema::Subset;
use super::{GenerateRequest, PreparedCall, Prompt, Provider, ProviderName, Reasoning};

/// The features that hosts of this format may refuse, and their names.
const FEATURES: Names = &[
    (Feature::CapName, &["max_completion_tokens", "max_tokens"]),
    (
        Feature::Schema,
        &[
            "json_schema",
            "response_format",
            "structured output",
            "structured outputs",
            "structured_outputs",
            "guided",
            "guided decoding",
            "grammar",
            "schema",
            "strict",
        ],
    ),
    (Feature::JsonMode, &["json_object", "response_format", "json mode", "json_mode"]),
    (Feature::StreamOptions, &["stream_options", "include_usage", "include_obfuscation"]),
    (Feature::Reasoning, &["reasoning_effort", "reasoning effort", "reasoning"]),
    (Feature::Storage, &["store"]),
    (Feature::UserHash, &["safety_identifier"]),
    (Feature::DeveloperRole, &["developer", "role", "roles"]),
    (Feature::Stream, &["stream", "streaming"]),
];

/// The service behind the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI itself: `developer` role, privacy fields.
    Openai,
    /// Any other host: only widely supported fields.
    Compatible,
}

/// Calls a Chat Completions endpoint.
#[derive(Debug, Clone)]
pub struct ChatCompletions {
    dialect: Dialect,
    endpoint: Url,
    key: SecretString,
    transport: Transport,
}

impl ChatCompletions {
    /// An adapter for the service under `base` (with its version path, such as
    /// `https://api.openai.com/v1`).
    pub fn new(dialect: Dialect, base: &Url, key: SecretString, transport: Transport) -> Self {
        let endpoint = super::config::below(base, &["chat", "completions"]);
        Self { dialect, endpoint, key, transport }
    }

    /// The JSON body for `request`; public for the comparison with the official SDK.
    pub fn body(dialect: Dialect, request: &GenerateRequest) -> Value {
        let prompt = request.prompt.read();
        let without = |feature| request.without.has(feature);
        // Moved into their places: `json!` would build what it is given once more.
        let mut body = json!({ "model": request.model });
        body["messages"] = Value::Array(messages(dialect, request, &prompt));
        let Some(fields) = body.as_object_mut() else { return body };
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        let cap = if without(Feature::CapName) { "max_tokens" } else { "max_completion_tokens" };
        set(cap, json!(request.max_output_tokens));
        if !without(Feature::Schema) {
            let mut format = json!({
                "type": "json_schema",
                "json_schema": { "name": prompt.schema_name, "strict": true },
            });
            format["json_schema"]["schema"] = prompt.schema.of(Subset::Openai).clone();
            set("response_format", format);
        } else if !without(Feature::JsonMode) {
            set("response_format", json!({ "type": "json_object" }));
        }
        if !without(Feature::Stream) {
            set("stream", json!(true));
            if !without(Feature::StreamOptions) {
                set("stream_options", json!({ "include_usage": true }));
            }
        }
        if let Reasoning::Effort(effort) = &request.reasoning
            && !without(Feature::Reasoning)
        {
            set("reasoning_effort", json!(effort));
        }
        match dialect {
            Dialect::Openai => privacy(fields, request, &prompt),
            Dialect::Compatible => {}
        }
        body
    }
}

fn messages(dialect: Dialect, request: &GenerateRequest, prompt: &Prompt) -> Vec<Value> {
    let system = match dialect {
        Dialect::Openai if !request.without.has(Feature::DeveloperRole) => "developer",
        Dialect::Openai | Dialect::Compatible => "system",
    };
    let mut messages = vec![
        json!({ "role": system, "content": request.system(prompt, Subset::Openai) }),
        json!({ "role": "user", "content": prompt.user }),
    ];
    if let Some(correction) = &request.correction {
        messages.push(json!({ "role": "assistant", "content": correction.previous }));
        messages.push(json!({ "role": "user", "content": correction.instruction }));
    }
    messages
}

/// Health data must not be stored, and a user is identified by a hash only.
fn privacy(fields: &mut Map<String, Value>, request: &GenerateRequest, prompt: &Prompt) {
    if !request.without.has(Feature::Storage) {
        fields.insert("store".to_owned(), json!(false));
    }
    if !request.without.has(Feature::UserHash) {
        fields.insert("safety_identifier".to_owned(), json!(prompt.user_hash));
    }
    if let Some(options) = fields.get_mut("stream_options").and_then(Value::as_object_mut) {
        options.insert("include_obfuscation".to_owned(), json!(false));
    }
}

impl Provider for ChatCompletions {
    fn name(&self) -> ProviderName {
        match self.dialect {
            Dialect::Openai => ProviderName::Openai,
            Dialect::Compatible => ProviderName::Llama,
        }
    }

    fn prepare<'a>(&'a self, request: &'a GenerateRequest) -> PreparedCall<'a> {
        let outgoing = Outgoing {
            url: self.endpoint.clone(),
            headers: HeaderMap::new(),
            key: (header::AUTHORIZATION, "Bearer ", self.key.clone()),
            body: Self::body(self.dialect, request).to_string(),
        };
        Box::new(|timeouts| Box::pin(self.transport.post(outgoing, timeouts, self)))
    }
}

impl Wire for ChatCompletions {
    fn request_id_header(&self) -> &'static str {
        "x-request-id"
    }

    fn features(&self) -> Names {
        FEATURES
    }

    fn assembler(&self) -> Box<dyn Assemble> {
        Box::new(stream::Assembler::default())
    }
}
