//! Finds which of many texts a request body contains.
//!
//! The texts are in a few automata of doubling size, so that adding one text
//! stays cheap with ten thousand of them, and a body is scanned once per
//! automaton instead of once per text.

use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::AhoCorasick;

/// The texts to find. Each has a number, from 0.
#[derive(Debug, Default)]
pub(crate) struct Markers {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, usize>,
    segments: Vec<Segment>,
}

/// The texts from `first` on, as one automaton.
#[derive(Debug)]
struct Segment {
    first: usize,
    count: usize,
    automaton: AhoCorasick,
}

/// The texts are too many or too long for an automaton.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the markers are too many or too long to look for: {0}")]
pub(crate) struct MarkerError(String);

impl Markers {
    /// The number of `text`, if it is one of the texts.
    pub(crate) fn number(&self, text: &str) -> Option<usize> {
        self.numbers.get(text).copied()
    }

    /// All texts, in the order of their numbers.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The text with this number.
    pub(crate) fn name(&self, number: usize) -> Option<&Arc<str>> {
        self.names.get(number)
    }

    /// Adds `text`.
    ///
    /// # Errors
    /// There are too many texts for an automaton.
    pub(crate) fn add(&mut self, text: &str) -> Result<usize, MarkerError> {
        if let Some(number) = self.number(text) {
            return Ok(number);
        }
        let number = self.names.len();
        let name: Arc<str> = text.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        let (mut first, mut count) = (number, 1);
        while let Some(last) = self.segments.last().filter(|last| last.count <= count) {
            (first, count) = (last.first, last.count + count);
            self.segments.pop();
        }
        let texts = self.names[first..].iter().map(|name| name.as_bytes());
        let automaton = AhoCorasick::new(texts).map_err(|error| MarkerError(error.to_string()))?;
        self.segments.push(Segment { first, count, automaton });
        Ok(number)
    }

    /// The numbers of the texts in `body`, each once, in order.
    pub(crate) fn scan(&self, body: &[u8]) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        for segment in &self.segments {
            for hit in segment.automaton.find_overlapping_iter(body) {
                let number = segment.first + hit.pattern().as_usize();
                if !found.contains(&number) {
                    found.push(number);
                }
            }
        }
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_texts_are_all_found_once() {
        let mut markers = Markers::default();
        for text in ["job-1", "job-12", "absent", "ob"] {
            markers.add(text).unwrap();
        }
        assert_eq!(markers.scan(b"say job-12 and job-12"), [0, 1, 3]);
        assert_eq!(markers.add("job-12").unwrap(), 1);
    }

    #[test]
    fn ten_thousand_texts_stay_in_few_automata() {
        let mut markers = Markers::default();
        for number in 0..10_000 {
            markers.add(&format!("marker-{number:05}-end")).unwrap();
        }
        assert!(markers.segments.len() < 16, "{}", markers.segments.len());
        let body = b"xx marker-00007-end yy marker-09999-end zz";
        assert_eq!(markers.scan(body), [7, 9999]);
    }
}
