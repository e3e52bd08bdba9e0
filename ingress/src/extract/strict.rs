//! Reads a JSON text, and refuses what every route refuses.
//!
//! Duplicate keys are read differently by different parsers, Postgres stores no
//! NUL in texts, an unpaired surrogate is not a character, and unlimited
//! nesting and lists cost memory. All of these are refused here, once, with a
//! pointer to the place.

mod surrogates;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::escaped;
use crate::error::{ApiError, FieldError};

const MAX_DEPTH: usize = 32;
const MAX_ITEMS: usize = 1_000;
const MAX_TEXT_CHARS: usize = 10_000;
const MAX_FINDINGS: usize = 20;

/// The value of a text.
///
/// # Errors
/// 400 when `text` is not JSON or too deep, 422 with pointers for the rest.
pub(super) fn read(text: &str) -> Result<Value, ApiError> {
    let mut scan = Scan::default();
    let mut read = scan.read(text);
    // The parser stops at an unpaired surrogate without reporting its place.
    if read.is_err()
        && let Some(marked) = surrogates::marked(text)
    {
        scan = Scan { halves_are_marked: true, ..Scan::default() };
        read = scan.read(&marked);
    }
    match read {
        // The findings say why the scan stopped.
        Err(error) if !scan.gave_up => {
            Err(ApiError::BadRequest(format!("the body is not valid JSON: {error}")))
        }
        Ok(value) if scan.findings.is_empty() => Ok(value),
        _ => Err(ApiError::Invalid(scan.findings)),
    }
}

#[derive(Default)]
struct Scan {
    /// The place, one step per level. Written out only for a finding, because almost
    /// every body has none.
    path: Vec<Step>,
    findings: Vec<FieldError>,
    /// Whether the scan stopped early, at something without end.
    gave_up: bool,
    /// Whether [`surrogates::MARK`] replaces an unpaired surrogate.
    halves_are_marked: bool,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Scan {
    fn read(&mut self, text: &str) -> serde_json::Result<Value> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = Node(self).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    }

    fn find(&mut self, message: &str) {
        if self.findings.len() < MAX_FINDINGS {
            let token = |step: &Step| match step {
                Step::Key(key) => format!("/{}", escaped(key)),
                Step::Index(index) => format!("/{index}"),
            };
            let pointer = self.path.iter().map(token).collect();
            self.findings.push(FieldError { pointer, message: message.to_owned() });
        }
    }

    /// Reports something without end and stops the scan.
    fn give_up<E: Error>(&mut self, message: &str) -> E {
        self.path.pop();
        self.find(message);
        self.gave_up = true;
        E::custom(message)
    }

    fn check_text(&mut self, text: &str) {
        faults(text, self.halves_are_marked).for_each(|fault| self.find(fault));
    }

    fn descend<E: Error>(&mut self, step: Step) -> Result<(), E> {
        if self.path.len() >= MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.path.push(step);
        Ok(())
    }
}

/// What is wrong with a text or a key.
fn faults(text: &str, halves_are_marked: bool) -> impl Iterator<Item = &'static str> + use<> {
    let holds_nul = text.contains('\0');
    let holds_half = halves_are_marked && text.contains(surrogates::MARK);
    // A char is at least one byte, so short texts need no counting.
    let is_long = text.len() > MAX_TEXT_CHARS && text.chars().count() > MAX_TEXT_CHARS;
    let all = [
        (holds_nul, "holds the character NUL, which cannot be stored; leave it out"),
        (
            holds_half,
            "holds half of a surrogate pair (\\ud800 to \\udfff), which is no character; leave it out",
        ),
        (is_long, "is longer than 10000 characters; shorten it"),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, fault)| fault)
}

struct Node<'a>(&'a mut Scan);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        self.0.check_text(text);
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let scan = self.0;
        let mut values = Vec::new();
        scan.descend(Step::Index(0))?;
        while let Some(value) = items.next_element_seed(Node(scan))? {
            values.push(value);
            if values.len() > MAX_ITEMS {
                return Err(scan.give_up("has more than 1000 items; send fewer"));
            }
            scan.path.pop();
            scan.path.push(Step::Index(values.len()));
        }
        scan.path.pop();
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let scan = self.0;
        let mut members = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let faults = faults(&key, scan.halves_are_marked);
            let is_new = !members.contains_key(&key);
            scan.descend(Step::Key(key))?;
            if members.len() >= MAX_ITEMS {
                return Err(scan.give_up("has more than 1000 members; send fewer"));
            }
            faults.for_each(|fault| scan.find(fault));
            if !is_new {
                scan.find("is given twice; send it once");
            }
            let value = entries.next_value_seed(Node(scan))?;
            if let Some(Step::Key(key)) = scan.path.pop() {
                members.insert(key, value);
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        match read(text) {
            Ok(_) => Vec::new(),
            Err(ApiError::Invalid(errors)) => {
                errors.into_iter().map(|error| error.pointer).collect()
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn ordinary_json_passes() {
        let text = r#"{"a":[1,-2,3.5,true,null,"text"],"b":{"a":{"a":[]}},"":{}}"#;
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn keys_given_twice_are_found_wherever_they_are() {
        assert_eq!(found(r#"{"a":1,"a":2}"#), ["/a"]);
        assert_eq!(found(r#"[0,{"b":{"a/b":1,"x":{"a/b":1},"a\/b":2}}]"#), ["/1/b/a~1b"]);
        assert_eq!(found(r#"{"a":1,"\u0061":2}"#), ["/a"]);
    }

    #[test]
    fn nul_is_found_in_texts_and_keys() {
        assert_eq!(found(r#"{"a":["x","y\u0000"]}"#), ["/a/1"]);
        assert_eq!(found(r#"{"a\u0000":1}"#), ["/a"]);
    }

    #[test]
    fn half_a_surrogate_is_found_wherever_it_stands() {
        assert_eq!(found(r#"{"a":"knee \ude00"}"#), ["/a"]);
        assert_eq!(
            found(r#"{"a":[1,"\ud83d"],"b":"\ud83dx","c":"\ud83d\u0041"}"#),
            ["/a/1", "/b", "/c"]
        );
        assert_eq!(found(r#"{"a":"\ud83d\ud83d\ude00"}"#), ["/a"], "one too many before a pair");
        assert_eq!(found(r#"{"a\ud83d":1}"#), ["/a\u{fffd}"]);
        assert_eq!(found(r#"{"a":"\ud83d\ude00","b":"\\ud83d","c":"\uffff"}"#), [""; 0]);
        assert!(matches!(read(r#"{"a":"\ud83d""#), Err(ApiError::BadRequest(_))), "cut off");
        assert!(matches!(read(r#"{"a":"\ud83"}"#), Err(ApiError::BadRequest(_))), "no escape");
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(found(&format!("{{\"a\":\"{}\"}}", "ä".repeat(10_001))), ["/a"]);
        assert_eq!(found(&format!("{{\"a\":\"{}\"}}", "ä".repeat(10_000))), [""; 0]);
        assert_eq!(found(&format!("{{\"a\":[{}0]}}", "0,".repeat(1_000))), ["/a"]);
        assert_eq!(found(&format!("[{}0]", "\"\\u0000\",".repeat(100))).len(), MAX_FINDINGS);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(32)).is_ok());
        assert!(matches!(read(&nested(33)), Err(ApiError::BadRequest(_))));
        assert!(matches!(read(&"[".repeat(200_000)), Err(ApiError::BadRequest(_))));
    }
}
