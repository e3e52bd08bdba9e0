//! Reads texts and counts from a host's JSON, in their various shapes.

use serde_json::Value;

/// The model's text in `content`: a string, a part, or a list of parts. Reasoning and
/// other kinds of parts are not text.
pub(super) fn text_in(content: &Value) -> String {
    let mut text = String::new();
    gather(content, &mut text);
    text
}

fn gather(content: &Value, text: &mut String) {
    match content {
        Value::String(words) => text.push_str(words),
        Value::Array(parts) => parts.iter().for_each(|part| gather(part, text)),
        Value::Object(part) => {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
            let thought = part.get("thought").is_some_and(|thought| *thought == true);
            if matches!(kind, "text" | "output_text" | "text_delta") && !thought {
                let words = part.get("text").or_else(|| part.get("content"));
                match words {
                    Some(Value::Object(inner)) => {
                        gather(inner.get("value").unwrap_or(&Value::Null), text);
                    }
                    Some(words) => gather(words, text),
                    None => {}
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A count, also as a text or with a fraction; 0 if it is not a number.
pub(super) fn count(value: &Value) -> u64 {
    let number = match value {
        Value::Number(number) => number.as_u64().map_or_else(|| number.as_f64(), |_| None),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    let counted = number.filter(|number| number.is_finite() && *number >= 0.0);
    // A cast saturates; too large values are detected by their bounds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    value.as_u64().or(counted.map(|number| number.round() as u64)).unwrap_or_default()
}

/// A text; empty if there is none. Numbers are converted to text.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// The finish reason; empty if there is none. Some hosts write it as an object, and its
/// absence as a word.
pub(super) fn reason(value: &Value) -> String {
    let reason = match value {
        Value::Object(fields) => {
            ["type", "reason"].iter().filter_map(|name| fields.get(*name)).map(word).next()
        }
        value => Some(word(value)),
    };
    let given = |reason: &String| {
        !["null", "none", "undefined"].iter().any(|none| reason.trim().eq_ignore_ascii_case(none))
    };
    reason.filter(given).unwrap_or_default()
}

/// Merges `latest` into `kept`: its fields replace, missing ones stay.
pub(super) fn merge(kept: &mut Value, latest: Value) {
    match (kept, latest) {
        (Value::Object(kept), Value::Object(latest)) => {
            for (name, value) in latest {
                if is_there(&value) || !kept.contains_key(&name) {
                    kept.insert(name, value);
                }
            }
        }
        (kept, latest) if is_there(&latest) || kept.is_null() => *kept = latest,
        _ => {}
    }
}

/// Whether there is a value other than zero.
pub(super) fn is_there(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => list.iter().any(is_there),
        Value::Object(fields) => fields.values().any(is_there),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_found_in_every_shape_and_thoughts_are_none() {
        for content in [
            json!("ab"),
            json!({"type": "text", "text": "ab"}),
            json!([{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "ab"}]),
            json!([{"type": "output_text", "text": "a"}, "b", null]),
            json!([{"text": "ab"}, {"text": "x", "thought": true}, {"type": "reasoning", "text": "x"}]),
            json!({"type": "text", "text": {"value": "ab", "annotations": []}}),
        ] {
            assert_eq!(text_in(&content), "ab", "{content}");
        }
        assert_eq!(text_in(&json!(null)), "");
    }

    #[test]
    fn a_reason_for_stopping_is_read_in_every_shape() {
        for none in [json!(null), json!(""), json!("null"), json!("None"), json!({}), json!([])] {
            assert_eq!(reason(&none), "", "{none}");
        }
        assert_eq!(reason(&json!({"type": "length", "length": 5})), "length");
        assert_eq!(reason(&json!({"reason": "stop"})), "stop");
        assert_eq!(reason(&json!("eos")), "eos");
    }

    #[test]
    fn what_says_nothing_undoes_nothing() {
        let mut kept = json!({"prompt_tokens": 9, "x": null});
        merge(&mut kept, json!({"prompt_tokens": 0, "completion_tokens": 5, "x": 1}));
        assert_eq!(kept, json!({"prompt_tokens": 9, "completion_tokens": 5, "x": 1}));
        for nothing in [json!(null), json!(""), json!([]), json!({}), json!(0)] {
            merge(&mut kept, nothing);
        }
        assert_eq!(kept["prompt_tokens"], 9);
        let mut none = Value::Null;
        merge(&mut none, json!({"a": 0}));
        assert_eq!(none, json!({"a": 0}));
    }

    #[test]
    fn counts_are_read_where_they_say_something() {
        let cases = [
            (json!(900), 900),
            (json!(900.0), 900),
            (json!("900"), 900),
            (json!(" 900.4 "), 900),
            (json!(null), 0),
            (json!(-35), 0),
            (json!("-1"), 0),
            (json!(""), 0),
            (json!("many"), 0),
            (json!({}), 0),
            (json!([900]), 0),
            (json!(18_446_744_073_709_551_581_u64), 18_446_744_073_709_551_581),
            (json!("NaN"), 0),
            (json!("inf"), 0),
        ];
        for (value, right) in cases {
            assert_eq!(count(&value), right, "{value}");
        }
    }
}
