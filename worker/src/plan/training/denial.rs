//! Whether a text names an exercise only to deny it.
//!
//! In doubt the exercise counts: a denial has to stand before it, with nothing between them
//! but words that describe the exercise.

use regimen_common::lexicon::token::Token;

use super::Term;

const DENIALS: [&str; 14] = [
    "no",
    "not",
    "without",
    "avoid",
    "avoiding",
    "skip",
    "instead",
    "rather",
    "never",
    "omit",
    "dont",
    "exclude",
    "excluding",
    "non",
];
/// Words between a denial and its exercise. What is denied in "no equipment squats" is the
/// equipment, so no equipment is here.
const BETWEEN: [&str; 23] = [
    "of",
    "than",
    "the",
    "any",
    "all",
    "your",
    "these",
    "those",
    "more",
    "doing",
    "do",
    "a",
    "deep",
    "full",
    "heavy",
    "high",
    "impact",
    "fast",
    "explosive",
    "repeated",
    "painful",
    "intense",
    "loaded",
];
const JOINS: [&str; 3] = ["and", "or", "nor"];

/// The denials of one text; its exercises are asked for in order.
pub(super) struct Denials<'a> {
    text: &'a str,
    tokens: &'a [Token],
    /// Where the last denied exercise ends.
    denied_until: Option<usize>,
}

impl<'a> Denials<'a> {
    pub(super) fn new(text: &'a str, tokens: &'a [Token]) -> Self {
        Self { text, tokens, denied_until: None }
    }

    /// Whether this exercise is denied: "no squats", "no squats or lunges".
    pub(super) fn reach(&mut self, term: &Term) -> bool {
        let before = &self.tokens[..term.at];
        let described = before.iter().rev().take_while(|token| is_one_of(token, &BETWEEN)).count();
        let place = term.at - described;
        let denied = place.checked_sub(1).is_some_and(|last| {
            let last_token = &self.tokens[last];
            is_one_of(last_token, &DENIALS)
                || (self.denied_until == Some(last) && self.is_join(last_token))
        });
        if denied {
            self.denied_until = Some(term.at + term.length);
        }
        denied
    }

    fn is_join(&self, token: &Token) -> bool {
        is_one_of(token, &JOINS) || self.text.get(token.start..token.end) == Some("/")
    }
}

fn is_one_of(token: &Token, words: &[&str]) -> bool {
    token.word().is_some_and(|word| words.contains(&word))
}
