//! Impossible numbers, by the ranges of the master schema, which are stated
//! only there.

use regimen_common::job::PlanKind;
use serde_json::Value;

use super::violation::Violation;
use crate::plan::schema;

/// Records every number outside its range.
pub(super) fn check(kind: PlanKind, json: &Value, violations: &mut Vec<Violation>) {
    walk(json, schema(kind), &mut String::new(), violations);
}

fn walk(value: &Value, schema: &Value, at: &mut String, violations: &mut Vec<Violation>) {
    let length = at.len();
    match value {
        Value::Number(number) => {
            let value = number.as_f64().unwrap_or_default();
            let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
            let low = bound("minimum").is_some_and(|low| value < low);
            if low || bound("maximum").is_some_and(|high| value > high) {
                violations.push(Violation::OutOfRange { at: at.clone(), value });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push_str(&format!("/{index}"));
                walk(item, &schema["items"], at, violations);
                at.truncate(length);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                at.push('/');
                at.push_str(key);
                walk(member, &schema["properties"][key], at, violations);
                at.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
