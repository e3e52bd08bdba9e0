//! OpenAI's Chat Completions, and the hosts that speak the same format (the
//! "llama" slot). The two differ in a few fields, kept apart by [`Dialect`].

pub mod failure;
pub mod reply;
pub mod stream;

use http::{HeaderMap, header};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use super::http::{Assemble, Failure, Outgoing, Transport, Wire};
use super::schema::Subset;
use super::{GenerateRequest, PreparedCall, Provider, ProviderError, ProviderName, Reasoning};

/// Which service is behind the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI itself: `developer` role, privacy fields.
    Openai,
    /// Any other host: only the fields everybody knows.
    Compatible,
}

/// Asks a Chat Completions endpoint.
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
        let endpoint = super::settings::below(base, &["chat", "completions"]);
        Self { dialect, endpoint, key, transport }
    }

    /// The JSON body for `request`; public for the comparison with the official SDK.
    pub fn body(dialect: Dialect, request: &GenerateRequest) -> Value {
        let prompt = &request.prompt;
        let mut body = json!({
            "model": request.model,
            "messages": messages(dialect, request),
            "max_completion_tokens": request.max_output_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": prompt.schema_name,
                    "strict": true,
                    "schema": prompt.schema.of(Subset::Openai),
                },
            },
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let Some(fields) = body.as_object_mut() else { return body };
        if let Reasoning::Effort(effort) = &request.reasoning {
            fields.insert("reasoning_effort".to_owned(), json!(effort));
        }
        match dialect {
            Dialect::Openai => privacy(fields, &prompt.user_hash),
            Dialect::Compatible => {}
        }
        body
    }
}

fn messages(dialect: Dialect, request: &GenerateRequest) -> Vec<Value> {
    let system = match dialect {
        Dialect::Openai => "developer",
        Dialect::Compatible => "system",
    };
    let mut messages = vec![
        json!({ "role": system, "content": request.prompt.system }),
        json!({ "role": "user", "content": request.prompt.user }),
    ];
    if let Some(correction) = &request.correction {
        messages.push(json!({ "role": "assistant", "content": correction.previous }));
        messages.push(json!({ "role": "user", "content": correction.instruction }));
    }
    messages
}

/// Health data is not to be kept, and a user is known by a hash only.
fn privacy(fields: &mut Map<String, Value>, user_hash: &str) {
    fields.insert("store".to_owned(), json!(false));
    fields.insert("safety_identifier".to_owned(), json!(user_hash));
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

    fn classify(&self, failure: &Failure) -> ProviderError {
        failure::classify(failure)
    }

    fn assembler(&self) -> Box<dyn Assemble> {
        Box::new(stream::Assembler::default())
    }
}
