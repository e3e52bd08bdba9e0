//! Assembles Gemini's chunks, each a whole response, into one response.

use serde_json::{Map, Value, json};

use super::reply::{BLOCKED_BY_NOTHING, text_of};
use crate::json::joined;
use crate::llm::ProviderError;
use crate::llm::content::{is_there, merge, reason};
use crate::llm::http::Assemble;
use crate::llm::reading::{Piece, is_said, is_whole, piece};
use crate::llm::sse::Event;

/// The chunks so far.
#[derive(Debug, Default)]
pub struct Assembler {
    text: String,
    finish: Value,
    /// All fields beside the candidates; the latest value counts.
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
        self.text.push_str(&text_of(candidate));
        let finish = reason(&candidate["finishReason"]);
        if !finish.is_empty() {
            self.finish = Value::String(finish);
        }
        let block = &chunk["promptFeedback"]["blockReason"];
        let blocked = is_there(block) && *block != BLOCKED_BY_NOTHING;
        if let Value::Object(chunk) = chunk {
            for (name, value) in chunk {
                merge(self.rest.entry(name).or_insert(Value::Null), value);
            }
        }
        // Every chunk may have a finish reason: only the end of the stream ends it.
        Ok(blocked)
    }

    fn has_stopped(&self) -> bool {
        !self.finish.is_null()
    }

    fn is_whole(&self) -> bool {
        is_whole(&self.text, self.finish.as_str().unwrap_or_default())
    }

    fn is_said(&self) -> bool {
        is_said(&self.text, self.finish.as_str().unwrap_or_default())
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
