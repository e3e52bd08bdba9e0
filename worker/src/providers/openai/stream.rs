//! Assembles Chat Completions chunks into the completion they are parts of.

use serde_json::{Value, json};

use super::reply::{refusal_of, text_of};
use crate::json::joined;
use crate::providers::ProviderError;
use crate::providers::content::word;
use crate::providers::http::Assemble;
use crate::providers::reading::{Piece, is_whole, piece};
use crate::providers::sse::Event;

/// What has come so far.
#[derive(Debug, Default)]
pub struct Assembler {
    id: Value,
    model: Value,
    content: String,
    refusal: String,
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
        for (kept, field) in
            [(&mut self.id, "id"), (&mut self.model, "model"), (&mut self.usage, "usage")]
        {
            if let Some(value) = chunk.get_mut(field).filter(|value| !value.is_null()) {
                *kept = value.take();
            }
        }
        let choice = &chunk["choices"][0];
        self.content.push_str(&text_of(choice));
        self.refusal.push_str(&refusal_of(choice));
        if !word(&choice["finish_reason"]).is_empty() {
            self.finish = choice["finish_reason"].clone();
        }
        Ok(false)
    }

    fn has_stopped(&self) -> bool {
        !self.finish.is_null()
    }

    fn is_whole(&self) -> bool {
        !self.refusal.is_empty() || is_whole(&self.content, &word(&self.finish))
    }

    fn finish(self: Box<Self>) -> Value {
        let refusal = Some(self.refusal).filter(|refusal| !refusal.is_empty());
        json!({
            "id": self.id,
            "object": "chat.completion",
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": joined(&self.content),
                    "refusal": refusal,
                },
                "finish_reason": self.finish,
            }],
            "usage": self.usage,
        })
    }
}
