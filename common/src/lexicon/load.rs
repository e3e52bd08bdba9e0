//! Loads the tables.

use rustc_hash::{FxHashMap, FxHashSet};

use super::spelling::{self, Misspellings};
use super::{Bits, Entry, Lexicon, MIN_GUESSED, token};

/// An invalid line of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No `=`.
    #[error("line {line}: expected `marks = terms`")]
    NoEquals {
        /// Line number from 1.
        line: usize,
    },
    /// An undefined mark.
    #[error("line {line}: unknown mark {mark:?}")]
    UnknownMark {
        /// Line number from 1.
        line: usize,
        /// The mark.
        mark: String,
    },
    /// A term given twice.
    #[error("{term:?} stands in the table twice")]
    Twice {
        /// The term in plain words.
        term: String,
    },
}

/// The meaning of a table's marks.
pub struct Marks {
    /// The bit of a mark by its name.
    pub bit: fn(&str) -> Option<Bits>,
    /// A set with everything that it implies.
    pub implied: fn(Bits) -> Bits,
}

impl Lexicon {
    /// Loads tables; invalid lines are left out and reported.
    pub fn load(tables: &[&str], marks: &Marks) -> (Self, Vec<Problem>) {
        let mut lexicon = Self::default();
        let mut problems = Vec::new();
        for table in tables {
            for (number, line) in table.lines().enumerate() {
                let line = line.split('#').next().unwrap_or_default().trim();
                if !line.is_empty() {
                    lexicon.read_line(line, number + 1, marks, &mut problems);
                }
            }
        }
        lexicon.index(&mut problems);
        (lexicon, problems)
    }

    fn read_line(&mut self, line: &str, number: usize, marks: &Marks, problems: &mut Vec<Problem>) {
        let Some((left, right)) = line.split_once('=') else {
            problems.push(Problem::NoEquals { line: number });
            return;
        };
        for part in right.split(',') {
            let (term, more) = part.split_once('(').unwrap_or((part, ""));
            let levels = marks
                .read(&format!("{left} {}", more.trim_end().trim_end_matches(')')))
                .unwrap_or_else(|mark| {
                    problems.push(Problem::UnknownMark { line: number, mark });
                    [0; 3]
                });
            let combined = term.contains('{');
            for term in combinations(term) {
                let exact = term.split_whitespace().filter_map(|word| word.strip_suffix('!'));
                self.exact.extend(exact.map(token::plain));
                self.add(&token::plain(&term), levels, marks, combined);
            }
        }
    }

    fn add(&mut self, term: &str, [own, hidden, maybe]: [Bits; 3], marks: &Marks, combined: bool) {
        if term.is_empty() {
            return;
        }
        let words = term.split(' ').map(|word| self.number(word)).collect();
        self.entries.push(Entry {
            term: term.to_owned(),
            own,
            open: (marks.implied)(own),
            hidden: (marks.implied)(hidden),
            maybe: (marks.implied)(maybe),
            combined,
            words,
        });
    }

    fn number(&mut self, word: &str) -> u32 {
        let next = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        *self.words.entry(word.to_owned()).or_insert(next)
    }

    fn index(&mut self, problems: &mut Vec<Problem>) {
        let same = self.add_forms();
        let mut seen = FxHashSet::default();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            for word in &mut entry.words {
                *word = same.get(word).copied().unwrap_or(*word);
            }
            if !seen.insert(entry.words.clone()) {
                // An explicit term takes precedence over a combination.
                if !entry.combined {
                    problems.push(Problem::Twice { term: entry.term.clone() });
                }
            } else if let Some(first) = entry.words.first() {
                self.by_first.entry(*first).or_default().push(index);
            }
        }
        for indices in self.by_first.values_mut() {
            indices.sort_by_key(|index| std::cmp::Reverse(self.entries[*index].words.len()));
        }
        self.near = near(self.words.keys());
        self.single = self.single();
    }

    fn single(&self) -> Misspellings<u32> {
        let mut single = Misspellings::default();
        for (word, id) in &self.words {
            let alone = self.by_first.get(id).is_some_and(|entries| {
                entries.iter().any(|entry| self.entries[*entry].words.len() == 1)
            });
            if alone {
                single.add(word, *id);
            }
        }
        single
    }

    /// Maps every form of a word to that word; a table word that is itself a form of
    /// another one (`oats` beside `oat`) becomes that one.
    fn add_forms(&mut self) -> FxHashMap<u32, u32> {
        let mut listed: Vec<_> = self.words.iter().map(|(word, id)| (word.clone(), *id)).collect();
        // Shortest first, so that the singular gets its plural.
        listed.sort_by_key(|(word, id)| (word.len(), *id));
        let mut same = FxHashMap::default();
        for (word, id) in listed {
            if self.exact.contains(&word) {
                continue;
            }
            let id = same.get(&id).copied().unwrap_or(id);
            for form in spelling::forms(&word) {
                if self.exact.contains(&form) {
                    continue;
                }
                match self.words.insert(form, id) {
                    Some(other) if other != id => {
                        same.insert(other, id);
                    }
                    Some(_) | None => {}
                }
            }
        }
        same
    }
}

impl Marks {
    /// The open, hidden and possible marks in a list; or the unknown one.
    fn read(&self, list: &str) -> Result<[Bits; 3], String> {
        let mut levels = [0; 3];
        for mark in list.split_whitespace().filter(|mark| *mark != "-") {
            let (level, name) = match mark.strip_prefix('~') {
                Some(name) => (1, name),
                None => mark.strip_prefix('?').map_or((0, mark), |name| (2, name)),
            };
            levels[level] |= (self.bit)(name).ok_or_else(|| mark.to_owned())?;
        }
        Ok(levels)
    }
}

fn near<'w>(words: impl Iterator<Item = &'w String>) -> FxHashMap<String, Vec<String>> {
    let mut near: FxHashMap<String, Vec<String>> = FxHashMap::default();
    for word in words.filter(|word| word.chars().count() >= MIN_GUESSED) {
        for key in std::iter::once(word.clone()).chain(shortened(word)) {
            near.entry(key).or_default().push(word.clone());
        }
    }
    near
}

/// The word with each of its letters left out once.
pub(super) fn shortened(word: &str) -> impl Iterator<Item = String> {
    word.char_indices().map(move |(at, c)| format!("{}{}", &word[..at], &word[at + c.len_utf8()..]))
}

/// Expands `{a|b} c` into `a c` and `b c`.
fn combinations(term: &str) -> Vec<String> {
    let Some((before, rest)) = term.split_once('{') else {
        return vec![term.to_owned()];
    };
    let (choices, after) = rest.split_once('}').unwrap_or((rest, ""));
    choices
        .split('|')
        .flat_map(|choice| combinations(&format!("{before}{choice}{after}")))
        .collect()
}
