//! What words in answers mean, for prompts that ask for it instead of a plan.

use serde_json::json;

/// The line with the words; the last one counts.
const MARK: &str = "REGIMEN-WORDS: ";

/// Words no food table knows, and the key of what they stand for.
const KNOWN: [(&str, &str); 5] = [
    ("moo juice", "milk"),
    ("hen fruit", "egg"),
    ("grandmas hay fever", "not_food"),
    ("earth nugget", "peanut"),
    ("leafitarian", "vegan"),
];

/// The answer to a prompt that asks what words mean; none for any other prompt.
pub(crate) fn answer(prompt: &str) -> Option<String> {
    let (_, list) = prompt.rsplit_once(MARK)?;
    let list = list.lines().next()?;
    let words: Vec<String> = serde_json::from_str(list.trim()).ok()?;
    let key = |word: &String| KNOWN.iter().find(|(known, _)| known == word).map(|(_, key)| *key);
    let items = words.iter().enumerate().map(|(number, word)| {
        json!({ "number": number, "keys": Vec::from_iter(key(word)), "foods": [] })
    });
    Some(json!({ "items": items.collect::<Vec<_>>() }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_have_their_key_and_others_none() {
        let prompt = "rules\nREGIMEN-WORDS: [\"moo juice\",\"zebrine\"]\n";
        let expected = r#"{"items":[{"number":0,"keys":["milk"],"foods":[]},{"number":1,"keys":[],"foods":[]}]}"#;
        assert_eq!(answer(prompt).as_deref(), Some(expected));
        assert_eq!(answer("REGIMEN-TARGETS: {}"), None);
    }
}
