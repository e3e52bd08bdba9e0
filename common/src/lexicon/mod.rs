//! A dictionary of terms with marks, read from a plain text table, and the
//! search for the longest term at a place in a text.
//!
//! Table lines are `marks = term, term (more marks), …`; `#` starts a comment;
//! `{a|b} {c|d}` stands for every combination; words are given in the singular, and
//! `word!` is taken as it is, no form of another word. A mark is plain when the term is or openly
//! contains it, `~mark` when it is a usual ingredient nobody names, `?mark`
//! when it is there often enough that an allergic person must not take the
//! risk. A term without marks (`- = term`) is known to be harmless; being
//! longer, it outranks the shorter term inside it (butternut squash, cream of
//! tartar).

mod load;
pub mod spelling;
pub mod token;

pub use load::{Marks, Problem};
use rustc_hash::{FxHashMap, FxHashSet};
use spelling::Misspellings;

/// A set of marks; the owner of the table defines the bits.
pub type Bits = u128;

/// A term of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The term in plain words.
    pub term: String,
    /// The marks in the table, without implied ones.
    pub own: Bits,
    /// What it is or openly contains.
    pub open: Bits,
    /// Usual ingredients that are not named.
    pub hidden: Bits,
    /// Ingredients it often has.
    pub maybe: Bits,
    /// From `{a|b}`, not written out.
    combined: bool,
    words: Vec<u32>,
}

/// The dictionary. It is hashed for speed, here and in other tables of words: only we add to
/// them, so nobody else can make their keys collide.
#[derive(Debug, Default)]
pub struct Lexicon {
    words: FxHashMap<String, u32>,
    /// Words that are not a form of another one: `ladys!` in "lady's fingers".
    exact: FxHashSet<String>,
    entries: Vec<Entry>,
    /// Entries by their first word, longest first.
    by_first: FxHashMap<u32, Vec<usize>>,
    /// Words by themselves with one letter left out, for typing errors.
    near: FxHashMap<String, Vec<String>>,
    /// Forms of the terms of one word.
    single: Misspellings<u32>,
}

/// Shorter words are too similar to ordinary ones to guess.
pub const MIN_GUESSED: usize = 7;
/// The shorter half of a compound such as `almondmilk`.
const MIN_PART: usize = 3;

impl Lexicon {
    /// The number of a word, in any of its forms.
    pub fn word(&self, plain: &str) -> Option<u32> {
        self.words.get(plain).copied()
    }

    /// The terms of one word, in every form.
    pub fn single_words(&self) -> &Misspellings<u32> {
        &self.single
    }

    /// All terms.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The longest term at the start of `words`, and its length in words.
    pub fn longest(&self, words: &[Option<u32>]) -> Option<(&Entry, usize)> {
        let first = (*words.first()?)?;
        self.by_first
            .get(&first)?
            .iter()
            .map(|index| &self.entries[*index])
            .find(|entry| {
                entry.words.len() <= words.len()
                    && entry.words.iter().zip(words).all(|(own, found)| Some(*own) == *found)
            })
            .map(|entry| (entry, entry.words.len()))
    }

    /// The two known words of an unknown compound.
    pub fn parts(&self, plain: &str) -> Option<[u32; 2]> {
        if plain.len() < 2 * MIN_PART {
            return None;
        }
        (MIN_PART..=plain.len() - MIN_PART)
            .filter(|at| plain.is_char_boundary(*at))
            .find_map(|at| Some([self.word(&plain[..at])?, self.word(&plain[at..])?]))
    }

    /// The known word at one typing error from a long unknown one.
    pub fn guess(&self, plain: &str) -> Option<u32> {
        if plain.chars().count() < MIN_GUESSED {
            return None;
        }
        std::iter::once(plain.to_owned())
            .chain(load::shortened(plain))
            .filter_map(|key| self.near.get(&key))
            .flatten()
            .find(|known| {
                known.chars().next() == plain.chars().next()
                    && spelling::edits(known, plain, 1).is_some()
            })
            .and_then(|known| self.word(known))
    }
}
