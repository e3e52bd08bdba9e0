//! "Allergic to fish but not shellfish": foods a person takes out of their own
//! answer. They are only not added; what else the answer names stays. An
//! exception is believed where the sentence can mean nothing else: any word
//! that may turn it round, or that is no food, and it is not one.

use std::ops::Range;

use super::foods;
use crate::plan::lexicon::token::{Piece, Token};

/// After these the sentence says what is avoided.
const DECLARING: &[&str] =
    &["allergic", "allergy", "allergies", "anaphylactic", "intolerant", "intolerance", "sensitive"];
/// With these in it, a sentence may say the opposite.
const DOUBTFUL: &[&str] = &[
    "anything",
    "any",
    "can",
    "cannot",
    "cant",
    "could",
    "dont",
    "eat",
    "eating",
    "eats",
    "everything",
    "fine",
    "good",
    "just",
    "known",
    "like",
    "love",
    "never",
    "no",
    "nobody",
    "none",
    "nothing",
    "ok",
    "okay",
    "only",
    "safe",
    "sure",
    "tolerate",
    "tolerated",
    "without",
];
/// What may stand between the turn and the food.
const LINKS: &[&str] = &["to", "for", "the"];

/// The tokens of `tokens` that name exceptions; `ids` are their words in the tables.
pub(super) fn exceptions(tokens: &[Token], ids: &[Option<u32>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begin = 0;
    for sentence in tokens.split(|token| token.piece == Piece::Stop) {
        let words: Vec<&str> =
            sentence.iter().map(|token| token.word().unwrap_or_default()).collect();
        found.extend(in_sentence(&words, begin, ids));
        begin += sentence.len() + 1;
    }
    found
}

fn in_sentence(words: &[&str], begin: usize, ids: &[Option<u32>]) -> Option<Range<usize>> {
    if words.iter().any(|word| DOUBTFUL.contains(word)) {
        return None;
    }
    let denials = words.iter().filter(|word| **word == "not").count();
    let (at, turn) = words.iter().enumerate().find_map(|(at, word)| match *word {
        "but" if words.get(at + 1) == Some(&"not") && denials == 1 => Some((at, 2)),
        "except" | "excluding" if denials == 0 => Some((at, 1)),
        "apart" if words.get(at + 1) == Some(&"from") && denials == 0 => Some((at, 2)),
        _ => None,
    })?;
    if turn == 2 && !words[..at].iter().any(|word| DECLARING.contains(word)) {
        return None;
    }
    let mut from = at + turn;
    while words.get(from).is_some_and(|word| LINKS.contains(word)) {
        from += 1;
    }
    let mut to = from;
    loop {
        let (_, length) = foods().longest(ids.get(begin + to..begin + words.len())?)?;
        to += length;
        match words.get(to).copied() {
            Some("or") => to += 1,
            // A comma, a bracket, another food, or the end.
            None | Some("" | "and") => return Some(begin + from..begin + to),
            Some(_) => return None,
        }
    }
}
