//! The function words of answers about the diet.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::lexicon::token;

/// What a function word does to the words beside it; the table describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Deny,
    Free,
    Less,
    Ailment,
    Except,
    But,
    Fine,
    Only,
    Allow,
    Soft,
    Past,
    Longer,
    Since,
    Much,
    Joint,
    Link,
    Other,
}

const TABLE: &str = include_str!("../data/diet_words.txt");

/// By plain letters: words in Latin letters, and in others, some of which look the same
/// ("не" is not "he").
static WORDS: LazyLock<[FxHashMap<String, Word>; 2]> = LazyLock::new(|| {
    let mut words = [FxHashMap::default(), FxHashMap::default()];
    for (kind, list) in TABLE.lines().filter_map(|line| line.split_once(" = ")) {
        let Some(kind) = Word::named(kind) else { continue };
        for word in list.split_whitespace() {
            let same_letters = &mut words[usize::from(is_foreign(word))];
            same_letters.entry(token::plain(word)).or_insert(kind);
        }
    }
    words
});

/// The role of a word in plain letters, by the letters in which it was written.
pub(super) fn word(plain: &str, written: &str) -> Option<Word> {
    WORDS[usize::from(is_foreign(written))].get(plain).copied()
}

/// Whether a word has Greek or Cyrillic letters.
fn is_foreign(word: &str) -> bool {
    word.chars().any(|c| ('\u{370}'..='\u{52f}').contains(&c))
}

impl Word {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "deny" => Self::Deny,
            "free" => Self::Free,
            "less" => Self::Less,
            "ailment" => Self::Ailment,
            "except" => Self::Except,
            "but" => Self::But,
            "fine" => Self::Fine,
            "only" => Self::Only,
            "allow" => Self::Allow,
            "soft" => Self::Soft,
            "past" => Self::Past,
            "longer" => Self::Longer,
            "since" => Self::Since,
            "much" => Self::Much,
            "joint" => Self::Joint,
            "link" => Self::Link,
            "other" => Self::Other,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines {
            let kind = line.split_once(" = ").and_then(|(kind, _)| Word::named(kind));
            assert!(kind.is_some(), "{line}");
        }
        assert_eq!(word("he", "не"), Some(Word::Deny));
        assert_eq!(word("he", "he"), None);
    }
}
