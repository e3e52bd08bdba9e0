//! Finds foods that a text names in languages other than English.
//!
//! An unambiguous name ("mantequilla", "яйца", 花生) counts in any text. Short
//! names ("Ei", "vis") and inflected or compound ones ("Mandeltörtchen") count
//! only when the language is known: the plan was requested in it, the person's
//! answers are in it, or the name is a whole list entry. So no ordinary word of
//! an English plan becomes a food.

use std::sync::LazyLock;

use super::languages::{Expected, Languages};
use super::names::{self, FREE_AFTER, FREE_BEFORE, Name, Terms, add, plain_list};
use super::{Register, Traits, foods, usage};
use crate::lexicon::Entry;
use crate::lexicon::token::Token;

/// The context of a whole text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    is_one_word: bool,
    is_english: bool,
}

impl Text {
    /// Reads all of its tokens.
    pub(super) fn of(tokens: &[Token]) -> Self {
        const ENGLISH: [&str; 5] = ["the", "with", "your", "until", "into"];
        let is_english =
            tokens.iter().any(|token| token.word().is_some_and(|word| ENGLISH.contains(&word)));
        Self { is_one_word: tokens.len() == 1, is_english }
    }
}

/// A part of one word, by its role.
pub(super) enum Part {
    /// It names foods.
    Foods(Terms),
    /// Says that these are absent: "laktosefrei", "sütsüz", 不含花生.
    Free(Traits),
}

/// Foods without an allergen whose names start or end with that of one: "kokosového
/// mléka", "mouka z rýže".
const PLANTS: [&str; 48] = [
    "kokos",
    "kookos",
    "kokusz",
    "coco",
    "cocco",
    "cocos",
    "hindistan",
    "кокос",
    "καρυδ",
    "ryzo",
    "ryza",
    "ryze",
    "ryzi",
    "ryzov",
    "rizev",
    "rizin",
    "rizs",
    "riisi",
    "reis",
    "rijst",
    "risi",
    "riz",
    "riso",
    "arroz",
    "orez",
    "pirinc",
    "рис",
    "ориз",
    "ρυζ",
    "kukuric",
    "kukuryd",
    "kukuruz",
    "koruz",
    "mais",
    "maiz",
    "milho",
    "porumb",
    "misir",
    "кукур",
    "царев",
    "kakao",
    "kakav",
    "cacao",
    "cacau",
    "какао",
    "pohank",
    "gryczan",
    "гречн",
];
/// Names with kinds that lack the allergen.
const IMITATED: [&str; 7] = ["milk", "butter", "cream", "yogurt", "flour", "noodle", "pasta"];

/// The lists in plain letters, like the words of a text.
static AFTER: LazyLock<Vec<String>> = LazyLock::new(|| plain_list(&FREE_AFTER));
static BEFORE: LazyLock<Vec<String>> = LazyLock::new(|| plain_list(&FREE_BEFORE));
static PLANT_STEMS: LazyLock<Vec<String>> = LazyLock::new(|| plain_list(&PLANTS));

/// The longest name that starts with the first of `tokens`, and its length in words.
///
/// `text`: their context.
pub(super) fn phrase(
    tokens: &[Token],
    expected: &Expected,
    register: Register,
    text: Text,
) -> Option<(&'static Name, usize)> {
    let words: [Option<&str>; 5] = std::array::from_fn(|at| tokens.get(at).and_then(Token::word));
    names::longest_name(&words, |name, phrase| {
        let food_alone = text.is_one_word && register == Register::Listed;
        (counts(name, phrase, expected, register) && !(name.ordinary && text.is_english))
            || (food_alone && (!name.ordinary || name.languages.meets(expected.any())))
    })
}

/// Whether a name in a text counts as a food.
fn counts(name: &Name, phrase: &str, expected: &Expected, register: Register) -> bool {
    if name.listed && register == Register::Prose {
        return false;
    }
    let used = expected.has(phrase);
    if name.ordinary {
        name.languages.meets(expected.of_plan()) || (used && register == Register::Listed)
    } else {
        name.sure || used || name.languages.meets(expected.any())
    }
}

