//! Words of a person that no table has, or that are to be avoided literally:
//! matched in any form.

use super::languages::Expected;
use super::{Traits, foods, usage};
use crate::lexicon::MIN_GUESSED;
use crate::lexicon::spelling::{edits, forms};
use crate::lexicon::token::{self, Token};

/// More words than this are prose, not an answer about food.
const LIMIT: usize = 64;

/// Words joined to the food from which they are made.
const MADE_OF: [&str; 4] = ["fruit", "juice", "sauce", "seed"];

/// Phrases to search for; the index of one is its bit in [`super::Found`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Literals {
    phrases: Vec<Phrase>,
    /// The languages in which foods may be named.
    pub(super) expected: Expected,
}

#[derive(Debug, Clone, PartialEq)]
struct Phrase {
    label: String,
    /// The accepted forms of each word.
    words: Vec<Vec<String>>,
    /// "passion fruit" is also written as one word, "applesauce" always.
    joined: [Vec<String>; 1],
    /// Its traits in the tables.
    traits: Traits,
}

impl Literals {
    /// Adds a phrase; a duplicate, or one without letters, is ignored.
    pub fn add(&mut self, phrase: &str) {
        let label = token::plain(phrase);
        let known = self.phrases.iter().any(|own| own.label == label);
        if label.is_empty() || known || self.phrases.len() == LIMIT {
            return;
        }
        let words: Vec<&str> = label.split(' ').collect();
        let ids: Vec<_> = words.iter().map(|word| foods().word(word)).collect();
        let traits = match foods().longest(&ids) {
            Some((entry, length)) if length == ids.len() => {
                Traits(entry.open & !usage::ALL).without(Traits::PLAIN)
            }
            Some(_) | None => Traits::NONE,
        };
        let joined = match *words {
            [word] => {
                let one = word.strip_suffix('s').unwrap_or(word);
                MADE_OF.iter().map(|made| format!("{one}{made}")).collect()
            }
            [first, second] => vec![format!("{first}{second}")],
            _ => Vec::new(),
        };
        let joined =
            joined.iter().filter(|word| *word != "grapefruit").flat_map(|word| accepted(word));
        let joined = [joined.collect()];
        let words = words.iter().map(|word| accepted(word)).collect();
        self.phrases.push(Phrase { label, words, joined, traits });
    }

    /// No phrases; the same languages as `other`.
    pub(super) fn named_as(other: &Self) -> Self {
        Self { phrases: Vec::new(), expected: other.expected.clone() }
    }

    /// The phrases in plain words.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.phrases.iter().map(|phrase| phrase.label.as_str())
    }

    /// The labels of the set bits.
    pub fn named(&self, bits: u64) -> impl Iterator<Item = &str> {
        self.labels().enumerate().filter(move |(index, _)| bits >> index & 1 == 1).map(|(_, l)| l)
    }

    /// The phrases that start at the first token, as bits; `food` is the longer known
    /// food that includes them, if any, with its traits: milk is not found in coconut
    /// milk.
    pub fn starting(&self, tokens: &[Token], food: Option<(usize, Traits)>) -> u64 {
        let mut bits = 0;
        for (index, phrase) in self.phrases.iter().enumerate() {
            let length = phrase.words.len();
            let other = food.is_some_and(|(words, traits)| {
                words > length && !phrase.traits.is_empty() && phrase.traits.and(traits).is_empty()
            });
            if !other && phrase.begins(tokens) {
                bits |= 1 << index;
            }
        }
        bits
    }
}

impl Phrase {
    fn begins(&self, tokens: &[Token]) -> bool {
        let begins = |words: &[Vec<String>]| {
            words.len() <= tokens.len()
                && words
                    .iter()
                    .zip(tokens)
                    .all(|(forms, token)| token.word().is_some_and(|word| is_one_of(word, forms)))
        };
        begins(&self.words) || begins(&self.joined)
    }
}

/// Whether a word is one of these forms or, if it is long and in no table, has one typing
/// error.
fn is_one_of(word: &str, forms: &[String]) -> bool {
    let near = |form: &String| {
        form.chars().next() == word.chars().next() && edits(form, word, 1).is_some()
    };
    forms.iter().any(|form| form == word)
        || (word.chars().count() >= MIN_GUESSED
            && foods().word(word).is_none()
            && forms.iter().any(near))
}

/// The forms of a word, given in the singular or the plural.
fn accepted(word: &str) -> Vec<String> {
    let mut accepted = forms(word);
    for ending in ["ies", "es", "s"] {
        if let Some(stem) = word.strip_suffix(ending)
            && stem.len() > 2
        {
            let singular = if ending == "ies" { format!("{stem}y") } else { stem.to_owned() };
            if forms(&singular).iter().any(|form| form == word) {
                accepted.extend(forms(&singular));
            }
        }
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(phrase: &str, text: &str) -> bool {
        let mut literals = Literals::default();
        literals.add(phrase);
        let tokens = token::tokens(text);
        (0..tokens.len()).any(|at| literals.starting(&tokens[at..], None) != 0)
    }

    #[test]
    fn any_form_is_found_and_parts_of_words_are_not() {
        assert!(hits("kiwis", "One Kiwi, sliced"));
        assert!(hits("strawberry", "STRAWBERRIES"));
        assert!(hits("passion fruit", "Passionfruit sorbet"));
        assert!(hits("dragon fruits", "dragon-fruit"));
        assert!(hits("apples", "Applesauce, no sugar") && hits("kiwi", "two kiwifruits"));
        assert!(!hits("grape", "Grapefruit"));
        assert!(!hits("apple", "pineapple"));
        assert!(!hits("pea", "pear and peanuts"));
    }
}
