//! Good replies in unusual shapes: what real hosts send beside, around and
//! inside a complete plan.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::provider::Api;

use super::{Said, body, sse};

/// Put where a character is to be split between two pieces.
const SPLIT: &str = "😀";

macro_rules! shapes {
    ($($(#[$doc:meta])* $shape:ident),+ $(,)?) => {
        /// An odd shape.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Shape { $($(#[$doc])* $shape),+ }

        impl Shape {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$shape),+];
        }
    };
}

shapes! {
    /// Token counts that are null.
    UsageNull,
    /// Token counts below zero.
    UsageNegative,
    /// Token counts such as 900.0.
    UsageFraction,
    /// Token counts as text.
    UsageText,
    /// Token counts beyond all bounds.
    UsageHuge,
    /// No token counts.
    UsageMissing,
    /// The stream ends without the mark of its end.
    NoEndMark,
    /// The last event lacks its blank line.
    NoBlankLine,
    /// Events without data.
    EmptyData,
    /// Comments between the events.
    Comments,
    /// Lines end with CR.
    CarriageReturns,
    /// Lines end with CR LF.
    LineFeedPairs,
    /// The media type in capitals.
    CapitalType,
    /// A media type that says nothing.
    PlainType,
    /// A byte order mark before the stream.
    ByteOrderMark,
    /// Events nobody has heard of.
    UnknownEvents,
    /// A reason to stop in every piece.
    StopEverywhere,
    /// A reason to stop nobody has heard of.
    UnknownStop,
    /// One JSON body although a stream was asked for.
    JsonBody,
    /// The pieces as one JSON list.
    JsonList,
    /// The text as a list of parts, thoughts among them.
    ContentList,
    /// The text as one part.
    ContentPart,
    /// Thoughts beside the text.
    Thoughts,
    /// Pieces with a role and nothing else but nulls.
    RolePieces,
    /// Numbers of the plan as text.
    NumbersAsText,
    /// Amounts in words as numbers.
    WordsAsNumbers,
    /// The plan in a Markdown fence, with words behind it.
    Fence,
    /// Words before the plan.
    Words,
    /// Thoughts before the plan.
    Think,
    /// The plan twice.
    Twice,
    /// Commas before closing brackets.
    TrailingComma,
    /// A byte order mark before the plan.
    MarkBeforePlan,
    /// NUL in a text of the plan.
    Nul,
    /// Control characters in a text of the plan.
    Control,
    /// Half a letter in a text of the plan.
    HalfLetter,
    /// A letter cut in two between two pieces.
    SplitLetter,
}

impl Shape {
    /// The text of a model that returns this plan.
    pub(crate) fn words(self, plan: &str) -> String {
        match self {
            Self::Fence => format!("```JSON\n{plan}\n```\nLet me know if {{anything}} is missing."),
            Self::Words => format!("Here is your plan:\n{plan}"),
            Self::Think => format!("<think>two {{days}} {{\"draft\": 1}}</think>\n{plan}"),
            Self::Twice => format!("{plan}\n{plan}"),
            Self::MarkBeforePlan => format!("\u{feff}{plan}"),
            Self::TrailingComma => plan.replace("}]", "},]"),
            Self::Nul => into_last_text(plan, "a\\u0000b "),
            Self::Control => into_last_text(plan, "a\u{7}b\tc\nd "),
            Self::HalfLetter => into_last_text(plan, "a\\ud83d "),
            Self::SplitLetter => into_last_text(plan, SPLIT),
            Self::NumbersAsText => changed(plan, &numbers_as_text),
            Self::WordsAsNumbers => changed(plan, &words_as_numbers),
            _ => plan.to_owned(),
        }
    }

