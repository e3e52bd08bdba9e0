//! One pass over a JSON text for what no route wants, whatever it reads.
//!
//! Keys given twice are read differently by different readers, Postgres
//! stores no NUL in texts, and nesting and lists without bound cost memory:
//! all of that is refused here, once, with a pointer to the place.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::escaped;
use crate::error::{ApiError, FieldError};

const MAX_DEPTH: usize = 32;
const MAX_ITEMS: usize = 1_000;
const MAX_TEXT_CHARS: usize = 10_000;
const MAX_FINDINGS: usize = 20;

/// # Errors
/// 400 when `text` is not JSON or too deep, 422 with pointers for the rest.
pub(super) fn check(text: &str) -> Result<(), ApiError> {
    let mut scan = Scan::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Node(&mut scan)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| ApiError::BadRequest(format!("the body is not valid JSON: {error}")))?;
    if scan.findings.is_empty() { Ok(()) } else { Err(ApiError::Invalid(scan.findings)) }
}

#[derive(Default)]
struct Scan {
    /// The place, one reference token a level.
    path: Vec<String>,
    findings: Vec<FieldError>,
}

impl Scan {
    fn find(&mut self, message: &str) {
        if self.findings.len() < MAX_FINDINGS {
            let pointer = self.path.iter().map(|token| format!("/{token}")).collect();
            self.findings.push(FieldError { pointer, message: message.to_owned() });
        }
    }

    fn check_text(&mut self, text: &str) {
        if text.contains('\0') {
            self.find("holds the character NUL, which cannot be stored; leave it out");
        }
        // A char is at least one byte: short texts need no counting.
        if text.len() > MAX_TEXT_CHARS && text.chars().count() > MAX_TEXT_CHARS {
            self.find("is longer than 10000 characters; shorten it");
        }
    }

    fn descend<E: Error>(&mut self, token: String) -> Result<(), E> {
        if self.path.len() >= MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.path.push(token);
        Ok(())
    }
}

struct Node<'a>(&'a mut Scan);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.check_text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut count = 0;
        self.0.descend("0".to_owned())?;
        while items.next_element_seed(Node(self.0))?.is_some() {
            count += 1;
            self.0.path.pop();
            self.0.path.push(count.to_string());
        }
        self.0.path.pop();
        if count > MAX_ITEMS {
            self.0.find("has more than 1000 items; send fewer");
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.descend(escaped(&key))?;
            self.0.check_text(&key);
            if seen.contains(&key) {
                self.0.find("is given twice; send it once");
            }
            seen.insert(key);
            entries.next_value_seed(Node(self.0))?;
            self.0.path.pop();
        }
        if seen.len() > MAX_ITEMS {
            self.0.find("has more than 1000 members; send fewer");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        match check(text) {
            Ok(()) => Vec::new(),
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
    fn sizes_are_bounded() {
        assert_eq!(found(&format!("{{\"a\":\"{}\"}}", "ä".repeat(10_001))), ["/a"]);
        assert_eq!(found(&format!("{{\"a\":\"{}\"}}", "ä".repeat(10_000))), [""; 0]);
        assert_eq!(found(&format!("{{\"a\":[{}0]}}", "0,".repeat(1_000))), ["/a"]);
        assert_eq!(found(&format!("[{}0]", "\"\\u0000\",".repeat(100))).len(), MAX_FINDINGS);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(&nested(32)).is_ok());
        assert!(matches!(check(&nested(33)), Err(ApiError::BadRequest(_))));
        assert!(matches!(check(&"[".repeat(200_000)), Err(ApiError::BadRequest(_))));
    }
}
