//! Detects that a text names a food to say that it is absent.
//!
//! In doubt the food counts as present: a negation applies only to the food
//! right after it, to an "or" list ("no nuts, milk or eggs"), and, in prose, to
//! the plain list after "avoid" and similar words.

use super::scan::{Food, Item, Register, What};
use super::{Trait, Traits};

/// The food right after these is absent.
const NO: &[&str] = &[
    "no",
    "without",
    "zero",
    "sans",
    "minus",
    "non",
    "not",
    "dont",
    "doesnt",
    "cant",
    "never",
    "replace",
    "replacing",
    "swap",
    "swapping",
    "replaces",
    "sin",
    "senza",
    "sem",
    "ohne",
    "zonder",
    "utan",
    "bez",
    "без",
    "kein",
    "keine",
    "keinen",
    "nicht",
    "ingen",
    "inga",
    "pas",
    "geen",
    "uden",
    "uten",
    "brez",
    "fara",
    "ilman",
    "χωρις",
    "بدون",
    "ללא",
    "tanpa",
    "walang",
];
/// Of these, verbs whose food is replaced by the one that they name next.
const SWAPS: &[&str] = &["replace", "replacing", "swap", "swapping", "replaces"];
/// "Without" in other languages; the name of a group after it makes the food before it
/// free from that group.
const WITHOUT: &[&str] = &[
    "sans",
    "sin",
    "senza",
    "sem",
    "ohne",
    "zonder",
    "utan",
    "uden",
    "uten",
    "bez",
    "без",
    "brez",
    "fara",
    "ilman",
    "χωρις",
    "بدون",
    "ללא",
    "tanpa",
    "khong",
    "walang",
    "ilma",
];
/// The same, when "of" or "than" follows.
const INSTEAD: &[&str] = &["instead", "rather", "free"];
const OF: &[&str] = &["of", "than", "from"];
/// In prose, the foods listed after these are absent, unless "do not" precedes.
const AVOID: &[&str] = &[
    "avoid",
    "avoids",
    "avoiding",
    "avoided",
    "skip",
    "skipping",
    "omit",
    "omitting",
    "exclude",
    "excludes",
    "excluding",
    "eliminate",
    "eliminating",
    "allergic",
    "allergy",
    "allergies",
    "intolerant",
    "intolerance",
    "sensitive",
    "sensitivity",
];
/// The same, whatever precedes.
const TRACES: &[&str] = &["traces", "trace", "contamination", "labels", "label"];
/// The same, but only after "may" or "not".
const CONTAIN: &[&str] = &["contain", "contains"];
const NOT: &[&str] = &["not", "dont", "never", "no", "cannot", "cant", "wont", "doesnt"];
const MAY: &[&str] = &["may", "might", "could"];
/// Words allowed between a negation and its food.
const FILLERS: &[&str] = &[
    "any",
    "added",
    "the",
    "a",
    "an",
    "all",
    "of",
    "from",
    "for",
    "to",
    "your",
    "extra",
    "other",
    "using",
    "containing",
    "regular",
    "hidden",
    "such",
    "as",
    "than",
    "with",
    "product",
    "products",
    "ingredient",
    "ingredients",
    "foods",
    "food",
    "add",
    "use",
    "eat",
    "consume",
    "refined",
    "include",
];
/// Of these, verbs that begin another advice when they follow a joint: "avoid dairy and use
/// almond milk".
const VERBS: &[&str] = &["using", "add", "use", "eat", "consume", "include"];
/// Of these, words that lead to what is served when they follow a swap.
const LINKS: &[&str] = &["with", "for", "to"];
/// "avoid milk, oat milk works", "skip the cheese, walnuts instead".
const WORKS: &[&str] = &["work", "works", "instead"];
const IS: &[&str] = &["is", "are"];
const FINE: &[&str] = &["fine", "good", "great", "ok", "okay", "better", "perfect"];
/// Of these, words that do not mean that the food is served.
const ANY: &[&str] = &["any", "added", "the", "a", "an", "all", "of", "other", "such", "as"];
const OR: &[&str] = &["or", "nor"];
const AND: &[&str] = &["and"];
/// "Milk alternative" is not milk.
const SUBSTITUTES: &[&str] = &[
    "alternative",
    "alternatives",
    "substitute",
    "substitutes",
    "replacement",
    "replacements",
    "replacer",
    "analogue",
    "analog",
];
const FOR: &[&str] = &["for", "to"];
/// "everything except pork" has no pork; "no nuts except almonds" has almonds.
const EVERYTHING: &[&str] = &["everything", "anything", "all"];
const EXCEPT: &[&str] = &["except", "but"];
/// In prose, "peanut allergy" is not a peanut.
const AILMENTS: &[&str] = &[
    "allergy",
    "allergies",
    "allergen",
    "allergens",
    "allergic",
    "intolerance",
    "intolerances",
    "intolerant",
    "sensitivity",
    "sensitivities",
];
/// Words that end the reach of "vegan" and "-free".
const SPLITS: &[&str] = &[
    "and",
    "or",
    "with",
    "plus",
    "on",
    "in",
    "over",
    "topped",
    "alongside",
    "served",
    "then",
    "but",
    "from",
];

