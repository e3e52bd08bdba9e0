//! Server-sent events.

use bytes::Bytes;
use serde_json::Value;

/// Characters of the model's text per event, about 24 tokens.
const PIECE: usize = 96;

/// The placeholder of the text in a template; no model writes it.
pub(crate) const HOLE: &str = "\u{1}";

/// An event without a name.
pub(crate) fn data(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

/// An event with a name.
pub(crate) fn named(name: &str, value: &Value) -> Bytes {
    format!("event: {name}\ndata: {value}\n\n").into()
}

/// An event that is written once and filled with many texts: a plan is streamed in a
/// hundred of them.
#[derive(Debug)]
pub(crate) struct Template {
    head: String,
    tail: String,
}

impl Template {
    /// A template from the event `framed`, in which [`HOLE`] is the placeholder.
    pub(crate) fn new(framed: &Bytes) -> Self {
        let text = String::from_utf8_lossy(framed);
        let (head, tail) = text.split_once("\"\\u0001\"").unwrap_or((&text, ""));
        Self { head: head.to_owned(), tail: tail.to_owned() }
    }

    /// The event with `text`.
    pub(crate) fn fill(&self, text: &str) -> Bytes {
        // A string always serializes; the extra capacity covers a few escapes.
        let mut event = Vec::with_capacity(self.head.len() + self.tail.len() + text.len() + 24);
        event.extend_from_slice(self.head.as_bytes());
        if serde_json::to_writer(&mut event, text).is_err() {
            return Bytes::new();
        }
        event.extend_from_slice(self.tail.as_bytes());
        event.into()
    }
}

/// `text` in the pieces that a model would send; none for an empty text.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let mut rest = text;
    let mut pieces = Vec::with_capacity(text.len() / PIECE + 1);
    while !rest.is_empty() {
        let mut end = PIECE.min(rest.len());
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_template_is_the_event_written_out() {
        let event =
            |text: &str| named("delta", &serde_json::json!({"a": [1, {"delta": text}], "z": 2}));
        let template = Template::new(&event(HOLE));
        for text in ["plain", "quote \" back \\ line \n é \u{1}", ""] {
            assert_eq!(template.fill(text), event(text));
        }
    }

    #[test]
    fn pieces_add_up_to_the_text_and_keep_letters_whole() {
        let text = "é".repeat(150);
        let pieces = pieces(&text);
        assert!(pieces.len() > 2);
        assert_eq!(pieces.concat(), text);
    }
}
