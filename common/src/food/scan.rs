//! Finds the foods a text names, with what they are and contain.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::literal::Literals;
use super::negation::{self, WORDS};
use super::{Trait, Traits, foods, usage};
use crate::lexicon::token::{self, Piece, Token};
use crate::lexicon::{Bits, Entry};

/// How foods are named in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Names of foods and dishes, shopping lists.
    Listed,
    /// Sentences: recipes and advice, which also say what to leave out.
    Prose,
}

/// A food that a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Byte range in the text.
    pub range: std::ops::Range<usize>,
    /// What it is or openly contains.
    pub open: Traits,
    /// What it usually contains without saying so.
    pub hidden: Traits,
    /// What it often contains.
    pub maybe: Traits,
    /// The literal phrases it matches, by bit.
    pub literals: u64,
    /// The term of the tables it is, if any.
    pub term: Option<&'static Entry>,
}

impl Found {
    /// Everything it may contain.
    pub fn any(&self) -> Traits {
        self.open.or(self.hidden).or(self.maybe)
    }
}

/// The foods of `text` that are not ruled out by it ("without nuts").
pub fn find(text: &str, register: Register, literals: &Literals) -> Vec<Found> {
    let tokens = token::tokens(text);
    let mut items = items(tokens, register, literals);
    negation::apply(&mut items, register);
    items
        .into_iter()
        .filter_map(|item| match item.what {
            What::Food(food) if !food.negated => Some(Found {
                range: item.range,
                open: food.open,
                hidden: food.hidden,
                maybe: food.maybe,
                literals: food.literals,
                term: food.term,
            }),
            _ => None,
        })
        .filter(|found| !found.any().is_empty() || found.literals != 0)
        .collect()
}

/// A piece of a text once its foods are known.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) range: std::ops::Range<usize>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A food, or the name of a group of foods.
    Food(Food),
    /// "vegan", "gluten-free": these traits are absent from the foods beside it.
    Free(Traits),
    /// A word that matters for negation.
    Word(&'static str),
    /// Any other word.
    Other,
    /// A comma.
    Comma,
    /// A bracket.
    Bracket,
    /// The end of a sentence.
    Stop,
}

#[derive(Debug)]
pub(super) struct Food {
    pub(super) open: Traits,
    pub(super) hidden: Traits,
    pub(super) maybe: Traits,
    pub(super) literals: u64,
    pub(super) term: Option<&'static Entry>,
    /// Nothing can be free from itself.
    pub(super) inherent: bool,
    /// A group, or the first half of "dairy- and egg-free".
    pub(super) generic: bool,
    /// A flour without gluten: what is baked from it is without too.
    pub(super) frees: Traits,
    pub(super) negated: bool,
}

fn items(tokens: Vec<Token>, register: Register, literals: &Literals) -> Vec<Item> {
    let (tokens, ids) = numbered(tokens);
    let mut items = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let word = tokens[at].word().and_then(|word| WORDS_BY_TEXT.get(word));
        let (what, length) = match (foods().longest(&ids[at..]), word) {
            // One-word terms never hide a word of negation.
            (Some((_, 1)), Some(word)) => (What::Word(word), 1),
            (Some((entry, length)), _) => {
                (known(entry, &tokens[at..], length, register, literals), length)
            }
            (None, Some(word)) => (What::Word(word), 1),
            (None, None) => (unknown(&tokens[at..], literals), 1),
        };
        let range = tokens[at].start..tokens[at + length - 1].end;
        items.push(Item { range, what });
        at += overlap(&ids[at..], length).unwrap_or(length);
    }
    items
}

