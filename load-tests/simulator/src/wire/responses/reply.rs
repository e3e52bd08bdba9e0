//! Responses replies.

use serde_json::{Value, json};

use crate::clock;
use crate::wire::usage::Usage;
use crate::wire::{Said, Stop};

/// The reply as one body.
pub(crate) fn body(said: &Said) -> Value {
    let mut output = Vec::new();
    if said.usage.reasoning > 0 {
        output.push(json!({"id": format!("rs_{}", said.id), "type": "reasoning", "summary": []}));
    }
    if said.stop != Stop::Filtered {
        output.push(message(said, content(said)));
    }
    let mut body = shell(&said.id, &said.model, status(said.stop));
    body["output"] = json!(output);
    body["incomplete_details"] = match said.stop {
        Stop::Done | Stop::Refused => Value::Null,
        Stop::Length => json!({"reason": "max_output_tokens"}),
        Stop::Filtered => json!({"reason": "content_filter"}),
    };
    body["usage"] = usage(&said.usage);
    body
}

/// A reply that failed after it was accepted.
pub(crate) fn failed(id: &str, model: &str, code: &str) -> Value {
    let mut body = shell(id, model, "failed");
    let message = "The server had an error while generating the response.";
    body["error"] = json!({"code": code, "message": message});
    body
}

/// A reply without its output.
pub(super) fn shell(id: &str, model: &str, status: &str) -> Value {
    json!({
        "id": format!("resp_{id}"),
        "object": "response",
        "created_at": clock::epoch_seconds(),
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "model": model,
        "output": [],
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "store": false,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": null,
        "metadata": {},
    })
}

/// The message item with `content`.
pub(super) fn message(said: &Said, content: Value) -> Value {
    let status = if said.stop == Stop::Length { "incomplete" } else { "completed" };
    json!({
        "id": format!("msg_{}", said.id), "type": "message", "status": status,
        "role": "assistant", "content": [content],
    })
}

/// The content part of the message.
pub(super) fn content(said: &Said) -> Value {
    if said.stop == Stop::Refused {
        return json!({"type": "refusal", "refusal": &*said.text});
    }
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": &*said.text})
}

/// The status of a complete reply.
pub(super) fn status(stop: Stop) -> &'static str {
    match stop {
        Stop::Done | Stop::Refused => "completed",
        Stop::Length | Stop::Filtered => "incomplete",
    }
}

fn usage(usage: &Usage) -> Value {
    let output = usage.output + usage.reasoning;
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + output,
    })
}
