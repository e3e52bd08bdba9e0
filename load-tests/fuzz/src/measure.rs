//! The parser of lengths and weights, as text, as number and as object.

use regimen_common::quiz::measure::{parse_length, parse_weight};
use serde_json::Value;

/// What converts to more than this is not accepted.
const MOST: f64 = 1e8;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(&Value::String(text.to_owned()));
        for unit in ["cm", "ft", "inch", "kg", "lbs"] {
            check(&serde_json::json!({ unit: text }));
        }
    }
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        check(&value);
    }
}

fn check(value: &Value) {
    if let Ok(length) = parse_length(value) {
        let cm = length.cm();
        assert!(cm.is_finite() && (0.0..=MOST).contains(&cm), "{cm} of {value}");
        shown(&length.to_string());
    }
    if let Ok(weight) = parse_weight(value) {
        let kg = weight.kg();
        assert!(kg.is_finite() && (0.0..=MOST).contains(&kg), "{kg} of {value}");
        shown(&weight.to_string());
        // What people are shown is read back as what was meant, to the decimal shown.
        let again = parse_weight(&Value::String(weight.to_string()));
        assert!(again.is_ok_and(|again| (again.kg() - kg).abs() <= 0.051), "{weight} of {value}");
    }
}

fn shown(text: &str) {
    assert!(text.len() < 100 && !text.contains("NaN") && !text.contains("inf"), "{text}");
}
