//! Plans as text for a person to read in a terminal.

mod meal;
mod workout;

use serde_json::Value;

pub(crate) use meal::meal_plan;
pub(crate) use workout::workout_plan;

/// Where long lines are broken, columns.
const LINE: usize = 100;

/// The text at `key`, empty if there is none. Control characters are removed, because the
/// text comes from a model and goes to a terminal.
fn text(value: &Value, key: &str) -> String {
    value[key].as_str().map(printable).unwrap_or_default()
}

/// The number at `key`, 0 if there is none.
fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_default()
}

/// The elements at `key`, none if there is no array.
fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts at `key`, joined by commas.
fn texts(value: &Value, key: &str) -> String {
    let texts: Vec<_> = items(value, key).iter().filter_map(Value::as_str).map(printable).collect();
    texts.join(", ")
}

/// The parts that are not empty, joined by dots.
fn dotted<const N: usize>(parts: [String; N]) -> String {
    let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join(" · ")
}

/// `text` after `label`, wrapped into lines that are indented below the first.
fn labelled(label: &str, text: &str) -> String {
    let mut out = label.to_owned();
    let indent = label.chars().count();
    let mut column = indent;
    for (index, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > LINE {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The name of an enum value as words: `goal_weight` as "Goal weight".
fn capitalised(text: &str) -> String {
    let words = text.replace('_', " ");
    let mut rest = words.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_at_blanks_and_indented() {
        let text = "word ".repeat(30);
        let shown = labelled("Tip  ", &text);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("Tip  word word") && lines[0].len() <= LINE, "{shown}");
        assert!(lines[1].starts_with("     word"), "{shown}");
        assert_eq!(labelled("To drink ", ""), "To drink \n");
    }
}
