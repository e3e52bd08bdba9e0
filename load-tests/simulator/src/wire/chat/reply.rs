//! Chat Completions replies.

use serde_json::{Value, json};

use crate::clock;
use crate::wire::usage::Usage;
use crate::wire::{Said, Stop};

/// The reply as one body.
pub(crate) fn body(said: &Said) -> Value {
    let (content, refusal) = match said.stop {
        Stop::Refused => (Value::Null, json!(&*said.text)),
        Stop::Done | Stop::Length | Stop::Filtered => (json!(&*said.text), Value::Null),
    };
    json!({
        "id": format!("chatcmpl-{}", said.id),
        "object": "chat.completion",
        "created": clock::epoch_seconds(),
        "model": said.model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": content, "refusal": refusal, "annotations": []},
            "logprobs": null,
            "finish_reason": finish_reason(said.stop),
        }],
        "usage": usage(&said.usage),
        "service_tier": "default",
        "system_fingerprint": null,
    })
}

/// The finish reason in this format.
pub(crate) fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        // A refusal is a normal end with its text in another field.
        Stop::Done | Stop::Refused => "stop",
        Stop::Length => "length",
        Stop::Filtered => "content_filter",
    }
}

/// Token counts: cached ones are part of the prompt's, reasoning of the completion's.
pub(crate) fn usage(usage: &Usage) -> Value {
    let completion = usage.output + usage.reasoning;
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": completion,
        "total_tokens": usage.input + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write, "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}
