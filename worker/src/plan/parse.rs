//! Reads a plan out of a provider's reply: strict on its shape, patient with
//! fences and prose around it, which a server without structured output adds.

use regimen_common::job::PlanKind;
use serde::de::DeserializeOwned;
use serde_json::Deserializer;
use serde_json::error::Category;

use super::Plan;

/// Replies longer than this are not read; a full plan is about 20 kB.
pub const REPLY_LIMIT_BYTES: usize = 512 * 1024;

/// Why a reply is not a plan.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The provider answered nothing.
    #[error("the reply is empty")]
    Empty,
    /// Far longer than any plan.
    #[error("the reply has {bytes} bytes; a plan has at most {REPLY_LIMIT_BYTES}")]
    TooLong {
        /// Length of the reply.
        bytes: usize,
    },
    /// Prose only.
    #[error("the reply holds no JSON object")]
    NoObject,
    /// It ends in the middle: truncated, which asks for another answer than invalid.
    #[error("the JSON ends in the middle of the plan")]
    CutOff,
    /// Not JSON.
    #[error("the reply is not JSON at line {line}, column {column}")]
    NotJson {
        /// Line of the object, from 1.
        line: usize,
        /// Column of that line, from 1.
        column: usize,
    },
    /// JSON, but not a plan of this kind.
    #[error("the {kind} plan has the wrong shape: {reason}")]
    Shape {
        /// The kind that was asked for.
        kind: PlanKind,
        /// The first mismatch, bounded in length; may quote the reply.
        reason: String,
    },
}

/// Reads a plan of `kind`.
///
/// # Errors
/// The reply holds no complete plan of that kind; the first object decides.
pub fn parse(kind: PlanKind, text: &str) -> Result<Plan, ParseError> {
    match kind {
        PlanKind::Meal => read(kind, text).map(Plan::Meal),
        PlanKind::Workout => read(kind, text).map(Plan::Workout),
    }
}

fn read<T: DeserializeOwned>(kind: PlanKind, text: &str) -> Result<T, ParseError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    if text.len() > REPLY_LIMIT_BYTES {
        return Err(ParseError::TooLong { bytes: text.len() });
    }
    let object = object_in(text).ok_or(ParseError::NoObject)?;
    T::deserialize(&mut Deserializer::from_str(object)).map_err(|error| named(kind, &error))
}

/// The text from the first brace that can open a JSON object with members; a
/// brace in the prose before it is not followed by a quote.
fn object_in(text: &str) -> Option<&str> {
    text.match_indices('{')
        .map(|(start, _)| &text[start..])
        .find(|rest| rest[1..].trim_start().starts_with('"'))
}

fn named(kind: PlanKind, error: &serde_json::Error) -> ParseError {
    match error.classify() {
        Category::Eof => ParseError::CutOff,
        Category::Data => {
            ParseError::Shape { kind, reason: error.to_string().chars().take(300).collect() }
        }
        // Reading from memory has no I/O to fail.
        Category::Syntax | Category::Io => {
            ParseError::NotJson { line: error.line(), column: error.column() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    #[test]
    fn a_plan_is_found_bare_fenced_or_in_prose() {
        let json = serde_json::to_string(&sample::meal()).unwrap();
        for reply in [
            json.clone(),
            format!("\u{feff}  {json}\n"),
            format!("```json\n{json}\n```"),
            format!("Sure {{as asked}}, here it is:\n{json}\nEnjoy {{it}}!"),
        ] {
            assert_eq!(parse(PlanKind::Meal, &reply).unwrap(), sample::meal());
        }
        let json = serde_json::to_string(&sample::workout()).unwrap();
        assert_eq!(parse(PlanKind::Workout, &json).unwrap(), sample::workout());
    }

    #[test]
    fn every_other_reply_is_named() {
        let json = serde_json::to_string(&sample::meal()).unwrap();
        let of = |text: &str| parse(PlanKind::Meal, text).unwrap_err();
        assert!(matches!(of(" \n"), ParseError::Empty));
        assert!(matches!(of("I cannot do that."), ParseError::NoObject));
        assert!(matches!(of(&json[..json.len() / 2]), ParseError::CutOff));
        assert!(matches!(of("{\"meals\": [oops]}"), ParseError::NotJson { line: 1, .. }));
        assert!(matches!(of(&"x".repeat(REPLY_LIMIT_BYTES + 1)), ParseError::TooLong { .. }));
        let extra = json.replacen("{", "{\"note\":1,", 1);
        assert!(of(&extra).to_string().contains("note"), "{}", of(&extra));
        let missing = json.replacen("\"meal_name\":", "\"name\":", 1);
        assert!(matches!(of(&missing), ParseError::Shape { .. }));
        assert!(matches!(parse(PlanKind::Workout, &json), Err(ParseError::Shape { .. })));
    }

    #[test]
    fn cutting_a_plan_anywhere_never_passes_or_panics() {
        let json = serde_json::to_string(&sample::workout()).unwrap();
        for end in (0..json.len()).filter(|end| json.is_char_boundary(*end)).step_by(7) {
            assert!(parse(PlanKind::Workout, &json[..end]).is_err(), "cut at {end}");
        }
    }
}
