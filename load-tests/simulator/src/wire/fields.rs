//! Compares a request body with the fields that a service knows.

use serde_json::Value;

/// The allowed values of a field.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    Whole,
    Number,
    Flag,
    /// Any value; checked elsewhere or not at all.
    Any,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An object of exactly these fields.
    Object(&'static [Field]),
    /// An object with any keys.
    Map,
    /// A list of these.
    List(&'static Kind),
    /// A text or a list of these.
    TextOr(&'static Kind),
}

/// A field a service knows.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// An optional field.
pub(crate) const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false }
}

/// A required field.
pub(crate) const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: true }
}

/// The first problem of a body. Paths read `messages[0].role`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    Unknown { path: String },
    Missing { path: String },
    Type { path: String, expected: &'static str, got: &'static str },
    Word { path: String, got: String, allowed: &'static [&'static str] },
}

/// Searches `body` for the first problem.
pub(crate) fn check(body: &Value, fields: &'static [Field]) -> Option<Finding> {
    object(body, fields, "")
}

fn object(value: &Value, fields: &'static [Field], path: &str) -> Option<Finding> {
    let Some(map) = value.as_object() else { return mismatch(value, path, "an object") };
    let inner = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    };
    for name in map.keys() {
        if !fields.iter().any(|field| field.name == name) {
            return Some(Finding::Unknown { path: inner(name) });
        }
    }
    for field in fields {
        let found = match map.get(field.name) {
            None if field.required => Some(Finding::Missing { path: inner(field.name) }),
            None => None,
            Some(Value::Null) if !field.required => None,
            Some(value) => one(value, &field.kind, &inner(field.name)),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn one(value: &Value, kind: &'static Kind, path: &str) -> Option<Finding> {
    match kind {
        Kind::Any => None,
        Kind::Text => expect(value.is_string(), value, path, "a string"),
        Kind::Whole => expect(value.is_i64() || value.is_u64(), value, path, "an integer"),
        Kind::Number => expect(value.is_number(), value, path, "a number"),
        Kind::Flag => expect(value.is_boolean(), value, path, "a boolean"),
        Kind::Map => expect(value.is_object(), value, path, "an object"),
        Kind::Object(fields) => object(value, fields, path),
        Kind::List(kind) => list(value, kind, path),
        Kind::TextOr(kind) if value.is_array() => list(value, kind, path),
        Kind::TextOr(_) => expect(value.is_string(), value, path, "a string or an array"),
        Kind::Word(allowed) => word(value, allowed, path),
    }
}

fn list(value: &Value, kind: &'static Kind, path: &str) -> Option<Finding> {
    let Some(items) = value.as_array() else { return mismatch(value, path, "an array") };
    items.iter().enumerate().find_map(|(index, item)| one(item, kind, &format!("{path}[{index}]")))
}

fn word(value: &Value, allowed: &'static [&'static str], path: &str) -> Option<Finding> {
    let Some(text) = value.as_str() else { return mismatch(value, path, "a string") };
    let finding = || Finding::Word { path: path.to_owned(), got: text.to_owned(), allowed };
    (!allowed.contains(&text)).then(finding)
}

fn expect(holds: bool, value: &Value, path: &str, expected: &'static str) -> Option<Finding> {
    if holds { None } else { mismatch(value, path, expected) }
}

fn mismatch(value: &Value, path: &str, expected: &'static str) -> Option<Finding> {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Some(Finding::Type { path: path.to_owned(), expected, got })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static PART: &[Field] = &[must("type", Kind::Word(&["text"])), may("text", Kind::Text)];
    static FIELDS: &[Field] = &[
        must("model", Kind::Text),
        may("count", Kind::Whole),
        may("parts", Kind::TextOr(&Kind::Object(PART))),
    ];

    #[test]
    fn a_known_body_passes_and_nulls_count_as_absent() {
        assert_eq!(
            check(&json!({"model": "m", "count": null, "parts": [{"type": "text"}]}), FIELDS),
            None
        );
    }

    #[test]
    fn the_first_fault_is_named_with_its_path() {
        let unknown = check(&json!({"model": "m", "parts": [{"type": "text", "x": 1}]}), FIELDS);
        assert_eq!(unknown, Some(Finding::Unknown { path: "parts[0].x".to_owned() }));
        let missing = check(&json!({"parts": "x"}), FIELDS);
        assert_eq!(missing, Some(Finding::Missing { path: "model".to_owned() }));
        let wrong = check(&json!({"model": "m", "count": 1.5}), FIELDS);
        assert!(matches!(wrong, Some(Finding::Type { expected: "an integer", .. })));
        let word = check(&json!({"model": "m", "parts": [{"type": "image"}]}), FIELDS);
        assert!(matches!(word, Some(Finding::Word { .. })));
    }
}
