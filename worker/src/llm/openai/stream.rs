//! Assembles Chat Completions chunks into the completion they are parts of.

use serde_json::{Value, json};

use super::reply::{elsewhere_of, misplaced, refusal_of, text_of, usage_in};
use crate::json::joined;
use crate::llm::ProviderError;
use crate::llm::content::{merge, reason};
use crate::llm::http::Assemble;
use crate::llm::reading::{Piece, is_said, is_whole, piece};
use crate::llm::sse::Event;

/// The chunks so far.
#[derive(Debug, Default)]
pub struct Assembler {
    id: Value,
    model: Value,
    content: String,
    refusal: String,
    /// Fields beside the text; kept only if the answer is there.
    elsewhere: [String; 2],
    finish: Value,
    usage: Value,
}

impl Assemble for Assembler {
    fn push(&mut self, event: &Event) -> Result<bool, ProviderError> {
        let mut chunk = match piece(event)? {
            Piece::End => return Ok(true),
            Piece::Nothing => return Ok(false),
            Piece::Part(chunk) => chunk,
        };
        merge(&mut self.usage, usage_in(&chunk).clone());
        for (kept, field) in [(&mut self.id, "id"), (&mut self.model, "model")] {
            if let Some(value) = chunk.get_mut(field).filter(|value| !value.is_null()) {
                *kept = value.take();
            }
        }
        let choice = &chunk["choices"][0];
        self.content.push_str(&text_of(choice));
        self.refusal.push_str(&refusal_of(choice));
        for (kept, piece) in self.elsewhere.iter_mut().zip(elsewhere_of(choice)) {
            kept.push_str(&piece);
        }
        let reason = reason(&choice["finish_reason"]);
        if !reason.is_empty() {
            self.finish = Value::String(reason);
        }
        Ok(false)
    }

    fn has_stopped(&self) -> bool {
        !self.finish.is_null()
    }

    fn is_whole(&self) -> bool {
        !self.refusal.is_empty() || is_whole(self.answer(), self.reason())
    }

    fn is_said(&self) -> bool {
        self.refusal.is_empty() && is_said(self.answer(), self.reason())
    }

    fn finish(self: Box<Self>) -> Value {
        let answer = joined(self.answer());
        let refusal = Some(&self.refusal).filter(|refusal| !refusal.is_empty());
        json!({
            "id": self.id,
            "object": "chat.completion",
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": answer,
                    "refusal": refusal,
                },
                "finish_reason": self.finish,
            }],
            "usage": self.usage,
        })
    }
}

impl Assembler {
    fn answer(&self) -> &str {
        misplaced(&self.content, &self.elsewhere).unwrap_or(&self.content)
    }

    fn reason(&self) -> &str {
        self.finish.as_str().unwrap_or_default()
    }
}