    /// The media type and the pieces of a stream of `events` in this shape.
    pub(crate) fn frame(
        self,
        api: Api,
        said: &Said,
        events: Vec<Bytes>,
    ) -> (&'static str, Vec<Bytes>) {
        let stream = "text/event-stream";
        let pieces = match self {
            Self::UsageNull => each(&events, &|event| counts(event, &|_| Some(Value::Null))),
            Self::UsageNegative => each(&events, &|event| counts(event, &|_| Some(json!(-35)))),
            Self::UsageHuge => each(&events, &|event| {
                counts(event, &|_| Some(json!(18_446_744_073_709_551_581_u64)))
            }),
            Self::UsageFraction => {
                each(&events, &|event| counts(event, &|count| Some(json!(count.as_f64()))))
            }
            Self::UsageText => {
                each(&events, &|event| counts(event, &|count| Some(json!(count.to_string()))))
            }
            Self::UsageMissing => each(&events, &|event| counts(event, &|_| None)),
            Self::ContentList => each(&events, &|event| content(api, event, true)),
            Self::ContentPart => each(&events, &|event| content(api, event, false)),
            Self::Thoughts => each(&events, &|event| thoughts(api, event)),
            Self::StopEverywhere => each(&events, &|event| stop(api, event, true)),
            Self::UnknownStop => each(&events, &|event| stop(api, event, false)),
            Self::SplitLetter => events.iter().flat_map(split).collect(),
            Self::NoEndMark => {
                let is_mark = |event: &&Bytes| {
                    event.starts_with(b"data: [DONE]") || event.starts_with(b"event: message_stop")
                };
                events.iter().filter(|event| !is_mark(event)).cloned().collect()
            }
            Self::NoBlankLine => {
                let all = events.concat();
                vec![Bytes::copy_from_slice(all.trim_ascii_end())]
            }
            Self::EmptyData => between(events, b"data: \n\ndata:\n\n"),
            Self::Comments => between(events, b": still here\n\n"),
            Self::RolePieces if matches!(api, Api::Chat | Api::LlamaChat) => {
                let delta = json!({"role": "assistant", "content": null, "tool_calls": null, "function_call": null});
                let piece =
                    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
                between(events, &sse::data(&piece))
            }
            Self::UnknownEvents => between(
                events,
                b"event: brand_new\nid: 7\ndata: {\"type\":\"brand_new\",\"x\":[1]}\n\n",
            ),
            Self::CarriageReturns => relined(&events, "\r"),
            Self::LineFeedPairs => relined(&events, "\r\n"),
            Self::ByteOrderMark => {
                std::iter::once(Bytes::from_static(b"\xef\xbb\xbf")).chain(events).collect()
            }
            Self::CapitalType => return ("Text/Event-Stream; Charset=UTF-8", events),
            Self::PlainType => return ("application/octet-stream", events),
            Self::JsonBody => {
                return (
                    "application/json; charset=utf-8",
                    vec![body(api, said).to_string().into()],
                );
            }
            // Only these formats have pieces that are complete without their event names.
            Self::JsonList if api != Api::Messages => {
                let list: Value =
                    events.iter().filter_map(data_of).map(|(_, value)| value).collect();
                return ("application/json", vec![list.to_string().into()]);
            }
            _ => events,
        };
        (stream, pieces)
    }
}

/// The plan with `words` at the start of its last text.
fn into_last_text(plan: &str, words: &str) -> String {
    let at = plan.rfind("\":\"").map_or(plan.len(), |at| at + 3);
    let (head, tail) = plan.split_at(at);
    format!("{head}{words}{tail}")
}

fn changed(plan: &str, change: &dyn Fn(&mut Value)) -> String {
    let Ok(mut plan) = serde_json::from_str::<Value>(plan) else { return plan.to_owned() };
    walk(&mut plan, change);
    plan.to_string()
}

fn walk(value: &mut Value, change: &dyn Fn(&mut Value)) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|inner| walk(inner, change)),
        Value::Array(items) => items.iter_mut().for_each(|inner| walk(inner, change)),
        _ => {}
    }
    change(value);
}

fn numbers_as_text(value: &mut Value) {
    if value.is_number() {
        *value = Value::String(value.to_string());
    }
}

fn words_as_numbers(value: &mut Value) {
    let grams = value["grams"].clone();
    if grams.is_number() && value["portion"].is_string() {
        value["portion"] = grams;
    }
    if value["reps"].is_string() && value["rest_seconds"].is_number() {
        value["reps"] = json!(12);
    }
}

/// Head, data and tail of an event.
fn data_of(event: &Bytes) -> Option<(String, Value)> {
    let text = std::str::from_utf8(event).ok()?;
    let (head, data) = text.split_once("data: ")?;
    Some((head.to_owned(), serde_json::from_str(data.trim()).ok()?))
}

fn each(events: &[Bytes], change: &dyn Fn(&mut Value)) -> Vec<Bytes> {
    let one = |event: &Bytes| match data_of(event) {
        Some((head, mut data)) => {
            change(&mut data);
            Bytes::from(format!("{head}data: {data}\n\n"))
        }
        None => event.clone(),
    };
    events.iter().map(one).collect()
}

fn between(events: Vec<Bytes>, more: &[u8]) -> Vec<Bytes> {
    let more = Bytes::copy_from_slice(more);
    events.into_iter().flat_map(|event| [more.clone(), event]).collect()
}

fn relined(events: &[Bytes], end: &str) -> Vec<Bytes> {
    events.iter().map(|event| String::from_utf8_lossy(event).replace('\n', end).into()).collect()
}

