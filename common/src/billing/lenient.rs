//! Field readers for JSON whose shape changes with Stripe's API version: a
//! field of an unexpected shape reads as absent, never as an error, so that one
//! unexpected field does not lose a whole event.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The field if it has the expected shape, else none.
pub(super) fn field<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// The elements of the expected shape in `[…]` or in Stripe's `{"data": […]}`.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let elements = match Value::deserialize(deserializer)? {
        Value::Array(elements) => elements,
        Value::Object(mut list) => match list.remove("data") {
            Some(Value::Array(elements)) => elements,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    Ok(elements.into_iter().filter_map(|element| serde_json::from_value(element).ok()).collect())
}

/// The id in an expandable field: an id, an object that has one, or null.
pub(super) fn reference<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(id_of(&Value::deserialize(deserializer)?))
}

/// The id in `value`, an expandable field.
pub(super) fn id_of(value: &Value) -> Option<String> {
    let id = match value {
        Value::Object(object) => object.get("id")?.as_str()?,
        other => other.as_str()?,
    };
    is_id(id).then(|| id.to_owned())
}

/// Whether `text` can be a Stripe id or type name: those are short and plain, and a
/// database can store and index them.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control)
}
