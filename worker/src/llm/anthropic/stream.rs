//! Assembles Anthropic's typed events into the message they describe.

use serde_json::{Map, Value, json};

use crate::json::joined;
use crate::llm::ProviderError;
use crate::llm::content::{count, merge, reason, text_in, word};
use crate::llm::http::Assemble;
use crate::llm::reading::{Piece, is_said, is_whole, piece};
use crate::llm::sse::Event;

/// A bound on content blocks; a plan is one, thinking adds a few.
const MOST_BLOCKS: usize = 256;

/// The events so far.
#[derive(Debug, Default)]
pub struct Assembler {
    message: Map<String, Value>,
    content: Vec<Block>,
}

/// One content block; deltas of its kind are appended to `text`.
#[derive(Debug, Default)]
struct Block {
    kind: String,
    text: String,
}

impl Assemble for Assembler {
    fn push(&mut self, event: &Event) -> Result<bool, ProviderError> {
        let mut data = match piece(event)? {
            Piece::End => return Ok(true),
            Piece::Nothing => return Ok(false),
            Piece::Part(data) => data,
        };
        // The name of the event says the same.
        match data["type"].as_str().unwrap_or(&event.name) {
            "message_start" => {
                if let Value::Object(message) = data["message"].take() {
                    self.message = message;
                }
            }
            "content_block_start" => {
                let block = &data["content_block"];
                let text = text_in(&block["text"]);
                let kind = word(&block["type"]);
                *self.block(&data)? = Block { kind, text };
            }
            "content_block_delta" => {
                let text = text_in(&data["delta"]["text"]);
                if !text.is_empty() {
                    let block = self.block(&data)?;
                    // A block without a start event holds text if its deltas do.
                    if block.kind.is_empty() {
                        block.kind = "text".to_owned();
                    }
                    block.text.push_str(&text);
                }
            }
            "message_delta" => self.finish_message(data),
            "message_stop" => return Ok(true),
            // ping, content_block_stop, and unknown events.
            _ => {}
        }
        Ok(false)
    }

    fn has_stopped(&self) -> bool {
        !self.reason().is_empty()
    }

    fn is_whole(&self) -> bool {
        is_whole(&self.text(), &self.reason())
    }

    fn is_said(&self) -> bool {
        is_said(&self.text(), &self.reason())
    }

    fn finish(self: Box<Self>) -> Value {
        let mut message = self.message;
        let content = self.content.into_iter().map(|block| {
            // Thinking is not kept: it is not used, and it may be long.
            match block.kind.as_str() {
                "text" => json!({ "type": "text", "text": joined(&block.text) }),
                kind => json!({ "type": kind }),
            }
        });
        message.insert("content".to_owned(), content.collect());
        Value::Object(message)
    }
}

impl Assembler {
    fn text(&self) -> String {
        let texts = self.content.iter().filter(|block| block.kind == "text");
        texts.map(|block| block.text.as_str()).collect()
    }

    fn reason(&self) -> String {
        self.message.get("stop_reason").map(reason).unwrap_or_default()
    }

    fn block(&mut self, data: &Value) -> Result<&mut Block, ProviderError> {
        let index = usize::try_from(count(&data["index"])).ok();
        let index = index.filter(|index| *index < MOST_BLOCKS).ok_or_else(|| {
            ProviderError::Cut { detail: "a content block has no usable index".to_owned() }
        })?;
        if self.content.len() <= index {
            self.content.resize_with(index + 1, Block::default);
        }
        self.content
            .get_mut(index)
            .ok_or_else(|| ProviderError::Cut { detail: "a content block is missing".to_owned() })
    }

    /// Takes the stop reason and the final, cumulative usage.
    fn finish_message(&mut self, mut data: Value) {
        if let Value::Object(delta) = data["delta"].take() {
            self.message.extend(delta.into_iter().filter(|(_, value)| !value.is_null()));
        }
        merge(self.message.entry("usage").or_insert(Value::Null), data["usage"].take());
    }
}
