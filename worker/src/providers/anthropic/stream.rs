//! Assembles Anthropic's typed events into the message they describe.

use serde_json::{Map, Value, json};

use super::failure;
use crate::providers::ProviderError;
use crate::providers::http::Assemble;
use crate::providers::sse::Event;

/// A bound on content blocks; a plan is one, thinking adds a few.
const MOST_BLOCKS: usize = 256;

/// What has come so far.
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
        let mut data: Value = serde_json::from_str(&event.data).map_err(|_| {
            ProviderError::Cut { detail: "an event of the stream is not JSON".to_owned() }
        })?;
        match data["type"].as_str().unwrap_or_default() {
            "message_start" => {
                if let Value::Object(message) = data["message"].take() {
                    self.message = message;
                }
            }
            "content_block_start" => {
                let block = &data["content_block"];
                let text = block["text"].as_str().unwrap_or_default().to_owned();
                let kind = block["type"].as_str().unwrap_or_default().to_owned();
                *self.block(&data)? = Block { kind, text };
            }
            "content_block_delta" => {
                if let Some(text) = data["delta"]["text"].as_str() {
                    let text = text.to_owned();
                    self.block(&data)?.text.push_str(&text);
                }
            }
            "message_delta" => self.finish_message(data),
            "message_stop" => return Ok(true),
            "error" => return Err(failure::in_stream(&data)),
            // ping, content_block_stop, and what is yet to be invented.
            _ => {}
        }
        Ok(false)
    }

    fn finish(self: Box<Self>) -> Value {
        let mut message = self.message;
        let content = self.content.into_iter().map(|block| {
            // Thinking is not kept: nobody reads it, and it may be long.
            match block.kind.as_str() {
                "text" => json!({ "type": "text", "text": block.text }),
                kind => json!({ "type": kind }),
            }
        });
        message.insert("content".to_owned(), content.collect());
        Value::Object(message)
    }
}

impl Assembler {
    fn block(&mut self, data: &Value) -> Result<&mut Block, ProviderError> {
        let index = data["index"].as_u64().and_then(|index| usize::try_from(index).ok());
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
            self.message.extend(delta);
        }
        let usage = self.message.entry("usage").or_insert_with(|| json!({}));
        if let (Value::Object(usage), Value::Object(latest)) = (usage, data["usage"].take()) {
            usage.extend(latest.into_iter().filter(|(_, value)| !value.is_null()));
        }
    }
}
