//! generateContent as a stream: server-sent events, or one JSON array sent
//! element by element.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::wire::{Said, Stop, Streaming, sse};

use super::reply::frame;

/// Pieces of text in one response object.
const PIECES: usize = 3;

/// The pieces of a complete reply.
pub(crate) fn events(stream: Streaming, said: &Said) -> Vec<Bytes> {
    let frames = frames(said);
    if stream != Streaming::Array {
        return frames.iter().map(sse::data).collect();
    }
    let mut pieces: Vec<Bytes> = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let lead = if index == 0 { "[" } else { ",\r\n" };
        pieces.push(format!("{lead}{frame}").into());
    }
    pieces.push(Bytes::from_static(b"\n]\n"));
    pieces
}

fn frames(said: &Said) -> Vec<Value> {
    let silent = said.text.is_empty() || matches!(said.stop, Stop::Refused | Stop::Filtered);
    if silent {
        return vec![frame(said, Vec::new(), true)];
    }
    let mut frames = Vec::new();
    if said.show_thoughts && said.usage.reasoning > 0 {
        let thought = json!({"text": "**Planning** I weigh the targets first.", "thought": true});
        frames.push(frame(said, vec![thought], false));
    }
    let pieces = sse::pieces(&said.text);
    let chunks: Vec<String> = pieces.chunks(PIECES).map(<[&str]>::concat).collect();
    let last = chunks.len() - 1;
    for (index, text) in chunks.iter().enumerate() {
        frames.push(frame(said, vec![json!({ "text": text })], index == last));
    }
    frames
}

/// An error in the middle of a stream.
pub(crate) fn error(stream: Streaming, problem: &Value) -> Bytes {
    if stream == Streaming::Array {
        format!(",\r\n{problem}\n]\n").into()
    } else {
        sse::data(problem)
    }
}
