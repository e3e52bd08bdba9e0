//! "Gluten, but oats are fine", "nuts (coconut ok)", "allergic to fish but not
//! shellfish": foods that a person excepts from their own answer.
//!
//! An exception counts only when the words are unambiguous: a word that may
//! negate it, or that is not a food, cancels it. It never allows more than it
//! names: an excepted food allows itself and its kinds ("butter", "unsalted
//! butter"), not dishes made with it.

use std::ops::Range;

use super::vocabulary::{Kind, Sense};
use super::{Found, Trait, Traits, usage};
use crate::lexicon::Entry;

/// After these words the sentence says what is avoided.
const DECLARING: &[&str] = &[
    "allergic",
    "allergy",
    "allergies",
    "anaphylactic",
    "intolerant",
    "intolerance",
    "sensitive",
    "allergisch",
    "allergie",
];
/// With these words, a sentence may mean the opposite.
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
/// Words allowed between the turn and the food.
const LINKS: &[&str] = &[
    "to", "for", "the", "with", "on", "il", "lo", "la", "le", "el", "los", "las", "os", "die",
    "der", "das", "de", "het",
];
/// The food before these may be eaten.
pub(super) const FINE: &[&str] = &[
    "ok",
    "okay",
    "oke",
    "fine",
    "allowed",
    "safe",
    "good",
    "tolerated",
    "welcome",
    "alright",
    "erlaubt",
    "verträglich",
    "vertraglich",
    "gut",
    "gehen",
    "geht",
    "toegestaan",
    "goed",
    "mag",
    "mogen",
    "permitido",
    "permitidos",
    "permitida",
    "permitidas",
    "bien",
    "va",
    "bene",
    "vanno",
    "permesso",
    "permessi",
    "tudo",
    "bem",
    "permitted",
    "tolere",
    "toleres",
    "autorise",
    "autorises",
    "gar",
    "bra",
    "tillatet",
    "dobrze",
    "mozna",
    "mozhno",
    "moжho",
    "hopmalbho",
    "moga",
    "byc",
    "acceptable",
    "possible",
];
/// Words allowed between that food and "fine".
pub(super) const COPULAS: &[&str] = &[
    "is",
    "are",
    "be",
    "would",
    "s",
    "totally",
    "perfectly",
    "seem",
    "seems",
    "still",
    "usually",
    "ist",
    "sind",
    "zijn",
    "es",
    "son",
    "esta",
    "estan",
    "e",
    "sono",
    "sao",
    "est",
    "sont",
    "ar",
    "sa",
    "jest",
    "all",
    "too",
    "also",
    "auch",
    "ook",
    "okay",
];
/// Words that start a clause and change nothing.
const OPENERS: &[&str] = &[
    "but", "aber", "maar", "pero", "ma", "mas", "mais", "men", "ale", "ho", "though", "however",
    "and",
];
/// The words that start an exception, in the languages of the tables.
const TURNS: &[&str] = &[
    "except",
    "excluding",
    "ausser",
    "auser",
    "ausgenommen",
    "behalve",
    "sauf",
    "excepto",
    "salvo",
    "menos",
    "eccetto",
    "tranne",
    "exceto",
    "utom",
    "forutom",
    "oprocz",
    "kpome",
];

/// Foods whose name includes everything made of them, beside the groups that the tables
/// mark.
const GROUPS: [&str; 15] = [
    "egg",
    "milk",
    "fish",
    "seafood",
    "shellfish",
    "crustacean",
    "mollusc",
    "meat",
    "beef",
    "lamb",
    "pork",
    "poultry",
    "gelatin",
    "honey",
    "cheese",
];

/// An exception.
#[derive(Debug, Clone, PartialEq)]
pub enum Exception {
    /// A group, by the trait its foods have.
    Group(Traits),
    /// A food by its term.
    Food(&'static Entry),
}

impl Exception {
    /// The exceptions for a named term.
    pub(super) fn of(entry: &'static Entry) -> Vec<Self> {
        let own = Traits(entry.own & !usage::ALL).without(Traits::PLAIN);
        let group = entry.own & usage::GENERIC != 0 || GROUPS.contains(&entry.term.as_str());
        if !group || own.is_empty() {
            vec![Self::Food(entry)]
        } else if own.contains(Trait::Cheese) {
            vec![Self::Group(own)]
        } else {
            own.iter().map(|one| Self::Group(Traits::of(&[one]))).collect()
        }
    }

    /// Whether it would allow a food with one of these traits.
    pub(super) fn opens(&self, traits: Traits) -> bool {
        let named = match self {
            Self::Group(group) => group.with_implied(),
            Self::Food(entry) => Traits((entry.open | entry.hidden | entry.maybe) & !usage::ALL),
        };
        !named.and(traits).is_empty()
    }