/// Every word that this module uses.
pub(super) const WORDS: &[&[&str]] = &[
    NO,
    WITHOUT,
    INSTEAD,
    OF,
    AVOID,
    TRACES,
    CONTAIN,
    NOT,
    MAY,
    FILLERS,
    OR,
    AND,
    SUBSTITUTES,
    FOR,
    EVERYTHING,
    EXCEPT,
    AILMENTS,
    SPLITS,
    WORKS,
    IS,
    FINE,
];

/// What a plant may replace.
const REPLACEABLE: Traits = Traits::of(&[
    Trait::Milk,
    Trait::Lactose,
    Trait::Cheese,
    Trait::Egg,
    Trait::Meat,
    Trait::Pork,
    Trait::Beef,
    Trait::Lamb,
    Trait::Poultry,
    Trait::Processed,
    Trait::Fish,
    Trait::Gluten,
    Trait::Wheat,
    Trait::Honey,
    Trait::Sugar,
    Trait::Sweet,
]);

/// Marks what the text rules out.
pub(super) fn apply(items: &mut [Item], register: Register) {
    promise(items);
    leave_out(items);
    for at in 0..items.len() {
        let What::Word(word) = items[at].what else { continue };
        let prose = register == Register::Prose;
        if NO.contains(&word) || (INSTEAD.contains(&word) && is(items, at + 1, OF)) {
            if !(SWAPS.contains(&word) && leads_to_served(items, at + 1)) {
                deny_next(items, at + 1);
            }
            if prose {
                deny_bracketed(items, at);
            }
        }
        if prose && denies_list(items, at, word) {
            let listed = list(items, at + 1);
            listed.iter().for_each(|(at, _)| deny(items, *at));
        }
        if prose && AILMENTS.contains(&word) {
            deny_before(items, at);
        }
        if EXCEPT.contains(&word) && at > 0 && is(items, at - 1, EVERYTHING) {
            deny_next(items, at + 1);
        }
        // "an alternative to milk"
        if SUBSTITUTES.contains(&word) && is(items, at + 1, FOR) {
            deny_next(items, at + 2);
        }
        if SUBSTITUTES.contains(&word)
            && let Some(food) = at.checked_sub(1).and_then(|at| food(items, at))
        {
            food.release(REPLACEABLE);
        }
    }
    release(items);
}

impl Food {
    /// Whether it is the name of a group, and not a dish or ingredient.
    fn is_group(&self) -> bool {
        const GROUPS: Traits = Traits::of(&[Trait::Gluten, Trait::Lactose, Trait::Sulphite]);
        self.generic || (!self.open.is_empty() && self.open.without(GROUPS).is_empty())
    }

    fn release(&mut self, from: Traits) {
        if !self.inherent {
            self.open = self.open.without(from);
        }
        self.hidden = self.hidden.without(from);
        self.maybe = self.maybe.without(from);
    }
}

fn is(items: &[Item], at: usize, list: &[&str]) -> bool {
    matches!(items.get(at), Some(Item { what: What::Word(word), .. }) if list.contains(word))
}

fn is_comma(items: &[Item], at: usize) -> bool {
    matches!(items.get(at), Some(Item { what: What::Comma, .. }))
}

