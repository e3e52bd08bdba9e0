//! The limits of every value of the answers, known field or not: unknown fields
//! are stored with the rest, so they must be harmless too.

use serde_json::{Map, Value};

use super::problem::Problems;

/// Longest text in an answer, in characters.
pub const MAX_TEXT_CHARS: usize = 2_000;
/// Longest answer to a question with options, and longest list item.
pub const MAX_CHOICE_CHARS: usize = 200;
/// Longest list.
pub const MAX_ITEMS: usize = 50;
/// Most fields of one object.
pub const MAX_FIELDS: usize = 100;
/// Longest field name, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Deepest nesting; the answers object itself is level 1.
pub const MAX_DEPTH: usize = 6;

/// Records every value of the answers that exceeds a limit.
pub(super) fn check(answers: &Map<String, Value>, problems: &mut Problems) {
    check_object(answers, "", 1, problems);
}

/// Recursion ends at [`MAX_DEPTH`], whatever the input.
fn check_value(value: &Value, pointer: &str, depth: usize, problems: &mut Problems) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => check_text(text, pointer, problems),
        Value::Array(_) | Value::Object(_) if depth > MAX_DEPTH => {
            problems.add(pointer, format!("is nested deeper than {MAX_DEPTH} levels"));
        }
        Value::Array(items) => check_list(items, pointer, depth, problems),
        Value::Object(fields) => check_object(fields, pointer, depth, problems),
    }
}

fn check_text(text: &str, pointer: &str, problems: &mut Problems) {
    if text.contains('\0') {
        problems.add(pointer, "contains a NUL character, which cannot be stored; remove it");
    } else if longer_than(text, MAX_TEXT_CHARS) {
        problems.add(pointer, format!("is longer than {MAX_TEXT_CHARS} characters"));
    }
}

fn check_list(items: &[Value], pointer: &str, depth: usize, problems: &mut Problems) {
    if items.len() > MAX_ITEMS {
        problems.add(pointer, format!("has more than {MAX_ITEMS} items"));
        return;
    }
    for (index, item) in items.iter().enumerate() {
        check_value(item, &format!("{pointer}/{index}"), depth + 1, problems);
    }
}

fn check_object(fields: &Map<String, Value>, pointer: &str, depth: usize, problems: &mut Problems) {
    if fields.len() > MAX_FIELDS {
        problems.add(pointer, format!("has more than {MAX_FIELDS} fields"));
        return;
    }
    for (name, value) in fields {
        if problems.is_full() {
            return;
        }
        if longer_than(name, MAX_NAME_CHARS) || name.contains('\0') {
            let rule = format!("at most {MAX_NAME_CHARS} characters and no NUL");
            problems.add(pointer, format!("has a field whose name is not allowed: {rule}"));
        } else {
            check_value(value, &format!("{pointer}/{}", escape(name)), depth + 1, problems);
        }
    }
}

/// Whether a text has more than `max` characters, without counting all of a huge one.
pub(super) fn longer_than(text: &str, max: usize) -> bool {
    // A character is a byte at least.
    text.len() > max && text.chars().nth(max).is_some()
}

/// A field name as one step of an RFC 6901 pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
