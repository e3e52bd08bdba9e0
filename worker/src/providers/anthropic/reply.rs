//! Reads a Messages reply. Text is picked by block type: thinking may come first.

use serde::Deserialize;

use crate::providers::{ProviderError, ProviderName, RawReply, Reply, Usage, json_text};

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: String,
    #[serde(default)]
    content: Vec<Block>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    stop_details: Option<StopDetails>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct StopDetails {
    #[serde(default)]
    category: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireUsage {
    input_tokens: u64,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: u64,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl WireUsage {
    /// `input_tokens` leaves the cache out; our `input` is the whole prompt.
    fn usage(&self) -> Usage {
        let cached = self.cache_read_input_tokens.unwrap_or_default();
        let cache_write = self.cache_creation_input_tokens.unwrap_or_default();
        let thinking =
            self.output_tokens_details.as_ref().and_then(|details| details.thinking_tokens);
        Usage {
            input: self.input_tokens.saturating_add(cached).saturating_add(cache_write),
            cached,
            cache_write,
            output: self.output_tokens,
            reasoning: thinking.unwrap_or_default(),
        }
    }
}

/// The reply in `raw`.
///
/// # Errors
/// As [`crate::providers::interpret`].
pub fn interpret(raw: &RawReply) -> Result<Reply, ProviderError> {
    let message: Message = serde_json::from_str(&raw.body)
        .map_err(|error| ProviderError::Cut { detail: format!("not a message: {error}") })?;
    let usage = message.usage.unwrap_or_default().usage();
    let finish = message.stop_reason.unwrap_or_default();
    match finish.as_str() {
        "refusal" => {
            let category = message.stop_details.and_then(|details| details.category);
            let reason = category.unwrap_or(finish);
            return Err(ProviderError::Refused { reason, usage });
        }
        "max_tokens" | "model_context_window_exceeded" => {
            return Err(ProviderError::Truncated { usage });
        }
        _ => {}
    }
    let texts = message.content.iter().filter(|block| block.kind == "text");
    let text: String = texts.map(|block| block.text.as_str()).collect();
    let text = json_text(&text, &finish, usage)?;
    Ok(Reply {
        provider: ProviderName::Anthropic,
        model: message.model,
        text,
        finish,
        usage,
        request_id: raw.request_id.clone().or(message.id),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(content: Value, stop_reason: &str) -> Result<Reply, ProviderError> {
        let body = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-5-5",
            "content": content, "stop_reason": stop_reason, "stop_sequence": null,
            "stop_details": { "category": "bio" },
            "usage": {
                "input_tokens": 150, "cache_creation_input_tokens": 50,
                "cache_read_input_tokens": 1000, "output_tokens": 900,
                "output_tokens_details": { "thinking_tokens": 300 }
            }
        });
        interpret(&RawReply { status: 200, body: body.to_string(), request_id: None })
    }

    const USAGE: Usage =
        Usage { input: 1200, cached: 1000, cache_write: 50, output: 900, reasoning: 300 };

    #[test]
    fn text_is_picked_by_type_and_the_prompt_counts_whole() {
        let content = json!([
            { "type": "thinking", "thinking": "{\"not\":1}", "signature": "s" },
            { "type": "text", "text": "{\"a\":" },
            { "type": "invented" },
            { "type": "text", "text": "1}" },
        ]);
        let reply = read(content, "end_turn").unwrap();
        assert_eq!(reply.text, "{\"a\":1}");
        assert_eq!(reply.usage, USAGE);
        assert_eq!(reply.request_id.as_deref(), Some("msg_1"));
    }

    #[test]
    fn refused_truncated_empty_and_malformed_are_told_apart() {
        let text = |text: &str| json!([{ "type": "text", "text": text }]);
        let class = |content: Value, stop: &str| read(content, stop).unwrap_err().class();
        assert_eq!(class(text("{}"), "refusal"), "refused");
        assert_eq!(class(text("{\"a\":"), "max_tokens"), "truncated");
        assert_eq!(class(text("{\"a\":"), "model_context_window_exceeded"), "truncated");
        assert_eq!(class(json!([{ "type": "thinking" }]), "end_turn"), "empty");
        assert_eq!(class(text("I would rather"), "end_turn"), "invalid");
        let refused = read(text(""), "refusal").unwrap_err();
        assert_eq!(refused, ProviderError::Refused { reason: "bio".to_owned(), usage: USAGE });
    }
}
