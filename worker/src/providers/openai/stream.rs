//! Assembles Chat Completions chunks into the completion they are parts of.

use serde_json::{Value, json};

use super::failure;
use crate::providers::ProviderError;
use crate::providers::http::Assemble;
use crate::providers::sse::Event;

/// What has come so far.
#[derive(Debug, Default)]
pub struct Assembler {
    id: Value,
    model: Value,
    content: String,
    refusal: Option<String>,
    finish: Value,
    usage: Value,
}

impl Assemble for Assembler {
    fn push(&mut self, event: &Event) -> Result<bool, ProviderError> {
        if event.data == "[DONE]" {
            return Ok(true);
        }
        let mut chunk: Value = serde_json::from_str(&event.data).map_err(|_| {
            ProviderError::Cut { detail: "an event of the stream is not JSON".to_owned() }
        })?;
        if chunk["error"].is_object() {
            return Err(failure::in_stream(&chunk));
        }
        for (kept, field) in
            [(&mut self.id, "id"), (&mut self.model, "model"), (&mut self.usage, "usage")]
        {
            if let Some(value) = chunk.get_mut(field).filter(|value| !value.is_null()) {
                *kept = value.take();
            }
        }
        let choice = &chunk["choices"][0];
        if let Some(text) = choice["delta"]["content"].as_str() {
            self.content.push_str(text);
        }
        if let Some(text) = choice["delta"]["refusal"].as_str() {
            self.refusal.get_or_insert_default().push_str(text);
        }
        if !choice["finish_reason"].is_null() {
            self.finish = choice["finish_reason"].clone();
        }
        Ok(false)
    }

    fn finish(self: Box<Self>) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": self.content,
                    "refusal": self.refusal,
                },
                "finish_reason": self.finish,
            }],
            "usage": self.usage,
        })
    }
}