/// What a word says to everybody, whichever languages they expect.
#[derive(Debug)]
pub(super) struct Forms {
    /// The names in a word of a script without spaces.
    unspaced: Vec<(std::ops::Range<usize>, &'static Name)>,
    /// What it says to be absent.
    free: Option<Traits>,
    is_english: bool,
}

impl Forms {
    pub(super) fn of(word: &str) -> Self {
        let is_english = foods().word(word).is_some();
        let unspaced = names::unspaced_names(word);
        let freed = if is_english { None } else { names::freed(word) };
        Self { unspaced, free: freed.map(promised), is_english }
    }
}

/// The foods inside one word of these `forms` that is not a name itself, in order.
pub(super) fn parts(
    word: &str,
    forms: &Forms,
    expected: &Expected,
    register: Register,
) -> Vec<Part> {
    if !forms.unspaced.is_empty() {
        return unspaced_parts(word, &forms.unspaced, expected, register);
    }
    if let Some(traits) = forms.free {
        return vec![Part::Free(traits)];
    }
    let mut terms = Terms::new();
    let meant = |name: &&&Name| {
        let in_place = !name.listed || register == Register::Listed;
        in_place && name.languages.meets(expected.any())
    };
    for rest in names::stripped(word) {
        let name = names::longest_name(&[Some(rest)], |name, phrase| {
            counts(name, phrase, expected, register)
        });
        name.into_iter().for_each(|(name, _)| add(&mut terms, &name.terms));
    }
    let candidate = !expected.any().is_empty() && !forms.is_english;
    if terms.is_empty() && candidate {
        let forms = names::inflected(word).iter().filter(meant);
        forms.for_each(|name| add(&mut terms, &name.terms));
    }
    if terms.is_empty() && candidate {
        add(&mut terms, &affixed(word, expected, register));
    }
    if terms.is_empty() { Vec::new() } else { vec![Part::Foods(terms)] }
}

/// The foods at the start or end of a compound, as in German. "Hanfmilch" counts as milk,
/// "Cashewmilch" as cashews.
fn affixed(word: &str, expected: &Expected, register: Register) -> Terms {
    const ENDING: usize = 3;
    let languages = expected.any().and(Languages::compounding());
    let meant = |name: &Name| {
        name.languages.meets(languages) && (!name.listed || register == Register::Listed)
    };
    let mut first: Option<(usize, &Name)> = None;
    let mut last: Option<(usize, &Name)> = None;
    for (range, name) in names::affixed_names(word).filter(|(_, name)| meant(name)) {
        let rest = word[range.end..].chars().count();
        if range.start == 0 && first.is_none_or(|(length, _)| range.len() > length) {
            first = Some((range.len(), name));
        } else if range.start > 0
            && rest <= ENDING
            && last.is_none_or(|(length, _)| range.len() > length)
        {
            last = Some((range.len(), name));
        }
    }
    let mut terms = Terms::new();
    if let Some((_, name)) = first {
        add(&mut terms, &name.terms);
    }
    let plant = PLANT_STEMS.iter().any(|plant| word.starts_with(plant.as_str()));
    match last {
        Some((_, name)) if !((first.is_some() || plant) && is_imitated(&name.terms)) => {
            add(&mut terms, &name.terms);
        }
        _ => {}
    }
    terms
}

fn is_imitated(terms: &[&'static Entry]) -> bool {
    !terms.is_empty() && terms.iter().all(|term| IMITATED.contains(&term.term.as_str()))
}

/// Whether a name means another food beside this word: "kokosového mléka" is not milk.
pub(super) fn is_plant_kind(name: &Name, beside: Option<&str>) -> bool {
    is_imitated(&name.terms)
        && beside
            .is_some_and(|word| PLANT_STEMS.iter().any(|plant| word.starts_with(plant.as_str())))
}

/// The absent traits when these foods are said to be absent.
fn promised(name: &Name) -> Traits {
    contents(&name.terms)[0].ruled_out()
}

fn unspaced_parts(
    word: &str,
    found: &[(std::ops::Range<usize>, &'static Name)],
    expected: &Expected,
    register: Register,
) -> Vec<Part> {
    let mut parts = Vec::new();
    for (range, name) in found.iter().filter(|(_, name)| !name.terms.is_empty()) {
        let denied = BEFORE.iter().any(|not| word[..range.start].ends_with(not.as_str()))
            || AFTER.iter().any(|not| word[range.end..].starts_with(not.as_str()));
        if denied {
            parts.push(Part::Free(promised(name)));
        } else if counts(name, &word[range.clone()], expected, register) {
            parts.push(Part::Foods(name.terms.clone()));
        }
    }
    parts
}

/// What the terms of a name are and contain: openly, hidden, possibly.
pub(super) fn contents(terms: &[&'static Entry]) -> [Traits; 3] {
    terms.iter().fold([Traits::NONE; 3], |[open, hidden, maybe], term| {
        let traits = |bits| Traits(bits & !usage::ALL);
        [open.or(traits(term.open)), hidden.or(traits(term.hidden)), maybe.or(traits(term.maybe))]
    })
}
