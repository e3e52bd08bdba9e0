//! Assembles Gemini's chunks, each a whole response, into one response.

use serde_json::{Map, Value, json};

use super::failure;
use crate::providers::ProviderError;
use crate::providers::http::Assemble;
use crate::providers::sse::Event;

/// What has come so far.
#[derive(Debug, Default)]
pub struct Assembler {
    text: String,
    finish: Value,
    /// Everything beside the candidates; the latest value counts.
    rest: Map<String, Value>,
}

impl Assemble for Assembler {
    fn push(&mut self, event: &Event) -> Result<bool, ProviderError> {
        let chunk: Value = serde_json::from_str(&event.data).map_err(|_| ProviderError::Cut {
            detail: "an event of the stream is not JSON".to_owned(),
        })?;
        if chunk["error"].is_object() {
            return Err(failure::in_stream(&chunk));
        }
        let candidate = &chunk["candidates"][0];
        let parts = candidate["content"]["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        for part in parts.iter().filter(|part| part["thought"] != json!(true)) {
            self.text.push_str(part["text"].as_str().unwrap_or_default());
        }
        if !candidate["finishReason"].is_null() {
            self.finish = candidate["finishReason"].clone();
        }
        let blocked = !chunk["promptFeedback"]["blockReason"].is_null();
        if let Value::Object(chunk) = chunk {
            self.rest.extend(chunk.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Ok(blocked || !self.finish.is_null())
    }

    fn finish(self: Box<Self>) -> Value {
        let mut response = self.rest;
        if self.finish.is_null() {
            response.remove("candidates");
        } else {
            let candidate = json!({
                "content": { "role": "model", "parts": [{ "text": self.text }] },
                "finishReason": self.finish,
            });
            response.insert("candidates".to_owned(), json!([candidate]));
        }
        Value::Object(response)
    }
}