/// Changes every token count of an event, or removes all of them.
fn counts(event: &mut Value, change: &dyn Fn(&Value) -> Option<Value>) {
    for place in ["/usage", "/usageMetadata", "/message/usage"] {
        let Some(usage) = event.pointer_mut(place) else { continue };
        let mut gone = false;
        let one = |value: &mut Value| {
            if value.is_number() {
                *value = change(value).unwrap_or(Value::Null);
            }
        };
        if usage.is_object() && change(&json!(1)).is_none() {
            gone = true;
        } else {
            walk(usage, &one);
        }
        if gone {
            *usage = Value::Null;
        }
    }
}

fn content(api: Api, event: &mut Value, list: bool) {
    let thought = json!({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]});
    match api {
        Api::Chat | Api::LlamaChat => {
            let Some(content) = event.pointer_mut("/choices/0/delta/content") else { return };
            if content.is_string() {
                let part = json!({"type": "text", "text": content.take()});
                *content = if list { json!([thought, part]) } else { part };
            }
        }
        Api::Generate => thoughts(api, event),
        Api::Messages | Api::Responses => {}
    }
}

fn thoughts(api: Api, event: &mut Value) {
    match api {
        Api::Chat | Api::LlamaChat => {
            if let Some(delta) =
                event.pointer_mut("/choices/0/delta").filter(|delta| delta.is_object())
            {
                delta["reasoning"] = json!("hm {\"x\":1}");
                delta["reasoning_content"] = json!("hm {\"x\":2}");
            }
        }
        Api::Generate => {
            let parts =
                event.pointer_mut("/candidates/0/content/parts").and_then(Value::as_array_mut);
            if let Some(parts) = parts {
                parts.insert(0, json!({"text": "hm {\"x\":1}", "thought": true}));
            }
        }
        Api::Messages | Api::Responses => {}
    }
}

/// A known stop reason in every piece, or an unknown one at the end.
fn stop(api: Api, event: &mut Value, everywhere: bool) {
    let (choice, name, known) = match api {
        Api::Chat | Api::LlamaChat => ("/choices/0", "finish_reason", "stop"),
        Api::Generate => ("/candidates/0", "finishReason", "STOP"),
        Api::Messages => ("/delta", "stop_reason", "end_turn"),
        Api::Responses => return,
    };
    let Some(choice) = event.pointer_mut(choice).filter(|choice| choice.is_object()) else {
        return;
    };
    if everywhere && api != Api::Messages {
        choice[name] = json!(known);
    } else if !everywhere && choice[name] == known {
        choice[name] = json!("brand_new_ending");
    }
}

/// The event in two pieces, split within the character [`SPLIT`].
fn split(event: &Bytes) -> Vec<Bytes> {
    let Some((head, data)) = data_of(event).filter(|(_, data)| data.to_string().contains(SPLIT))
    else {
        return vec![event.clone()];
    };
    let half = |first: bool| {
        let mut data = data.clone();
        walk(&mut data, &|value: &mut Value| {
            let Some((before, behind)) = value.as_str().and_then(|text| text.split_once(SPLIT))
            else {
                return;
            };
            let text = if first { format!("{before}\u{1}") } else { format!("\u{1}{behind}") };
            *value = Value::String(text);
        });
        let escape = if first { "\\ud83d" } else { "\\ude00" };
        Bytes::from(format!("{head}data: {}\n\n", data.to_string().replace("\\u0001", escape)))
    };
    vec![half(true), half(false)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_a_name_that_reads_back() {
        for shape in Shape::ALL {
            let name = serde_json::to_value(shape).unwrap();
            assert_eq!(serde_json::from_value::<Shape>(name).unwrap(), *shape);
        }
        assert_eq!(Shape::ALL.len(), 36);
    }

    #[test]
    fn a_letter_is_cut_in_two_halves() {
        let event = sse::data(&json!({"choices": [{"delta": {"content": "a😀b"}}]}));
        let text: Vec<String> =
            split(&event).iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
        assert!(text[0].contains("\"a\\ud83d\"") && text[1].contains("\"\\ude00b\""), "{text:?}");
    }

    #[test]
    fn the_words_change_where_they_should() {
        let plan = r#"{"foods":[{"portion":"1 cup","grams":55}],"tip":"x"}"#;
        assert_eq!(Shape::Nul.words(plan), plan.replace("\"x\"", "\"a\\u0000b x\""));
        assert!(Shape::NumbersAsText.words(plan).contains("\"grams\":\"55\""));
        assert!(Shape::WordsAsNumbers.words(plan).contains("\"portion\":55"));
        assert!(Shape::TrailingComma.words(plan).contains("},]"));
        assert_eq!(Shape::UsageNull.words(plan), plan);
    }
}
