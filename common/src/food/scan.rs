//! Finds the foods a text names, with what they are and contain.

use std::cell::OnceCell;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::foreign::{self, Forms, Part};
use super::literal::Literals;
use super::names;
use super::negation::{self, WORDS};
use super::{Trait, Traits, foods, usage};
use crate::lexicon::token::{self, Piece, Token};
use crate::lexicon::{Bits, Entry};

/// The kind of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Names of foods and dishes, shopping lists.
    Listed,
    /// Sentences: recipes and advice, which also say what to leave out.
    Prose,
}

/// A food found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Byte range in the text.
    pub range: std::ops::Range<usize>,
    /// What it is or openly contains.
    pub open: Traits,
    /// What it usually contains without being named.
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

/// The words of a text with their numbers in the tables, read once for several searches.
#[derive(Debug)]
pub struct Words {
    tokens: Vec<Token>,
    ids: Vec<Option<u32>>,
    places: Vec<Place>,
}

/// What stands at a place of a text, whoever searches it.
#[derive(Debug)]
struct Place {
    /// A word that matters for negation.
    word: Option<&'static str>,
    /// The longest English term that begins there, and its length in words.
    english: Option<(&'static Entry, usize)>,
    /// Those of a word that is neither, once somebody has asked.
    forms: OnceCell<Forms>,
}

impl Words {
    /// Reads a text.
    pub fn of(text: &str) -> Self {
        let (tokens, ids) = numbered(token::tokens(text));
        let place = |(at, token): (usize, &Token)| Place {
            word: token.word().and_then(|word| WORDS_BY_TEXT.get(word).copied()),
            english: foods().longest(&ids[at..]),
            forms: OnceCell::new(),
        };
        let places = tokens.iter().enumerate().map(place).collect();
        Self { tokens, ids, places }
    }