/// Where inside a term of `length` words a longer one begins that runs past
/// its end, as `mozzarella stick` does in "fresh mozzarella sticks". Not when
/// the first term changes the meaning of the shared word (peanut butter chicken).
fn overlap(ids: &[Option<u32>], length: usize) -> Option<usize> {
    if length < 2 {
        return None;
    }
    let (outer, _) = foods().longest(ids)?;
    (1..length).find(|offset| {
        let runs_past =
            foods().longest(&ids[*offset..]).is_some_and(|(_, inner)| offset + inner > length);
        runs_past
            && foods().longest(&ids[*offset..length]).is_some_and(|(shared, _)| {
                let open = shared.open & !usage::ALL & !Traits::PLAIN.0;
                open != 0 && open & !outer.open == 0
            })
    })
}

fn known(
    entry: &'static Entry,
    tokens: &[Token],
    length: usize,
    register: Register,
    literals: &Literals,
) -> What {
    let own = Traits(entry.own & !usage::ALL);
    if entry.own & usage::FREES != 0 {
        return What::Free(own.ruled_out());
    }
    if entry.own & usage::CONDITION != 0 {
        return What::Other;
    }
    let counts = counts(entry.own, &tokens[length - 1], register);
    let [open, hidden, maybe] = [entry.open, entry.hidden, entry.maybe]
        .map(|bits| if counts { Traits(bits & !usage::ALL) } else { Traits::NONE });
    let food = Some((length, open));
    let literals =
        (0..length).fold(0, |bits, offset| bits | literals.starting(&tokens[offset..], food));
    let gluten = Traits::of(&[Trait::Gluten, Trait::Wheat]);
    let flour = entry.term.ends_with(" flour") && open.or(hidden).or(maybe).and(gluten).is_empty();
    What::Food(Food {
        open,
        hidden,
        maybe,
        literals,
        term: Some(entry),
        inherent: entry.own & usage::INHERENT != 0,
        generic: entry.own & usage::GENERIC != 0 || tokens[length - 1].suspended,
        frees: if flour { gluten } else { Traits::NONE },
        negated: false,
    })
}

fn counts(own: Bits, last: &Token, register: Register) -> bool {
    let plural = last.word().is_some_and(|word| word.ends_with('s'));
    (own & usage::NOUN == 0 || register == Register::Listed) && (own & usage::PLURAL == 0 || plural)
}

fn unknown(tokens: &[Token], literals: &Literals) -> What {
    match tokens[0].piece {
        Piece::Comma => What::Comma,
        Piece::Bracket => What::Bracket,
        Piece::Stop => What::Stop,
        Piece::Word(_) => match literals.starting(tokens, None) {
            0 => What::Other,
            literals => What::Food(Food {
                open: Traits::NONE,
                hidden: Traits::NONE,
                maybe: Traits::NONE,
                literals,
                term: None,
                inherent: true,
                generic: tokens[0].suspended,
                frees: Traits::NONE,
                negated: false,
            }),
        },
    }
}

/// The tokens with their numbers in the tables; a compound becomes its two
/// words, a typing error the word it is near to.
fn numbered(tokens: Vec<Token>) -> (Vec<Token>, Vec<Option<u32>>) {
    let mut out = Vec::with_capacity(tokens.len());
    let mut ids = Vec::with_capacity(tokens.len());
    for token in tokens {
        let id = match token.word() {
            Some(word) if !WORDS_BY_TEXT.contains_key(word) => match foods().word(word) {
                Some(id) => Some(id),
                None => match compound(word) {
                    Some([first, second]) => {
                        out.push(token.clone());
                        ids.push(Some(first));
                        Some(second)
                    }
                    None => foods().guess(word),
                },
            },
            Some(word) => foods().word(word),
            None => None,
        };
        out.push(token);
        ids.push(id);
    }
    (out, ids)
}

/// The two words of `almondmilk`, when together they are a term.
fn compound(word: &str) -> Option<[u32; 2]> {
    let parts = foods().parts(word)?;
    let (_, length) = foods().longest(&parts.map(Some))?;
    (length == 2).then_some(parts)
}

static WORDS_BY_TEXT: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    WORDS.iter().flat_map(|list| list.iter().map(|word| (*word, *word))).collect()
});
