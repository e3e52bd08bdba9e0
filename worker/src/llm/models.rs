//! Reads the list of models that a provider has for our key.

use serde_json::Value;

/// Whether the answer lists `model`; nothing where it is no list.
pub fn lists(answer: &Value, model: &str) -> Option<bool> {
    let list = answer.get("data").or_else(|| answer.get("models"))?.as_array()?;
    let ids = list.iter().filter_map(|entry| {
        let id = entry.get("id").or_else(|| entry.get("name"))?.as_str()?;
        Some(id.strip_prefix("models/").unwrap_or(id))
    });
    // An id may stand for the newest of several with a date behind it.
    let mut ids = ids.filter_map(|id| id.strip_prefix(model));
    Some(ids.any(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_date)))
}

/// `20251001` or `2025-10-01`.
fn is_date(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_is_found_in_each_providers_list() {
        let openai = json!({"object": "list", "data": [{"id": "gpt-6-luna"}, {"id": "gpt-6"}]});
        assert_eq!(lists(&openai, "gpt-6-luna"), Some(true));
        assert_eq!(lists(&openai, "gpt-6-lun"), Some(false));
        let anthropic = json!({"data": [{"id": "claude-haiku-4-5-20251001"}]});
        assert_eq!(lists(&anthropic, "claude-haiku-4-5"), Some(true));
        assert_eq!(lists(&anthropic, "claude-haiku-4"), Some(false));
        let gemini = json!({"models": [{"name": "models/gemini-3.5-flash-lite"}]});
        assert_eq!(lists(&gemini, "gemini-3.5-flash-lite"), Some(true));
        assert_eq!(lists(&gemini, "gemini-3.5-flash"), Some(false));
        assert_eq!(lists(&json!({"error": {}}), "x"), None);
    }
}
