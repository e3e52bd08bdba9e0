//! Messages as a stream of named events.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::wire::{Said, sse};

use super::reply;

fn event(kind: &str, mut event: Value) -> Bytes {
    event["type"] = json!(kind);
    sse::named(kind, &event)
}

/// The events of a whole reply.
pub(crate) fn events(said: &Said) -> Vec<Bytes> {
    let mut message = reply::body(said);
    message["content"] = json!([]);
    for name in ["stop_reason", "stop_details"] {
        message[name] = Value::Null;
    }
    message["usage"]["output_tokens"] = json!(1);
    let mut events =
        vec![event("message_start", json!({"message": message})), event("ping", json!({}))];
    let mut index = 0;
    if said.usage.reasoning > 0 {
        let start = json!({"type": "thinking", "thinking": "", "signature": ""});
        let signed = json!({"type": "signature_delta", "signature": reply::signature(said)});
        events.extend(block(index, &start, vec![signed]));
        index += 1;
    }
    if !said.text.is_empty() {
        let deltas = sse::pieces(&said.text).into_iter();
        let deltas = deltas.map(|piece| json!({"type": "text_delta", "text": piece})).collect();
        events.extend(block(index, &json!({"type": "text", "text": ""}), deltas));
    }
    let delta = json!({
        "stop_reason": reply::stop_reason(said.stop),
        "stop_sequence": null,
        "stop_details": reply::stop_details(said.stop),
    });
    events
        .push(event("message_delta", json!({"delta": delta, "usage": reply::usage(&said.usage)})));
    events.push(event("message_stop", json!({})));
    events
}

fn block(index: usize, start: &Value, deltas: Vec<Value>) -> Vec<Bytes> {
    let first = event("content_block_start", json!({"index": index, "content_block": start}));
    let deltas = deltas
        .into_iter()
        .map(|delta| event("content_block_delta", json!({"index": index, "delta": delta})));
    let last = event("content_block_stop", json!({"index": index}));
    std::iter::once(first).chain(deltas).chain([last]).collect()
}
