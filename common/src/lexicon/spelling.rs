//! Plural forms, the distance between spellings, and the search for near ones.

use std::collections::HashMap;

/// The forms in which a singular word may stand in a text.
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

/// Edits (insert, delete, replace, swap of neighbours) between two words;
/// anything above `limit` is reported as `limit + 1`.
pub fn distance(left: &str, right: &str, limit: usize) -> usize {
    let letters = |word: &str| word.chars().collect::<Vec<char>>();
    edits(&letters(left), &letters(right), limit)
}

fn edits(left: &[char], right: &[char], limit: usize) -> usize {
    if left.len().abs_diff(right.len()) > limit {
        return limit + 1;
    }
    let width = right.len() + 1;
    // Rows of the table: two above, one above, and the one being filled.
    let mut rows = vec![0; 3 * width];
    let (mut older, rest) = rows.split_at_mut(width);
    let (mut above, mut row) = rest.split_at_mut(width);
    (0..width).for_each(|j| above[j] = j);
    for i in 1..=left.len() {
        row[0] = i;
        for j in 1..width {
            let replaced = above[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                row[j] = row[j].min(older[j - 2] + 1);
            }
        }
        if row.iter().min().is_some_and(|least| *least > limit) {
            return limit + 1;
        }
        (older, above, row) = (above, row, older);
    }
    above[right.len()].min(limit + 1)
}

/// Words with what they stand for, to be found by their misspellings: only words
/// of about the same length and letters are compared letter by letter.
#[derive(Debug)]
pub struct Misspellings<T> {
    by_start: HashMap<(char, usize), Vec<Known<T>>>,
}

#[derive(Debug)]
struct Known<T> {
    word: String,
    letters: Vec<char>,
    set: u64,
    value: T,
}

impl<T> Default for Misspellings<T> {
    fn default() -> Self {
        Self { by_start: HashMap::new() }
    }
}

impl<T> Misspellings<T> {
    /// Adds a word.
    pub fn add(&mut self, word: &str, value: T) {
        let letters: Vec<char> = word.chars().collect();
        if let Some(first) = letters.first().copied() {
            let known = Known { word: word.to_owned(), set: set_of(&letters), value, letters };
            self.by_start.entry((first, known.letters.len())).or_default().push(known);
        }
    }

    /// The words that begin with `first` and are at most `limit` edits from `word`, each
    /// with the number of edits.
    pub fn near(
        &self,
        word: &[char],
        first: char,
        limit: usize,
    ) -> impl Iterator<Item = (usize, &str, &T)> {
        let set = set_of(word);
        // An edit changes at most two members of the set.
        let alike = move |known: &&Known<T>| (known.set ^ set).count_ones() as usize <= 2 * limit;
        let lengths = word.len().saturating_sub(limit)..=word.len() + limit;
        lengths
            .filter_map(move |length| self.by_start.get(&(first, length)))
            .flatten()
            .filter(alike)
            .map(move |known| (edits(&known.letters, word, limit), known))
            .filter(move |(edits, _)| *edits <= limit)
            .map(|(edits, known)| (edits, known.word.as_str(), &known.value))
    }
}

/// The letters of a word, as bits that several letters may share.
fn set_of(letters: &[char]) -> u64 {
    letters.iter().fold(0, |set, letter| set | 1 << (u32::from(*letter) % 64))
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
            ("peanut", "peanut", 0),
            ("penaut", "peanut", 1),
            ("shelfish", "shellfish", 1),
            ("diary", "dairy", 1),
            ("glutin", "gluten", 1),
            ("butter", "better", 1),
            ("milk", "wheat", 3),
        ] {
            assert_eq!(distance(left, right, 2), expected, "{left} {right}");
            assert_eq!(distance(right, left, 2), expected, "{left} {right}");
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
            let typed: Vec<char> = word.chars().rev().skip(1).collect::<Vec<_>>();
            let typed: Vec<char> = typed.into_iter().rev().chain(['e']).collect();
            let text: String = typed.iter().collect();
            let first = typed[0];
            let mut near: Vec<_> =
                known.near(&typed, first, 2).map(|(edits, word, ())| (edits, word)).collect();
            let compared = words.iter().filter(|word| word.starts_with(first));
            let mut all: Vec<_> = compared
                .map(|word| (distance(word, &text, 2), *word))
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