/// A slash or comma without a space.
fn is_tight_comma(items: &[Item], at: usize) -> bool {
    is_comma(items, at)
        && at > 0
        && items[at - 1].range.end == items[at].range.start
        && items.get(at + 1).is_some_and(|next| next.range.start == items[at].range.end)
}

fn food(items: &mut [Item], at: usize) -> Option<&mut Food> {
    match &mut items.get_mut(at)?.what {
        What::Food(food) => Some(food),
        _ => None,
    }
}

fn deny(items: &mut [Item], at: usize) {
    if let Some(food) = food(items, at) {
        food.negated = true;
    }
}

/// Turns "gluten free" and "dairy- and egg-free" into promises of absence.
fn promise(items: &mut [Item]) {
    for at in 1..items.len() {
        if !is(items, at, &["free"]) || is(items, at + 1, OF) {
            continue;
        }
        let Some(last) = food(items, at - 1) else { continue };
        let mut promised = last.open.ruled_out();
        let mut first = at - 1;
        // "gluten/dairy free", too; "with gluten, dairy free" has gluten.
        let joined = |items: &[Item], at: usize| {
            is(items, at, AND) || is(items, at, OR) || is_tight_comma(items, at)
        };
        while first >= 2 && joined(items, first - 1) {
            match food(items, first - 2) {
                Some(food) if food.generic => promised = promised.or(food.open.ruled_out()),
                _ => break,
            }
            first -= 2;
        }
        items[first..at].iter_mut().for_each(|item| item.what = What::Other);
        items[at].what = What::Free(promised);
    }
}

/// "Pain sans gluten", "leche sin lactosa": the food before is free from the group after;
/// without one, the next food is.
fn leave_out(items: &mut [Item]) {
    for at in 0..items.len() {
        if !is(items, at, WITHOUT) {
            continue;
        }
        let Some(group) = food(items, at + 1).filter(|food| food.is_group()) else { continue };
        let promised = group.open.ruled_out();
        match behind(items, at).first() {
            Some(before) => {
                if let Some(food) = food(items, *before) {
                    food.release(promised);
                }
                deny(items, at + 1);
            }
            None => {
                items[at].what = What::Other;
                items[at + 1].what = What::Free(promised);
            }
        }
    }
}

/// How a food of a list is joined to the previous one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    First,
    Comma,
    And,
    Or,
}

/// Whether a food that is served follows: "swap for shrimp", "replace with cashew butter".
fn leads_to_served(items: &[Item], from: usize) -> bool {
    let fillers = (from..).take_while(|at| is(items, *at, FILLERS));
    fillers.into_iter().any(|at| [LINKS, VERBS].iter().any(|words| is(items, at, words)))
}

/// Whether the next part of a list is a new advice: "avoid dairy and use almond milk".
fn starts_advice(items: &[Item], from: usize) -> bool {
    is(items, from, &["with"])
        || (from..).take_while(|at| is(items, *at, FILLERS)).any(|at| is(items, at, VERBS))
}

/// Whether the words after a food say that it is served: "oat milk works", "is fine".
fn is_served(items: &[Item], after: usize) -> bool {
    is(items, after, WORKS) || (is(items, after, IS) && is(items, after + 1, FINE))
}

/// The list of foods that starts at `from`, fillers aside.
fn list(items: &[Item], from: usize) -> Vec<(usize, Joint)> {
    let mut found = whole_list(items, from);
    let served = found.last().is_some_and(|(last, _)| is_served(items, last + 1));
    if served && let Some(comma) = found.iter().rposition(|(_, joint)| *joint == Joint::Comma) {
        found.truncate(comma);
    }
    found
}

fn whole_list(items: &[Item], from: usize) -> Vec<(usize, Joint)> {
    let mut found = Vec::new();
    let mut joint = Joint::First;
    let mut at = from;
    loop {
        if joint != Joint::First && starts_advice(items, at) {
            return found;
        }
        while is(items, at, FILLERS) {
            at += 1;
        }
        if !matches!(items.get(at), Some(Item { what: What::Food(_), .. })) {
            return found;
        }
        found.push((at, joint));
        at += 1;
        let comma = is_comma(items, at);
        at += usize::from(comma);
        joint = match () {
            () if is(items, at, OR) => Joint::Or,
            () if is(items, at, AND) => Joint::And,
            () if comma => Joint::Comma,
            () => return found,
        };
        at += usize::from(joint != Joint::Comma);
    }
}

