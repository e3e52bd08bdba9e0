//! Responses as a stream of typed, numbered events.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::wire::problem::Problem;
use crate::wire::{Said, Stop, sse};

use super::reply;

/// Numbers and frames events.
#[derive(Default)]
struct Events(Vec<Bytes>);

impl Events {
    fn push(&mut self, kind: &str, mut event: Value) {
        event["type"] = json!(kind);
        event["sequence_number"] = json!(self.0.len());
        self.0.push(sse::named(kind, &event));
    }

    /// A delta from a template without its number and its end.
    fn push_filled(&mut self, template: &sse::Template, piece: &str) {
        let mut event = Vec::from(template.fill(piece));
        event.extend_from_slice(format!(",\"sequence_number\":{}}}\n\n", self.0.len()).as_bytes());
        self.0.push(event.into());
    }

    fn open(&mut self, said: &Said) {
        let shell = reply::shell(&said.id, &said.model, "in_progress");
        self.push("response.created", json!({"response": shell}));
        self.push("response.in_progress", json!({"response": shell}));
    }

    /// The item at `place` of the output, beginning and end.
    fn item(&mut self, place: usize, kind: &str, item: &Value) {
        self.push(kind, json!({"output_index": place, "item": item}));
    }
}

/// The events of a complete reply.
pub(crate) fn events(said: &Said) -> Vec<Bytes> {
    let mut events = Events::default();
    events.open(said);
    let mut place = 0;
    if said.usage.reasoning > 0 {
        let item = json!({"id": format!("rs_{}", said.id), "type": "reasoning", "summary": []});
        events.item(place, "response.output_item.added", &item);
        events.item(place, "response.output_item.done", &item);
        place += 1;
    }
    if said.stop != Stop::Filtered {
        message(&mut events, said, place);
    }
    let last = match reply::status(said.stop) {
        "incomplete" => "response.incomplete",
        _ => "response.completed",
    };
    events.push(last, json!({"response": reply::body(said)}));
    events.0
}

fn message(events: &mut Events, said: &Said, place: usize) {
    let id = format!("msg_{}", said.id);
    let empty = json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []});
    events.item(place, "response.output_item.added", &empty);
    let at = |mut event: Value| {
        event["item_id"] = json!(id);
        event["output_index"] = json!(place);
        event["content_index"] = json!(0);
        event
    };
    let refused = said.stop == Stop::Refused;
    let (kind, field) = if refused { ("refusal", "refusal") } else { ("output_text", "text") };
    let mut part = reply::content(said);
    part[field] = json!("");
    events.push("response.content_part.added", at(json!({"part": part})));
    let name = format!("response.{kind}.delta");
    let mut hollow = at(json!({"delta": sse::HOLE, "logprobs": []}));
    hollow["type"] = json!(name);
    let frame = sse::named(&name, &hollow);
    let template = sse::Template::new(&frame.slice(..frame.len() - "}\n\n".len()));
    for piece in sse::pieces(&said.text) {
        events.push_filled(&template, piece);
    }
    events.push(&format!("response.{kind}.done"), at(json!({field: &*said.text})));
    events.push("response.content_part.done", at(json!({"part": reply::content(said)})));
    events.item(place, "response.output_item.done", &reply::message(said, reply::content(said)));
}

/// The events of a reply that fails after it was accepted.
pub(crate) fn failed(said: &Said, code: &str) -> Vec<Bytes> {
    let mut events = Events::default();
    events.open(said);
    events.push("response.failed", json!({"response": reply::failed(&said.id, &said.model, code)}));
    events.0
}

/// An error in the middle of a stream.
pub(crate) fn error(problem: &Problem, number: usize) -> Bytes {
    let code = problem.code.as_deref().unwrap_or(problem.kind);
    let event = json!({
        "type": "error", "code": code, "message": problem.message, "param": null,
        "sequence_number": number,
    });
    sse::named("error", &event)
}
