//! Plain numbers as people write them: JSON numbers, or text such as `"80.5"`,
//! `"34 years"`, `"22,5 %"`, `"7/10"`, in the digits of any script.
//!
//! Text is parsed by our own small grammar and not by `f64::from_str`, because
//! that accepts `"NaN"`, `"inf"` and `"1e999"`.

use serde_json::Value;

use super::tokens::{Number, Token, Unreadable, folded, tokens};
use super::words::Unit;

/// The number in a JSON value: a finite JSON number, or text with only a number.
pub(super) fn number(value: &Value) -> Option<f64> {
    match unmarked(read(value)?)[..] {
        [Token::Number(number)] => Some(number.value),
        _ => None,
    }
}

/// Whether a value is meant as a number, even an impossible one.
pub(super) fn is_number(value: &Value) -> bool {
    let text = match value {
        Value::Number(_) => return true,
        Value::String(text) => text,
        _ => return false,
    };
    match tokens(text) {
        Ok(tokens) => matches!(tokens[..], [Token::Number(_)]),
        Err(unreadable) => unreadable != Unreadable::Unknown,
    }
}

/// A number, with or without its only possible unit.
pub(super) fn number_of(value: &Value, unit: Unit) -> Option<f64> {
    match unmarked(read(value)?)[..] {
        [Token::Number(number)] => Some(number.value),
        [Token::Number(number), Token::Unit { units, .. }]
        | [Token::Unit { units, .. }, Token::Number(number)]
            if units == [unit] =>
        {
            Some(number.value)
        }
        _ => None,
    }
}

/// A level: a number, or one "out of 10".
pub(super) fn level(value: &Value) -> Option<f64> {
    match read(value)?[..] {
        [Token::Number(number), Token::Break, Token::Number(Number { value: 10.0, .. })] => {
            Some(number.value)
        }
        _ => number(value),
    }
}

/// Without the marks between a name, a number and its unit: "age: 34 (years)",
/// "34-year-old".
fn unmarked(mut tokens: Vec<Token>) -> Vec<Token> {
    tokens.retain(|token| !matches!(token, Token::Separator | Token::Break));
    if let [Token::Number(_), Token::Dash, Token::Unit { .. }, ..] = tokens[..] {
        tokens.retain(|token| *token != Token::Dash);
    }
    tokens
}

fn read(value: &Value) -> Option<Vec<Token>> {
    match value {
        Value::Number(number) => tokens(&number.to_string()).ok(),
        Value::String(text) => tokens(text).ok(),
        _ => None,
    }
}

/// A number without a fraction.
pub(super) fn whole(number: f64) -> Option<u8> {
    let fits = number.fract() == 0.0 && (0.0..=255.0).contains(&number);
    // In range and without a fraction, so the cast is exact.
    fits.then_some(number as u8)
}

/// Whether a value is empty: null, or text without a visible character.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// Whether an amount is empty: blank, zero, or what scripts write for "no number".
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => {
            let text = folded(text);
            let no_number =
                matches!(text.trim(), "nan" | "null" | "undefined" | "none" | "n/a" | "-" | "--");
            no_number || is_blank(value) || text.trim().is_empty() || is_zero(&text)
        }
        _ => is_blank(value),
    }
}

fn is_zero(text: &str) -> bool {
    let zero = |token: &Token| match token {
        Token::Number(number) => number.value == 0.0,
        Token::Unit { .. } => true,
        _ => false,
    };
    tokens(text).is_ok_and(|tokens| {
        matches!(tokens.first(), Some(Token::Number(_))) && tokens.iter().all(zero)
    })
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
            (json!(".5"), 0.5),
            (json!("1e2"), 100.0),
            (json!("٣٤"), 34.0),
            (json!("３４"), 34.0),
            (json!("thirty-four"), 34.0),
            (json!("1,234.5"), 1234.5),
        ] {
            assert_eq!(number(&value), Some(expected), "{value}");
        }
    }

    #[test]
    fn refuses_what_is_no_finite_decimal() {
        let long = "1".repeat(33);
        for text in [
            "", "NaN", "inf", "1e999", "0x10", "1.2.3", "--1", ".", "-3", "30-35", "1.5.1990",
            &long,
        ] {
            assert_eq!(number(&json!(text)), None, "{text:?}");
        }
        assert_eq!(number(&json!(true)), None);
        assert_eq!(number(&json!([80])), None);
        assert_eq!(number(&json!(1e300)), None);
    }

    #[test]
    fn units_and_scales_may_stand_beside_a_number() {
        for text in [
            "34 years",
            "34 Jahre",
            "34 ans",
            "34yo",
            "34 y/o",
            "34 years old",
            "34 лет",
            "34歳",
            "34y",
        ] {
            assert_eq!(number_of(&json!(text), Unit::Year), Some(34.0), "{text}");
        }
        assert_eq!(number_of(&json!("34 kg"), Unit::Year), None);
        assert_eq!(number_of(&json!("22,5 %"), Unit::Percent), Some(22.5));
        for text in ["7", "7/10", "7 out of 10"] {
            assert_eq!(level(&json!(text)), Some(7.0), "{text}");
        }
        assert_eq!(level(&json!("7/9")), None);
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(whole(30.0), Some(30));
        assert_eq!(whole(30.5), None);
        assert_eq!(whole(-1.0), None);
        assert_eq!(whole(1e300), None);
    }
}