/// "no X"; "no X, Y or Z"; and groups after "and": "without gluten and dairy".
fn deny_next(items: &mut [Item], from: usize) {
    let listed = list(items, from);
    let through_or = listed.iter().rposition(|(_, joint)| *joint == Joint::Or);
    let reach = through_or.map_or(1, |index| index + 1);
    for (index, (at, joint)) in listed.into_iter().enumerate() {
        let group = food(items, at).is_some_and(|food| food.generic);
        if index < reach || (joint == Joint::And && group) {
            deny(items, at);
        } else {
            return;
        }
    }
}

/// "(no onion, garlic)", "(without milk and eggs)": nothing in brackets is served if they
/// contain only what is left out.
fn deny_bracketed(items: &mut [Item], from: usize) {
    let ends = |item: &Item| matches!(item.what, What::Bracket | What::Stop);
    let begins = items[..from].iter().rposition(ends).map_or(0, |at| at + 1);
    let end = items[from..].iter().position(ends).map_or(items.len(), |length| from + length);
    let is_bracket = |at: usize| matches!(items.get(at), Some(Item { what: What::Bracket, .. }));
    let left_out = |at: usize| {
        matches!(items[at].what, What::Food(_) | What::Comma | What::Free(_))
            || [NO, OR, AND, ANY].iter().any(|words| is(items, at, words))
    };
    let opened = begins > 0 && is_bracket(begins - 1);
    // Names of diets before it are not foods: "(Halal / no pork)".
    let nothing_before = !(begins..from).any(|at| matches!(items[at].what, What::Food(_)));
    if opened && is_bracket(end) && nothing_before && (from..end).all(left_out) {
        (from..end).for_each(|at| deny(items, at));
    }
}

fn denies_list(items: &[Item], at: usize, word: &str) -> bool {
    let after = |words: &[&str]| (1..=3).any(|back| at >= back && is(items, at - back, words));
    if CONTAIN.contains(&word) {
        after(NOT) || after(MAY)
    } else {
        TRACES.contains(&word) || (AVOID.contains(&word) && !after(NOT))
    }
}

/// "nut and milk allergies".
fn deny_before(items: &mut [Item], at: usize) {
    let mut end = at;
    while end >= 1 && food(items, end - 1).is_some() {
        deny(items, end - 1);
        if end < 3 || !(is(items, end - 2, AND) || is(items, end - 2, OR)) {
            return;
        }
        end -= 2;
    }
}

/// Removes what is promised absent ("vegan", "gluten-free") from its foods: those after
/// it up to a split; else those before it.
fn release(items: &mut [Item]) {
    for at in 0..items.len() {
        let (promised, own) = match &items[at].what {
            What::Free(promised) => (*promised, true),
            What::Food(food) if !food.frees.is_empty() => (food.frees, false),
            _ => continue,
        };
        let ahead = ahead(items, at);
        let reached = if ahead.is_empty() && own { behind(items, at) } else { ahead };
        for at in reached {
            if let Some(food) = food(items, at) {
                food.release(promised);
            }
        }
    }
}

fn splits(items: &[Item], at: usize) -> bool {
    matches!(items[at].what, What::Comma | What::Bracket | What::Stop) || is(items, at, SPLITS)
}

/// Foods after `at`, up to a split; a comma before the next promise is not one.
fn ahead(items: &[Item], at: usize) -> Vec<usize> {
    let mut found = Vec::new();
    for next in at + 1..items.len() {
        let more = matches!(items.get(next + 1), Some(Item { what: What::Free(_), .. }));
        match items[next].what {
            What::Food(_) => found.push(next),
            What::Comma if more => {}
            _ if more && is(items, next, AND) => {}
            _ if splits(items, next) => break,
            _ => {}
        }
    }
    found
}

/// The nearest foods before `at` in the sentence, across at most two breaks.
fn behind(items: &[Item], at: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut breaks = 0;
    for back in (0..at).rev() {
        match items[back].what {
            What::Food(_) => found.push(back),
            What::Stop => break,
            _ if splits(items, back) => {
                breaks += 1;
                if !found.is_empty() || breaks > 2 {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}
