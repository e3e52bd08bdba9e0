//! The words of answers about food that the parsers of allergies and diets
//! share.

use std::ops::Range;
use std::sync::LazyLock;

use rustc_hash::FxHashSet;

use super::languages::Languages;
use super::{Traits, declared, foods, names, usage};
use crate::lexicon::Entry;
use crate::lexicon::token::{self, Piece};

/// Words of an answer that name no food: grammar, medicine, politeness, and allergies
/// that food does not cause. Single words only; a term of two words that starts with one
/// of them is still a term.
static FILLERS: LazyLock<FxHashSet<String>> = LazyLock::new(|| {
    include_str!("data/fillers.txt").split_whitespace().map(token::plain).collect()
});

/// The kind of a part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Foods or groups of foods, by their terms in the tables.
    Food(Vec<&'static Entry>),
    /// A word that names no food.
    Filler,
    /// An unknown word.
    Unknown,
    /// A comma.
    Comma,
    /// A bracket.
    Bracket,
    /// The end of a sentence.
    Stop,
}

/// A part of an answer.
#[derive(Debug, Clone)]
pub(super) struct Sense {
    /// Its plain words, single-spaced; empty for a mark.
    pub(super) words: String,
    /// Its place in the text, bytes.
    pub(super) range: Range<usize>,
    /// Its kind.
    pub(super) kind: Kind,
    /// The languages in which it names a food, English aside.
    pub(super) languages: Languages,
}

impl Sense {
    /// The terms it names.
    pub(super) fn foods(&self) -> &[&'static Entry] {
        match &self.kind {
            Kind::Food(terms) => terms,
            _ => &[],
        }
    }
}

/// The answer in parts, in order.
pub(super) fn senses(text: &str) -> Vec<Sense> {
    let tokens = token::tokens(text);
    let words: Vec<Option<&str>> = tokens.iter().map(token::Token::word).collect();
    let ids: Vec<Option<u32>> = words.iter().map(|word| (*word).and_then(number)).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (kind, length, languages) = sense(&words[at..], &ids[at..], &tokens[at].piece);
        found.push(Sense {
            words: words[at..at + length].iter().flatten().copied().collect::<Vec<_>>().join(" "),
            range: tokens[at].start..tokens[at + length - 1].end,
            kind,
            languages,
        });
        at += length;
    }
    name_conjunctions(&mut found);
    name_denials(&mut found);
    found
}

/// "Ou" is French for "or" and Catalan for egg, "oder" German for "or" and Estonian for
/// barley: a conjunction never ends a clause.
fn name_conjunctions(senses: &mut [Sense]) {
    for at in 0..senses.len() {
        let ends = senses.get(at + 1).is_none_or(|next| next.words.is_empty());
        let filler = senses[at].kind == Kind::Filler;
        if ends
            && filler
            && let Some((name, _)) = names::longest(&[Some(&senses[at].words)])
        {
            senses[at].languages = name.languages;
            senses[at].kind = Kind::Food(name.terms);
        }
    }
}

/// "Ei" is German for egg and Finnish for "no": it denies only before words that no German
/// answer has. "なし" is Japanese for "none" and for pear, which stands in a list of foods.
fn name_denials(senses: &mut [Sense]) {
    static NONE: LazyLock<String> = LazyLock::new(|| token::plain("なし"));
    const AFTER_EI: [&str; 16] = [
        "ole",
        "ollut",
        "mitaan",
        "midagi",
        "mingit",
        "mingeid",
        "tiedossa",
        "tunnettuja",
        "allergiaa",
        "allergiat",
        "allergiad",
        "allergiaid",
        "allergioita",
        "ruoka",
        "ruokaaineallergioita",
        "ruokaallergioita",
    ];
    for at in 0..senses.len() {
        let next = senses.get(at + 1).map_or("", |next| next.words.as_str());
        if senses[at].words == "ei" && AFTER_EI.contains(&next) {
            senses[at].kind = Kind::Filler;
            senses[at].languages = Languages::default();
        }
    }
    if senses.iter().any(|sense| !sense.foods().is_empty()) {
        for sense in senses.iter_mut().filter(|sense| sense.words == *NONE) {
            sense.kind = Kind::Unknown;
        }
    }
}

fn sense(words: &[Option<&str>], ids: &[Option<u32>], piece: &Piece) -> (Kind, usize, Languages) {
    let none = Languages::default();
    let Some(word) = words[0] else {
        let kind = match piece {
            Piece::Comma => Kind::Comma,
            Piece::Bracket => Kind::Bracket,
            Piece::Stop | Piece::Word(_) => Kind::Stop,
        };
        return (kind, 1, none);
    };
    let filler = is_filler(word);
    let is_term = |length: &usize| *length > 1 || !filler;
    let food = foods().longest(ids).filter(|(_, length)| is_term(length));
    let name = names::longest(words).filter(|(_, length)| is_term(length));
    match (food, name) {
        (Some((entry, length)), Some((name, other))) if length == other => {
            (Kind::Food([vec![entry], name.terms].concat()), length, name.languages)
        }
        (Some((entry, length)), name) if name.as_ref().is_none_or(|(_, other)| *other < length) => {
            (Kind::Food(vec![entry]), length, none)
        }
        (_, Some((name, length))) if name.terms.is_empty() => (Kind::Filler, length, none),
        (_, Some((name, length))) => (Kind::Food(name.terms), length, name.languages),
        _ if filler => (Kind::Filler, 1, none),
        _ => match names::compound(word).or_else(|| names::similar(word)) {
            Some(name) => (Kind::Food(name.terms), 1, name.languages),
            None => (Kind::Unknown, 1, none),
        },
    }
}

/// Whether a word is exactly the name of a food, and not only similar.
pub(super) fn is_exactly_food(word: &str) -> bool {
    let known = foods().word(word).is_some_and(|id| foods().longest(&[Some(id)]).is_some());
    known || names::longest(&[Some(word)]).is_some()
}

/// Whether a word names no food.
pub(super) fn is_filler(word: &str) -> bool {
    word.len() < 2 || word.chars().all(|c| c.is_ascii_digit()) || FILLERS.contains(word)
}

/// The table's number of a word, tolerating typing errors.
fn number(word: &str) -> Option<u32> {
    foods().word(word).or_else(|| {
        let other = FILLERS.contains(word)
            || names::longest(&[Some(word)]).is_some()
            || names::compound(word).is_some();
        if other { None } else { nearest(word) }
    })
}

/// The single-word term closest to a misspelt one with the same first letter, or with its
/// first two swapped; an allergen takes precedence.
fn nearest(word: &str) -> Option<u32> {
    let limit = match word.chars().count() {
        0..=3 => return None,
        4..=7 => 1,
        8..=24 => 2,
        _ => return None,
    };
    let near = |first| foods().single_words().near(word, first, limit);
    word.chars()
        .take(2)
        .flat_map(near)
        .filter(|(_, known, _)| known.chars().count() >= 4)
        .filter_map(|(edits, known, id)| {
            let (entry, _) = foods().longest(&[Some(*id)])?;
            let allergen = !Traits(entry.own & !usage::ALL).and(declared::SHARED).is_empty();
            Some(((edits, !allergen, known), *id))
        })
        .min()
        .map(|(_, id)| id)
}
