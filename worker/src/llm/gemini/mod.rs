//! Google Gemini's generateContent, in its streaming form.

pub mod reply;
pub mod stream;

use http::{HeaderMap, HeaderName};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::feature::{Feature, Names};
use super::http::{Assemble, Outgoing, Transport, Wire};
use super::schema::Subset;
use super::{GenerateRequest, PreparedCall, Provider, ProviderName, Reasoning};

/// The features that hosts of this format may refuse, and their names.
const FEATURES: Names = &[
    (
        Feature::Schema,
        &[
            "responsejsonschema",
            "response_json_schema",
            "responseschema",
            "response_schema",
            "schema",
        ],
    ),
    (
        Feature::JsonMode,
        &["responsemimetype", "response_mime_type", "json mode", "response mime type"],
    ),
    (
        Feature::Reasoning,
        &[
            "thinkingconfig",
            "thinking_config",
            "thinkinglevel",
            "thinking_level",
            "thinking level",
            "thinkingbudget",
            "thinking_budget",
            "thinking budget",
            "thinking",
        ],
    ),
];

/// Calls the streamGenerateContent endpoint of a model.
#[derive(Debug, Clone)]
pub struct GenerateContent {
    base: Url,
    key: SecretString,
    transport: Transport,
}

impl GenerateContent {
    /// An adapter for the service under `base` (without the version path, such
    /// as `https://generativelanguage.googleapis.com`).
    pub fn new(base: &Url, key: SecretString, transport: Transport) -> Self {
        Self { base: base.clone(), key, transport }
    }

    /// The JSON body for `request`; public for the comparison with the official SDK.
    pub fn body(request: &GenerateRequest) -> Value {
        let prompt = request.prompt.read();
        let mut contents = vec![turn("user", &prompt.user)];
        if let Some(correction) = &request.correction {
            contents.push(turn("model", &correction.previous));
            contents.push(turn("user", &correction.instruction));
        }
        let without = |feature| request.without.has(feature);
        let mut generation = json!({ "maxOutputTokens": request.max_output_tokens });
        if !without(Feature::JsonMode) {
            generation["responseMimeType"] = json!("application/json");
        }
        // The schema requires the JSON type.
        if !without(Feature::Schema) && !without(Feature::JsonMode) {
            generation["responseJsonSchema"] = prompt.schema.of(Subset::Gemini).clone();
        }
        match &request.reasoning {
            Reasoning::Unset => {}
            _ if without(Feature::Reasoning) => {}
            Reasoning::Effort(level) => {
                generation["thinkingConfig"] = json!({ "thinkingLevel": level.to_uppercase() });
            }
            Reasoning::Budget(tokens) => {
                generation["thinkingConfig"] = json!({ "thinkingBudget": tokens });
            }
        }
        let mut body = json!({
            "systemInstruction": { "parts": [{ "text": request.system(&prompt, Subset::Gemini) }] },
        });
        body["contents"] = Value::Array(contents);
        body["generationConfig"] = generation;
        body
    }
}

fn method(model: &str) -> String {
    format!("{model}:streamGenerateContent")
}

fn turn(role: &str, text: &str) -> Value {
    json!({ "role": role, "parts": [{ "text": text }] })
}

impl Provider for GenerateContent {
    fn name(&self) -> ProviderName {
        ProviderName::Gemini
    }

    fn prepare<'a>(&'a self, request: &'a GenerateRequest) -> PreparedCall<'a> {
        let mut url = super::config::below(&self.base, &["v1", "models", &method(&request.model)]);
        url.set_query(Some("alt=sse"));
        let outgoing = Outgoing {
            url,
            headers: HeaderMap::new(),
            key: (HeaderName::from_static("x-goog-api-key"), "", self.key.clone()),
            body: Self::body(request).to_string(),
        };
        Box::new(|timeouts| Box::pin(self.transport.post(outgoing, timeouts, self)))
    }
}

impl Wire for GenerateContent {
    /// Gemini's id is in the body (`responseId`); this header is only a trace id.
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
