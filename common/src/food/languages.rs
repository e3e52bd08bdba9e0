//! The languages of food names, and which of them a text may be in.

use std::sync::LazyLock;

/// The languages of the tables of names, by the first part of their tags.
const TAGS: [&str; 48] = [
    "am", "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fil",
    "fr", "he", "hi", "hr", "hu", "id", "it", "ja", "ka", "ko", "ku", "lt", "lv", "ms", "nl", "no",
    "pl", "pt", "ro", "ru", "sk", "sl", "sq", "sr", "sv", "sw", "ta", "th", "tr", "uk", "ur", "vi",
    "zh",
];
/// Other tags of the same languages, or of close relatives.
const SAME: [(&str, &str); 10] = [
    ("nb", "no"),
    ("nn", "no"),
    ("tl", "fil"),
    ("iw", "he"),
    ("in", "id"),
    ("bs", "hr"),
    ("me", "sr"),
    ("mo", "ro"),
    ("ckb", "ku"),
    ("prs", "fa"),
];

/// Made once, because it is asked for with every unknown word of a plan.
static COMPOUNDING: LazyLock<Languages> = LazyLock::new(|| {
    const TAGS: [&str; 8] = ["da", "de", "et", "fi", "hu", "nl", "no", "sv"];
    TAGS.iter().fold(Languages::default(), |all, tag| all.or(Languages::of(tag)))
});

/// A name shared by more languages does not show the language of an answer.
const MOST_SHARED: u32 = 8;

/// A set of languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Languages(u64);

impl Languages {
    /// The language of a BCP 47 tag ("pt-BR"); none for one without a table.
    pub fn of(tag: &str) -> Self {
        let tag = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let same =
            SAME.iter().find(|(other, _)| *other == tag).map_or(tag.as_str(), |(_, own)| own);
        TAGS.iter().position(|own| *own == same).map_or(Self(0), |at| Self(1 << at))
    }

    /// The union.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the intersection is not empty.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those that write compounds as one word.
    pub(super) fn compounding() -> Self {
        *COMPOUNDING
    }

    /// The intersection.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The languages in which a plan may name foods, beside English.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Expected {
    /// The language of the plan.
    plan: Languages,
    /// The languages of the person's answers.
    answers: Languages,
    /// The names that the person used, in plain letters.
    words: Vec<String>,
}

impl Expected {
    /// Adds the language of the plan.
    pub(super) fn plan(&mut self, language: Languages) {
        self.plan = self.plan.or(language);
    }

    /// Adds a name that the person used, with its languages.
    pub(super) fn answered(&mut self, name: &str, languages: Languages) {
        if !self.words.iter().any(|own| own == name) {
            self.words.push(name.to_owned());
        }
        // A name shared by many languages shows none of them.
        if languages.0.count_ones() <= MOST_SHARED {
            self.answers = self.answers.or(languages);
        }
    }

    /// Adds another expectation.
    pub(super) fn and(&mut self, other: &Self) {
        self.plan(other.plan);
        self.answers = self.answers.or(other.answers);
        for word in &other.words {
            self.answered(word, Languages::default());
        }
    }

    /// The language of the plan.
    pub(super) fn of_plan(&self) -> Languages {
        self.plan
    }

    /// Every expected language.
    pub(super) fn any(&self) -> Languages {
        self.plan.or(self.answers)
    }

    /// Whether the person used this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.words.iter().any(|own| own == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_with_and_without_regions() {
        assert_eq!(Languages::of("pt-BR"), Languages::of("pt"));
        assert_eq!(Languages::of("nb_NO"), Languages::of("no"));
        assert!(Languages::of("tlh").is_empty() && !Languages::of("zh-Hant-TW").is_empty());
        assert!(!Languages::of("de").meets(Languages::of("nl")));
    }
}
