//! Fits a value to a request's JSON schema, like a provider's structured
//! output: key order, enums, types, missing and unknown keys.

use serde_json::{Map, Value};

/// `value` in the shape of `schema`.
pub(crate) fn conform(value: Value, schema: &Value) -> Value {
    fit(value, schema, schema)
}

fn fit(value: Value, schema: &Value, root: &Value) -> Value {
    let schema = resolve(schema, root);
    if let Some(options) = schema["enum"].as_array() {
        return one_of(value, options);
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    match kind(schema) {
        Some("object") => object(value, schema, root),
        Some("array") => array(value, schema, root),
        Some("string") => text(value),
        Some("integer") => number(value, true),
        Some("number") => number(value, false),
        Some("boolean") => Value::Bool(value.as_bool().unwrap_or_default()),
        _ => value,
    }
}

/// Resolves a reference to the schema's definitions, one level deep.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
    target.and_then(|path| root.pointer(path)).unwrap_or(schema)
}

/// The type; of a union the first that is not null. OpenAPI types are upper case.
fn kind(schema: &Value) -> Option<&'static str> {
    let named = schema["type"].as_str().or_else(|| {
        let types = schema["type"].as_array()?;
        types.iter().filter_map(Value::as_str).find(|kind| *kind != "null")
    })?;
    let kinds = ["object", "array", "string", "integer", "number", "boolean"];
    kinds.into_iter().find(|kind| kind.eq_ignore_ascii_case(named))
}

fn one_of(value: Value, options: &[Value]) -> Value {
    let plain = |text: &str| text.to_lowercase().replace([' ', '-'], "_");
    let wanted = value.as_str().map(plain);
    let same = |option: &&Value| {
        **option == value || (wanted.is_some() && option.as_str().map(plain) == wanted)
    };
    options.iter().find(same).or_else(|| options.first()).cloned().unwrap_or(value)
}

fn object(value: Value, schema: &Value, root: &Value) -> Value {
    let mut given = match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let Some(properties) = schema["properties"].as_object() else { return Value::Object(given) };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fitted = Map::new();
    for (name, inner) in properties {
        let known = given.remove(name);
        if known.is_some() || required.contains(&name.as_str()) {
            fitted.insert(name.clone(), fit(known.unwrap_or_default(), inner, root));
        }
    }
    if schema["additionalProperties"] != Value::Bool(false) {
        fitted.append(&mut given);
    }
    Value::Object(fitted)
}

fn array(value: Value, schema: &Value, root: &Value) -> Value {
    let mut items = match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        single => vec![single],
    };
    if let Some(most) = schema["maxItems"].as_u64().and_then(|most| usize::try_from(most).ok()) {
        items.truncate(most);
    }
    Value::Array(items.into_iter().map(|item| fit(item, &schema["items"], root)).collect())
}

fn text(value: Value) -> Value {
    match value {
        Value::String(_) => value,
        Value::Null => Value::String(String::new()),
        Value::Array(items) => {
            let parts: Vec<String> = items
                .into_iter()
                .filter_map(|item| text(item).as_str().map(str::to_owned))
                .collect();
            Value::String(parts.join(" "))
        }
        other => Value::String(other.to_string()),
    }
}

fn number(value: Value, whole: bool) -> Value {
    let given = value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default();
    if whole || given.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "plan figures are far below 2^53")]
        return Value::from(given.round() as i64);
    }
    Value::from(given)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_follow_the_schema_and_its_types() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["b", "a", "c"],
            "properties": {
                "b": {"type": "integer"},
                "a": {"type": "string"},
                "c": {"type": "array", "items": {"type": "string", "enum": ["Low", "High"]}},
            }
        });
        let fitted =
            conform(json!({"a": ["x", "y"], "b": 2.6, "extra": 1, "c": ["high"]}), &schema);
        assert_eq!(fitted, json!({"b": 3, "a": "x y", "c": ["High"]}));
        let empty = conform(json!({}), &schema);
        assert_eq!(empty, json!({"b": 0, "a": "", "c": []}));
    }

    #[test]
    fn references_and_upper_case_types_are_understood() {
        let schema = json!({
            "type": "OBJECT", "properties": {"x": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"type": "ARRAY", "items": {"type": "STRING"}}}
        });
        assert_eq!(conform(json!({"x": "one"}), &schema)["x"], json!(["one"]));
    }
}
