//! Chat Completions as a stream of chunks.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::clock;
use crate::wire::{Said, Stop, Streaming, sse};

use super::reply;

/// The chunks, the usage if requested, and the end mark.
pub(crate) fn events(stream: Streaming, said: &Said) -> Vec<Bytes> {
    let usage_asked = stream == Streaming::Sse { usage: true };
    let created = clock::epoch_seconds();
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", said.id),
            "object": "chat.completion.chunk",
            "created": created,
            "model": said.model,
            "service_tier": "default",
            "system_fingerprint": null,
            "choices": choices,
        });
        if usage_asked {
            chunk["usage"] = usage;
        }
        sse::data(&chunk)
    };
    let delta = |delta: Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        chunk(json!([choice]), Value::Null)
    };
    let field = if said.stop == Stop::Refused { "refusal" } else { "content" };
    let mut events = vec![delta(json!({"role": "assistant", field: ""}), None)];
    let template = sse::Template::new(&delta(json!({field: sse::HOLE}), None));
    events.extend(sse::pieces(&said.text).into_iter().map(|piece| template.fill(piece)));
    events.push(delta(json!({}), Some(reply::finish_reason(said.stop))));
    if usage_asked {
        events.push(chunk(json!([]), reply::usage(&said.usage)));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}
