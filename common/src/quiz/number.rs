//! Numbers as clients write them: JSON numbers, or text such as `"80.5"`.
//!
//! Text is read by our own small grammar and not by `f64::from_str`, because
//! that one accepts `"NaN"`, `"inf"` and `"1e999"`.

use serde_json::Value;

/// Longer digit strings are not measurements of people.
const MAX_TEXT: usize = 32;

/// The number in a JSON value: a finite JSON number, or decimal text.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
        Value::String(text) => decimal(text),
        _ => None,
    }
}

/// Reads `"80"`, `" 80.5 "`, `"80,5"`, `"-3"`: a sign, digits, one decimal mark.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',');
    if !plain || text.len() > MAX_TEXT {
        return None;
    }
    text.replace(',', ".").parse().ok()
}

/// The whole number in a JSON value; `30.0` and `"30"` are 30, `30.5` is none.
pub(super) fn whole(value: &Value) -> Option<i64> {
    let number = number(value)?;
    let fits = number.fract() == 0.0 && number.abs() <= 1e15;
    // In range and without a fraction, so the cast is exact.
    fits.then_some(number as i64)
}

/// Whether a value says nothing: null, or text without a visible character.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_clients_write() {
        for (value, expected) in [
            (json!(80), 80.0),
            (json!(80.5), 80.5),
            (json!("80"), 80.0),
            (json!(" 80.5 "), 80.5),
            (json!("80,5"), 80.5),
            (json!("-3"), -3.0),
            (json!(".5"), 0.5),
        ] {
            assert_eq!(number(&value), Some(expected), "{value}");
        }
    }

    #[test]
    fn refuses_what_is_no_finite_decimal() {
        let long = "1".repeat(33);
        for text in ["", "NaN", "inf", "1e999", "1e3", "0x10", "1.2.3", "--1", "٣", ".", &long] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
        assert_eq!(number(&json!(true)), None);
        assert_eq!(number(&json!([80])), None);
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(whole(&json!(30.0)), Some(30));
        assert_eq!(whole(&json!("30")), Some(30));
        assert_eq!(whole(&json!(30.5)), None);
        assert_eq!(whole(&json!(1e300)), None);
    }
}
