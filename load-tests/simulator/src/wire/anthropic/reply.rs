//! Messages replies.

use serde_json::{Value, json};

use crate::wire::usage::Usage;
use crate::wire::{Said, Stop};

/// The reply as one body.
pub(crate) fn body(said: &Said) -> Value {
    let mut content = Vec::new();
    if said.usage.reasoning > 0 {
        content.push(json!({"type": "thinking", "thinking": "", "signature": signature(said)}));
    }
    if !said.text.is_empty() {
        content.push(json!({"type": "text", "text": &*said.text}));
    }
    json!({
        "id": format!("msg_{}", said.id),
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": content,
        "stop_reason": stop_reason(said.stop),
        "stop_sequence": null,
        "stop_details": stop_details(said.stop),
        "usage": usage(&said.usage),
    })
}

/// The signature of a thinking block.
pub(super) fn signature(said: &Said) -> String {
    format!("c2lnbmF0dXJl{}", said.id)
}

/// The stop reason in this format.
pub(super) fn stop_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::Done => "end_turn",
        Stop::Length => "max_tokens",
        Stop::Refused | Stop::Filtered => "refusal",
    }
}

/// The details of a refusal.
pub(super) fn stop_details(stop: Stop) -> Value {
    match stop {
        Stop::Done | Stop::Length => Value::Null,
        Stop::Refused => json!({"type": "refusal", "category": null, "explanation": null}),
        Stop::Filtered => {
            json!({"type": "refusal", "category": "general_harms", "explanation": null})
        }
    }
}

/// Token counts: the input without the cached part, the output with thinking.
pub(super) fn usage(usage: &Usage) -> Value {
    let fresh = usage.input.saturating_sub(usage.cached + usage.cache_write);
    json!({
        "input_tokens": fresh,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write, "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": usage.output + usage.reasoning,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "service_tier": "standard",
    })
}
