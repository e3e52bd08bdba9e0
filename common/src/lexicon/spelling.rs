//! Plural forms, edit distance, and the search for similar words.

use rustc_hash::FxHashMap;
use strsim::osa_distance;

/// The forms of a singular word.
pub fn forms(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_owned(), format!("{word}s")];
    if word.ends_with(['s', 'x', 'z', 'o']) || word.ends_with("ch") || word.ends_with("sh") {
        forms.push(format!("{word}es"));
    }
    if let Some(stem) = word.strip_suffix('y') {
        forms.push(format!("{stem}ies"));
    }
    if let Some(stem) = word.strip_suffix('f').or_else(|| word.strip_suffix("fe")) {
        forms.push(format!("{stem}ves"));
    }
    forms
}

/// The edits (insert, delete, replace, swap of neighbours) between two words, if
/// there are at most `limit`.
pub fn edits(left: &str, right: &str, limit: usize) -> Option<usize> {
    // Cheaper than comparing them.
    let comparable = left.chars().count().abs_diff(right.chars().count()) <= limit;
    comparable.then(|| osa_distance(left, right)).filter(|edits| *edits <= limit)
}

/// Words with their values, found by their misspellings: only words of similar length and
/// letters are compared letter by letter.
#[derive(Debug)]
pub struct Misspellings<T> {
    by_start: FxHashMap<(char, usize), Vec<Known<T>>>,
}

#[derive(Debug)]
struct Known<T> {
    word: String,
    set: u64,
    value: T,
}

impl<T> Default for Misspellings<T> {
    fn default() -> Self {
        Self { by_start: FxHashMap::default() }
    }
}

impl<T> Misspellings<T> {
    /// Adds a word.
    pub fn add(&mut self, word: &str, value: T) {
        if let Some(first) = word.chars().next() {
            let known = Known { word: word.to_owned(), set: set_of(word), value };
            self.by_start.entry((first, word.chars().count())).or_default().push(known);
        }
    }

    /// The words that start with `first` and are at most `limit` edits from `word`, each
    /// with the number of edits.
    pub fn near(
        &self,
        word: &str,
        first: char,
        limit: usize,
    ) -> impl Iterator<Item = (usize, &str, &T)> {
        let set = set_of(word);
        // An edit changes at most two members of the set.
        let alike = move |known: &&Known<T>| (known.set ^ set).count_ones() as usize <= 2 * limit;
        let length = word.chars().count();
        let lengths = length.saturating_sub(limit)..=length + limit;
        lengths
            .filter_map(move |length| self.by_start.get(&(first, length)))
            .flatten()
            .filter(alike)
            .map(move |known| (osa_distance(&known.word, word), known))
            .filter(move |(edits, _)| *edits <= limit)
            .map(|(edits, known)| (edits, known.word.as_str(), &known.value))
    }
}

/// The letters of a word, as bits that several letters may share.
fn set_of(word: &str) -> u64 {
    word.chars().fold(0, |set, letter| set | 1 << (u32::from(letter) % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plural_forms() {
        assert!(forms("berry").contains(&"berries".to_owned()));
        assert!(forms("tomato").contains(&"tomatoes".to_owned()));
        assert!(forms("peach").contains(&"peaches".to_owned()));
        assert!(forms("loaf").contains(&"loaves".to_owned()));
    }

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("peanut", "peanut", Some(0)),
            ("penaut", "peanut", Some(1)),
            ("shelfish", "shellfish", Some(1)),
            ("diary", "dairy", Some(1)),
            ("glutin", "gluten", Some(1)),
            ("butter", "better", Some(1)),
            ("milk", "wheat", None),
        ] {
            assert_eq!(edits(left, right, 2), expected, "{left} {right}");
            assert_eq!(edits(right, left, 2), expected, "{left} {right}");
        }
    }

    /// The shortcuts of the search lose no word.
    #[test]
    fn near_words_are_those_that_comparing_all_would_find() {
        let mut known = Misspellings::default();
        let terms = crate::food::foods().entries().iter().map(|entry| entry.term.as_str());
        let words: Vec<&str> = terms.filter(|term| !term.contains(' ')).collect();
        words.iter().for_each(|word| known.add(word, ()));
        let mut found = 0;
        for word in words.iter().step_by(7) {
            let mut typed: Vec<char> = word.chars().collect();
            *typed.last_mut().unwrap() = 'e';
            let (text, first) = (typed.iter().collect::<String>(), typed[0]);
            let mut near: Vec<_> =
                known.near(&text, first, 2).map(|(edits, word, ())| (edits, word)).collect();
            let compared = words.iter().filter(|word| word.starts_with(first));
            let mut all: Vec<_> = compared
                .map(|word| (osa_distance(word, &text), *word))
                .filter(|(edits, _)| *edits <= 2)
                .collect();
            near.sort_unstable();
            all.sort_unstable();
            assert_eq!(near, all, "{text}");
            found += near.len();
        }
        assert!(found > 100);
    }
}
