//! Reads a Messages reply. Text is picked by block type: thinking may come first.

use serde_json::Value;

use crate::llm::content::{count, reason, text_in, word};
use crate::llm::reading::{Spoken, document, verdict};
use crate::llm::{ProviderError, ProviderName, RawReply, Reply, TokenUsage};

/// `input_tokens` excludes the cache; our `input` is the whole prompt.
fn usage(usage: &Value) -> TokenUsage {
    let cached = count(&usage["cache_read_input_tokens"]);
    let cache_write = count(&usage["cache_creation_input_tokens"]);
    let fresh = count(&usage["input_tokens"]);
    // Without the uncached part, the cached ones do not give the whole.
    let input =
        if fresh == 0 { 0 } else { fresh.saturating_add(cached).saturating_add(cache_write) };
    TokenUsage {
        input,
        cached,
        cache_write,
        output: count(&usage["output_tokens"]),
        reasoning: count(&usage["output_tokens_details"]["thinking_tokens"]),
        ..TokenUsage::default()
    }
}

/// The reply in `raw`.
///
/// # Errors
/// As [`crate::llm::interpret`].
pub fn interpret(raw: &RawReply) -> Result<Reply, ProviderError> {
    let message = document(raw)?;
    let finish = reason(&message["stop_reason"]);
    let category = word(&message["stop_details"]["category"]);
    let refusal = (finish == "refusal" && !category.is_empty()).then_some(category);
    verdict(Spoken {
        provider: ProviderName::Anthropic,
        model: word(&message["model"]),
        text: text_in(&message["content"]),
        finish,
        refusal,
        usage: usage(&message["usage"]),
        request_id: raw.request_id.clone().or(message["id"].as_str().map(str::to_owned)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        interpret(&RawReply { status: 200, body: body.to_string().into(), request_id: None })
    }

    const USAGE: TokenUsage = TokenUsage {
        input: 1200,
        cached: 1000,
        cache_write: 50,
        output: 900,
        reasoning: 300,
        written: 3,
        estimated: false,
    };

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
        let usage = TokenUsage { written: 0, ..USAGE };
        assert_eq!(refused, ProviderError::Refused { reason: "bio".to_owned(), usage });
    }

    #[test]
    fn an_error_in_the_place_of_a_message_is_named() {
        let class = |body: &str| {
            let raw = RawReply { status: 200, body: body.into(), request_id: None };
            interpret(&raw).unwrap_err().class()
        };
        let error =
            |kind: &str| format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#);
        assert_eq!(class(&error("rate_limit_error")), "rate_limited");
        assert_eq!(class(&error("overloaded_error")), "unavailable");
        assert_eq!(class(&error("billing_error")), "out_of_money");
    }
}
