//! Anthropic's Messages API, version 2026-10-21 (which rejects sampling
//! parameters; we send none to anybody).

pub mod reply;
pub mod stream;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::feature::{Feature, Names};
use super::http::{Assemble, Outgoing, Transport, Wire};
use super::schema::Subset;
use super::{GenerateRequest, PreparedCall, Provider, ProviderName, Reasoning};

/// The features that hosts of this format may refuse, and their names.
const FEATURES: Names = &[
    (Feature::Reasoning, &["effort", "output_config.effort"]),
    (Feature::Schema, &["output_config", "format", "json_schema", "schema", "structured outputs"]),
    (Feature::UserHash, &["metadata", "user_id"]),
    (Feature::Stream, &["stream", "streaming"]),
];

/// The API version of every request.
pub const VERSION: &str = "2026-10-21";

/// Calls the Messages endpoint.
#[derive(Debug, Clone)]
pub struct Messages {
    endpoint: Url,
    key: SecretString,
    transport: Transport,
}

impl Messages {
    /// An adapter for the service under `base` (without the version path, such
    /// as `https://api.anthropic.com`).
    pub fn new(base: &Url, key: SecretString, transport: Transport) -> Self {
        Self { endpoint: super::config::below(base, &["v1", "messages"]), key, transport }
    }

    /// The JSON body for `request`; public for the comparison with the official SDK.
    pub fn body(request: &GenerateRequest) -> Value {
        let prompt = request.prompt.read();
        let mut messages = vec![json!({ "role": "user", "content": prompt.user })];
        if let Some(correction) = &request.correction {
            messages.push(json!({ "role": "assistant", "content": correction.previous }));
            messages.push(json!({ "role": "user", "content": correction.instruction }));
        }
        let without = |feature| request.without.has(feature);
        let mut body = json!({
            "model": request.model,
            "max_tokens": request.max_output_tokens,
            "system": request.system(&prompt, Subset::Anthropic),
        });
        body["messages"] = Value::Array(messages);
        if !without(Feature::Schema) {
            let schema = prompt.schema.of(Subset::Anthropic).clone();
            body["output_config"]["format"] = json!({ "type": "json_schema" });
            body["output_config"]["format"]["schema"] = schema;
        }
        if let Reasoning::Effort(effort) = &request.reasoning
            && !without(Feature::Reasoning)
        {
            body["output_config"]["effort"] = json!(effort);
        }
        if !without(Feature::UserHash) {
            body["metadata"] = json!({ "user_id": prompt.user_hash });
        }
        if !without(Feature::Stream) {
            body["stream"] = json!(true);
        }
        body
    }
}

impl Provider for Messages {
    fn name(&self) -> ProviderName {
        ProviderName::Anthropic
    }

    fn prepare<'a>(&'a self, request: &'a GenerateRequest) -> PreparedCall<'a> {
        let version = HeaderName::from_static("anthropic-version");
        let outgoing = Outgoing {
            url: self.endpoint.clone(),
            headers: HeaderMap::from_iter([(version, HeaderValue::from_static(VERSION))]),
            key: (HeaderName::from_static("x-api-key"), "", self.key.clone()),
            body: Self::body(request).to_string(),
        };
        Box::new(|timeouts| Box::pin(self.transport.post(outgoing, timeouts, self)))
    }
}

impl Wire for Messages {
    fn request_id_header(&self) -> &'static str {
        "request-id"
    }

    fn features(&self) -> Names {
        FEATURES
    }

    fn assembler(&self) -> Box<dyn Assemble> {
        Box::new(stream::Assembler::default())
    }
}