    /// The remaining faults `contains` of a food after this exception.
    pub(super) fn forgives(&self, found: &Found, contains: Traits) -> Traits {
        match self {
            Self::Group(group) if group.without(found.any()).is_empty() => {
                contains.without(group.with_implied())
            }
            Self::Group(_) => contains,
            Self::Food(entry) => {
                let own = Traits((entry.open | entry.hidden | entry.maybe) & !usage::ALL);
                let adds = found.any().without(own).without(Traits::PLAIN);
                let is_kind = found.term.is_some_and(|term| is_kind_of(&term.term, &entry.term));
                if is_kind && adds.is_empty() { Traits::NONE } else { contains }
            }
        }
    }
}

/// Whether a term is another one or a kind of it: "porridge oat" and "oatmeal" are oats,
/// "oat biscuit" is made with them.
fn is_kind_of(term: &str, food: &str) -> bool {
    const FORMS: [&str; 16] = [
        "meal",
        "flake",
        "flour",
        "bran",
        "milk",
        "fibre",
        "fiber",
        "drink",
        "breast",
        "thigh",
        "leg",
        "wing",
        "drumstick",
        "fillet",
        "mince",
        "tender",
    ];
    let rest = term
        .strip_suffix(food)
        .filter(|rest| rest.is_empty() || rest.ends_with(' '))
        .or_else(|| term.strip_prefix(food).filter(|rest| FORMS.contains(&rest.trim_start())));
    rest.is_some()
}

/// The parts of `senses` that name exceptions.
pub(super) fn exceptions(senses: &[Sense]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begin = 0;
    for sentence in senses.split(|sense| sense.kind == Kind::Stop) {
        let turned = after_turn(sentence);
        found.extend(turned.map(|range| range.start + begin..range.end + begin));
        begin += sentence.len() + 1;
    }
    found.extend(said_fine(senses));
    found
}

fn after_turn(sentence: &[Sense]) -> Option<Range<usize>> {
    let words: Vec<&str> = sentence.iter().map(|sense| sense.words.as_str()).collect();
    if words.iter().any(|word| DOUBTFUL.contains(word)) {
        return None;
    }
    let denials = words.iter().filter(|word| **word == "not").count();
    let (at, turn) = words.iter().enumerate().find_map(|(at, word)| match *word {
        "but" if words.get(at + 1) == Some(&"not") && denials == 1 => Some((at, 2)),
        word if TURNS.contains(&word) && denials == 0 => Some((at, 1)),
        "apart" if words.get(at + 1) == Some(&"from") && denials == 0 => Some((at, 2)),
        "other" if words.get(at + 1) == Some(&"than") && denials == 0 => Some((at, 2)),
        _ => None,
    })?;
    // An exception requires a declaration.
    let declares = sentence[..at].iter().any(|sense| !sense.foods().is_empty());
    let but_not = words[at] == "but" && !words[..at].iter().any(|word| DECLARING.contains(word));
    if !declares || but_not {
        return None;
    }
    let mut from = at + turn;
    while words.get(from).is_some_and(|word| LINKS.contains(word)) {
        from += 1;
    }
    let mut to = from;
    loop {
        if sentence.get(to)?.foods().is_empty() {
            return None;
        }
        to += 1;
        match words.get(to).copied() {
            Some("or") => to += 1,
            // A comma, a bracket, another food, or the end.
            None | Some("" | "and") => return Some(from..to),
            Some(_) => return None,
        }
    }
}

/// "(coconut ok)", "but oats are fine": clauses with nothing else, beside a declaration.
fn said_fine(senses: &[Sense]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begin = 0;
    let ends = |sense: &Sense| matches!(sense.kind, Kind::Comma | Kind::Bracket | Kind::Stop);
    while begin < senses.len() {
        let length = senses[begin..].iter().position(ends).unwrap_or(senses.len() - begin);
        let opening = (begin..begin + length)
            .rev()
            .find(|at| OPENERS[..OPENERS.len() - 2].contains(&senses[*at].words.as_str()));
        let from = opening.unwrap_or(begin);
        let clause = &senses[from..begin + length];
        let eaten = || opening.and_then(|_| eaten_clause(clause));
        if let Some(range) = fine_clause(clause).or_else(eaten)
            && declares_beside(senses, from..begin + length)
        {
            found.push(range.start + from..range.end + from);
        }
        begin += length + 1;
    }
    found
}

fn fine_clause(clause: &[Sense]) -> Option<Range<usize>> {
    let word = |at: usize| clause.get(at).map(|sense| sense.words.as_str());
    let mut from = 0;
    while word(from).is_some_and(|word| OPENERS.contains(&word) || LINKS.contains(&word)) {
        from += 1;
    }
    let mut to = from;
    loop {
        if clause.get(to)?.foods().is_empty() {
            return None;
        }
        to += 1;
        match word(to)? {
            "and" | "or" | "und" | "oder" | "y" | "et" | "en" | "och" | "i" => to += 1,
            _ => break,
        }
    }
    let mut rest = to;
    while word(rest).is_some_and(|word| COPULAS.contains(&word)) {
        rest += 1;
    }
    let fine = word(rest).is_some_and(|word| FINE.contains(&word));
    let only = (rest + 1..clause.len()).all(|at| {
        word(at).is_some_and(|word| {
            FINE.contains(&word)
                || COPULAS.contains(&word)
                || matches!(word, "though" | "for" | "me" | "with" | "to" | "eat")
        })
    });
    (fine && only).then_some(from..to)
}

/// "But I can eat oats": only that, to the end.
fn eaten_clause(clause: &[Sense]) -> Option<Range<usize>> {
    const MAY: &[&str] = &["can", "do", "may"];
    const EAT: &[&str] = &["eat", "have", "tolerate"];
    let word = |at: usize| clause.get(at).map(|sense| sense.words.as_str());
    let mut from = 0;
    while word(from).is_some_and(|word| OPENERS.contains(&word) || word == "i") {
        from += 1;
    }
    let may = word(from).is_some_and(|word| MAY.contains(&word));
    from += usize::from(may);
    if !may || !word(from).is_some_and(|word| EAT.contains(&word)) {
        return None;
    }
    from += 1;
    let mut to = from;
    while clause.get(to).is_some_and(|sense| !sense.foods().is_empty()) {
        to += 1;
        to += usize::from(matches!(word(to), Some("and" | "or")) && to + 1 < clause.len());
    }
    (to > from && to == clause.len()).then_some(from..to)
}

fn declares_beside(senses: &[Sense], clause: Range<usize>) -> bool {
    let beside = |at: &usize| !clause.contains(at);
    (0..senses.len())
        .filter(beside)
        .any(|at| !senses[at].foods().is_empty() || senses[at].kind == Kind::Unknown)
}