    /// The foods of the text, without those that it rules out ("without nuts").
    pub fn foods(&self, register: Register, literals: &Literals) -> Vec<Found> {
        let mut items = items(self, register, literals);
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
}

/// The foods of `text`, without those that it rules out ("without nuts").
pub fn find(text: &str, register: Register, literals: &Literals) -> Vec<Found> {
    Words::of(text).foods(register, literals)
}

/// Whether a text names a food of the tables, harmless or not.
pub fn names_known(text: &str, literals: &Literals) -> bool {
    let items = items(&Words::of(text), Register::Listed, literals);
    items.iter().any(|item| matches!(item.what, What::Food(_)))
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
    /// It cannot be free from itself.
    pub(super) inherent: bool,
    /// A group, or the first half of "dairy- and egg-free".
    pub(super) generic: bool,
    /// A gluten-free flour: what is baked from it is gluten-free too.
    pub(super) frees: Traits,
    pub(super) negated: bool,
}

impl Food {
    /// A word that is the name of this food and, elsewhere, of another one.
    fn and(mut self, other: Self) -> Self {
        self.open = self.open.or(other.open);
        self.hidden = self.hidden.or(other.hidden);
        self.maybe = self.maybe.or(other.maybe);
        self.literals |= other.literals;
        self
    }
}

fn items(words: &Words, register: Register, literals: &Literals) -> Vec<Item> {
    let expected = &literals.expected;
    let Words { tokens, ids, places } = words;
    let text = foreign::Text::of(tokens);
    let mut items = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        let Place { word, english, ref forms } = places[at];
        let other = foreign::phrase(rest, expected, register, text).filter(|(_, length)| {
            english.is_none_or(|(_, own)| own <= *length) && (*length > 1 || word.is_none())
        });
        let length = other.map(|(_, length)| length).max(english.map(|(_, length)| length));
        let length = length.unwrap_or(1);
        let range = tokens[at].start..tokens[at + length - 1].end;
        let mut push = |what| items.push(Item { range: range.clone(), what });
        match (english, word, other) {
            // One-word terms never hide a negation.
            (Some((_, 1)) | None, Some(word), None) => push(What::Word(word)),
            (_, _, Some((name, length))) => {
                let same = english.filter(|(_, own)| *own == length);
                let known = same.map(|(entry, _)| known(entry, rest, length, register, literals));
                let before = at.checked_sub(1).and_then(|at| tokens[at].word());
                let after = tokens.get(at + length).and_then(Token::word);
                let of = tokens.get(at + length + 1).and_then(Token::word);
                let plant =
                    [before, after, of].iter().any(|word| foreign::is_plant_kind(name, *word));
                let named = named(&name.terms, rest, length, literals);
                push(match known {
                    _ if plant => What::Other,
                    Some(What::Food(food)) => What::Food(food.and(named)),
                    Some(other) => other,
                    None => What::Food(named),
                });
            }
            (Some((entry, length)), _, None) => {
                push(known(entry, rest, length, register, literals))
            }
            (None, None, None) => {
                let word = rest[0].word().unwrap_or_default();
                let forms = forms.get_or_init(|| Forms::of(word));
                let parts = foreign::parts(word, forms, expected, register);
                let unknown = unknown(rest, literals);
                if parts.is_empty() || matches!(unknown, What::Food(_)) {
                    push(unknown);
                }
                for part in parts {
                    push(match part {
                        Part::Foods(terms) => What::Food(named(&terms, rest, 1, literals)),
                        Part::Free(traits) => What::Free(traits),
                    });
                }
            }
        }
        let inside = if other.is_none() { overlap(&ids[at..], length) } else { None };
        at += inside.unwrap_or(length);
    }
    items
}

/// A food by its name in another language.
fn named(terms: &[&'static Entry], tokens: &[Token], length: usize, literals: &Literals) -> Food {
    let [open, hidden, maybe] = foreign::contents(terms);
    let within = Some((length, open));
    let literals =
        (0..length).fold(0, |bits, offset| bits | literals.starting(&tokens[offset..], within));
    let has = |mark: Bits| terms.iter().any(|term| term.own & mark != 0);
    Food {
        open,
        hidden,
        maybe,
        literals,
        term: terms.first().copied().filter(|_| terms.len() == 1),
        inherent: has(usage::INHERENT),
        generic: has(usage::GENERIC) || tokens[length - 1].suspended,
        frees: Traits::NONE,
        negated: false,
    }
}

/// Where inside a term of `length` words a longer one starts that extends beyond its end,
/// as `mozzarella stick` does in "fresh mozzarella sticks". Not if the first term changes
/// the meaning of the shared word (peanut butter chicken).
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
        return What::Free(promised(own));
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

/// What a promise rules out. "Keto" and "low-carb" say that there is little starch: such bread
/// is often made of added gluten, so only "grain-free" and "gluten-free" rule gluten out.
fn promised(own: Traits) -> Traits {
    own.without(Traits::of(&[Trait::Grain])).ruled_out().or(own)
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

/// The tokens with their numbers in the tables; a compound becomes its two words, a
/// typing error the nearest word.
fn numbered(tokens: Vec<Token>) -> (Vec<Token>, Vec<Option<u32>>) {
    let mut out = Vec::with_capacity(tokens.len());
    let mut ids = Vec::with_capacity(tokens.len());
    for token in tokens {
        let id = match token.word() {
            Some(word) if !WORDS_BY_TEXT.contains_key(word) => match foods().word(word) {
                Some(id) => Some(id),
                None if names::is_name(word) => None,
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

/// The two words of `almondmilk`, if they are a term together.
fn compound(word: &str) -> Option<[u32; 2]> {
    let parts = foods().parts(word)?;
    let (_, length) = foods().longest(&parts.map(Some))?;
    (length == 2).then_some(parts)
}

/// The negations by their plain letters, like the words of a text.
static WORDS_BY_TEXT: LazyLock<FxHashMap<String, &'static str>> = LazyLock::new(|| {
    WORDS.iter().flat_map(|list| list.iter().map(|word| (token::plain(word), *word))).collect()
});
