//! The parser of lengths and weights, from text, number and object.

use regimen_common::quiz::measure::{HEIGHT, HIP, NECK, WAIST, WEIGHT, parse_length, parse_weight};
use serde_json::Value;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(&Value::String(text.to_owned()));
        for unit in ["cm", "m", "ft", "inch", "kg", "lbs", "st", "value"] {
            check(&serde_json::json!({ unit: text }));
        }
    }
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        check(&value);
    }
}

fn check(value: &Value) {
    for bounds in [&HEIGHT, &NECK, &WAIST, &HIP] {
        if let Ok(length) = parse_length(value, bounds) {
            let cm = length.cm();
            assert!(bounds.allowed.contains(&cm), "{cm} of {value}");
            // The text shown to users is parsed to the same value.
            let again = parse_length(&shown(&length.to_string()), bounds);
            assert!(
                again.is_ok_and(|again| (again.cm() - cm).abs() <= 0.051),
                "{length} of {value}"
            );
        }
    }
    if let Ok(weight) = parse_weight(value, &WEIGHT) {
        let kg = weight.kg();
        assert!(WEIGHT.allowed.contains(&kg), "{kg} of {value}");
        let again = parse_weight(&shown(&weight.to_string()), &WEIGHT);
        assert!(again.is_ok_and(|again| (again.kg() - kg).abs() <= 0.051), "{weight} of {value}");
    }
}

fn shown(text: &str) -> Value {
    assert!(text.len() < 100 && !text.contains("NaN") && !text.contains("inf"), "{text}");
    Value::from(text)
}
