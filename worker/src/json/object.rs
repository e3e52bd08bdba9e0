//! Finds the one JSON object in a model's text: bare, in a code fence, after
//! reasoning, between prose, or repeated. Two different objects are refused,
//! because it is unknown which one is meant.

use serde_json::Value;

use super::lenient::{Unambiguous, invisible, joined, object_at};

/// The highest number of places to try; no model writes a text with more.
const MOST_TRIES: usize = 64;

/// Why there is no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoObject {
    /// There is no text.
    #[error("the text is empty")]
    Empty,
    /// There is only prose.
    #[error("the text holds no JSON object")]
    Words,
    /// It is incomplete.
    #[error("the JSON ends in the middle")]
    CutOff,
    /// It is not JSON, or a key has two values.
    #[error("the text is not JSON: {0}")]
    Broken(String),
    /// There are two.
    #[error("the text holds two different JSON objects")]
    Several,
}

/// The JSON text of the object in `text`, without control characters and unpaired
/// surrogates, and the object itself.
///
/// # Errors
/// There is none, or not exactly one.
pub fn only_object(text: &str) -> Result<(String, Value), NoObject> {
    let text = joined(text);
    let text = text.trim_matches(invisible);
    if text.is_empty() {
        return Err(NoObject::Empty);
    }
    // Some hosts write the object as a JSON string.
    if let Ok(inner) = serde_json::from_str::<String>(text) {
        return object_in(&inner);
    }
    let answer = behind_thoughts(text);
    match object_in(answer) {
        Err(NoObject::Words) if answer.len() < text.len() => object_in(text),
        found => found,
    }
}

fn object_in(text: &str) -> Result<(String, Value), NoObject> {
    let (mut rest, mut found, mut problem) = (text, None::<(String, Value)>, None);
    for _ in 0..MOST_TRIES {
        let Some(start) = rest.find('{') else { break };
        rest = rest.get(start..).unwrap_or_default();
        if !opens(rest) {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let Some((mended, length)) = object_at(rest) else { return Err(NoObject::CutOff) };
        rest = rest.get(length..).unwrap_or_default();
        match serde_json::from_str::<Unambiguous>(&mended) {
            Ok(Unambiguous(value)) => match &found {
                Some((_, before)) if *before != value => return Err(NoObject::Several),
                Some(_) => {}
                None => found = Some((mended, value)),
            },
            Err(error) => problem = problem.or(Some(NoObject::Broken(error.to_string()))),
        }
    }
    found.ok_or(problem.unwrap_or(NoObject::Words))
}

/// Whether a brace opens a JSON object; in prose, a brace is followed by a word.
fn opens(rest: &str) -> bool {
    let behind = rest.get(1..).unwrap_or_default().trim_start_matches(invisible);
    behind.starts_with(['"', '}', '/'])
}

/// The text after the last end of a model's reasoning.
fn behind_thoughts(text: &str) -> &str {
    let mut from = 0;
    for (at, _) in text.match_indices(['<', '[', '◁']) {
        let rest = text.get(at..).unwrap_or_default();
        if let Some(length) = end_of_thoughts(rest) {
            from = at + length;
        }
    }
    text.get(from..).unwrap_or_default()
}

/// The length of the mark at the start of `text`, if it ends the reasoning: `</think>`,
/// `[/THINK]`, `◁/think▷`, `<|end_of_thought|>`, `<|channel|>final<|message|>`.
fn end_of_thoughts(text: &str) -> Option<usize> {
    const FINAL: &str = "<|channel|>final<|message|>";
    const WORDS: [&str; 6] = ["think", "thought", "reason", "analysis", "reflection", "scratchpad"];
    if text.starts_with(FINAL) {
        return Some(FINAL.len());
    }
    let closing = |letter: char| matches!(letter, '>' | ']' | '▷');
    let (end, close) = text.char_indices().take(40).find(|(_, letter)| closing(*letter))?;
    let mark: String = text.get(..end)?.chars().skip(1).flat_map(char::to_lowercase).collect();
    let plain = mark.chars().all(|letter| letter.is_alphanumeric() || "/|_:-".contains(letter));
    let ends = mark.contains('/') || mark.contains("end");
    let named = WORDS.iter().any(|word| mark.contains(word));
    (plain && ends && named).then_some(end + close.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"{"meals":[{"name":"oats {1}","tips":["a","b"]}],"n":1}"#;

    fn found(text: &str) -> Value {
        let (written, object) = only_object(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), object);
        object
    }

    #[test]
    fn the_one_object_is_found_whatever_stands_around_it() {
        let plan: Value = serde_json::from_str(PLAN).unwrap();
        for around in [
            "{P}",
            " {P}\n",
            "\u{feff}{P}",
            "\u{200b}{P}\u{200b}",
            "Here is your plan:\n{P}",
            "Sure {as asked}, here:\n{P}\nEnjoy {it}!",
            "```json\n{P}\n```",
            "```JSON\n{P}\n```\nLet me know if {anything} is missing.",
            "\u{feff}```\n{P}\n```",
            "~~~json\n{P}\n~~~",
            "<think>two {days}</think>{P}",
            "<think>a draft: {\"meals\":[]}</think>\n{P}",
            "a draft {\"meals\":[]} </think>{P}",
            "<thinking>{\"a\":1}</thinking>{P}",
            "[THINK]{\"a\":1}[/THINK]{P}",
            "◁think▷{\"a\":1}◁/think▷{P}",
            "<|channel|>analysis<|message|>{\"a\":1}<|end|><|start|>assistant<|channel|>final<|message|>{P}",
            "<think>{P}</think>",
            "{P}\n{P}",
            "{P}{P}{P}",
            "[{P}]",
            "<answer>{P}</answer>",
            "{P},",
        ] {
            assert_eq!(found(&around.replace("{P}", PLAN)), plan, "{around}");
        }
        let comma = PLAN.replace("\"n\":1}", "\"n\":1,}");
        assert_eq!(found(&comma), plan);
        let quoted = serde_json::to_string(PLAN).unwrap();
        assert_eq!(found(&quoted), plan);
    }

    #[test]
    fn what_is_not_one_object_is_told_apart() {
        let problem = |text: &str| only_object(text).unwrap_err();
        assert_eq!(problem(" \u{feff}\n"), NoObject::Empty);
        assert_eq!(problem("I cannot do that."), NoObject::Words);
        assert_eq!(problem("[]"), NoObject::Words);
        assert_eq!(problem("{\"a\":1}\n{\"a\":2}"), NoObject::Several);
        assert_eq!(problem("[{\"a\":1},{\"b\":1}]"), NoObject::Several);
        assert_eq!(problem("{\"a\":[1,"), NoObject::CutOff);
        assert_eq!(problem("{\"a\":1} {\"a\":"), NoObject::CutOff);
        assert!(matches!(problem("{\"a\": oops}"), NoObject::Broken(_)));
        assert!(matches!(problem("{\"a\":1,\"a\":2}"), NoObject::Broken(_)));
    }

    #[test]
    fn a_text_made_of_braces_takes_no_time() {
        let begun = std::time::Instant::now();
        assert!(only_object(&"{\"".repeat(200_000)).is_err());
        assert!(only_object(&"{ x".repeat(200_000)).is_err());
        assert!(only_object(&"{\"a\":oops}".repeat(50_000)).is_err());
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    #[test]
    fn cutting_an_object_anywhere_never_passes() {
        for end in (1..PLAN.len()).filter(|end| PLAN.is_char_boundary(*end)) {
            assert!(only_object(&PLAN[..end]).is_err(), "cut at {end}");
        }
    }
}
