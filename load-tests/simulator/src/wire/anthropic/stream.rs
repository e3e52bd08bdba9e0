//! Messages as a stream of named events.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::wire::{Said, sse};

use super::reply;

fn event(kind: &str, mut event: Value) -> Bytes {
    event["type"] = json!(kind);
    sse::named(kind, &event)
}

/// The events of a complete reply.
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
        events.push(event("content_block_start", json!({"index": index, "content_block": start})));
        events.push(event("content_block_delta", json!({"index": index, "delta": signed})));
        events.push(event("content_block_stop", json!({"index": index})));
        index += 1;
    }
    if !said.text.is_empty() {
        let empty = json!({"type": "text", "text": ""});
        events.push(event("content_block_start", json!({"index": index, "content_block": empty})));
        let delta = json!({"type": "text_delta", "text": sse::HOLE});
        let hollow = event("content_block_delta", json!({"index": index, "delta": delta}));
        let template = sse::Template::new(&hollow);
        events.extend(sse::pieces(&said.text).into_iter().map(|piece| template.fill(piece)));
        events.push(event("content_block_stop", json!({"index": index})));
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
