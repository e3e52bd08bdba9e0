//! Assembles Gemini's chunks, each a whole response, into one response.

use serde_json::{Map, Value, json};

use crate::json::joined;
use crate::providers::ProviderError;
use crate::providers::content::{text_in, word};
use crate::providers::http::Assemble;
use crate::providers::reading::{Piece, is_whole, piece};
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
        let chunk = match piece(event)? {
            Piece::End => return Ok(true),
            Piece::Nothing => return Ok(false),
            // Some proxies send each chunk as a list of one.
            Piece::Part(Value::Array(mut list)) if list.len() == 1 => list.remove(0),
            Piece::Part(chunk) => chunk,
        };
        let candidate = &chunk["candidates"][0];
        self.text.push_str(&text_in(&candidate["content"]["parts"]));
        if !word(&candidate["finishReason"]).is_empty() {
            self.finish = candidate["finishReason"].clone();
        }
        let blocked = !chunk["promptFeedback"]["blockReason"].is_null();
        if let Value::Object(chunk) = chunk {
            self.rest.extend(chunk.into_iter().filter(|(_, value)| !value.is_null()));
        }
        // A reason to stop may stand in every chunk: the stream's end is the end.
        Ok(blocked)
    }

    fn has_stopped(&self) -> bool {
        !self.finish.is_null()
    }

    fn is_whole(&self) -> bool {
        is_whole(&self.text, &word(&self.finish))
    }

    fn finish(self: Box<Self>) -> Value {
        let mut response = self.rest;
        if self.finish.is_null() && self.text.is_empty() {
            response.remove("candidates");
        } else {
            let candidate = json!({
                "content": { "role": "model", "parts": [{ "text": joined(&self.text) }] },
                "finishReason": self.finish,
            });
            response.insert("candidates".to_owned(), json!([candidate]));
        }
        Value::Object(response)
    }
}
