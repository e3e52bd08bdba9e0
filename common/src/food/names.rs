//! What foods are called in other languages, where people declare them.
//!
//! A name stands for a term of the food tables (`haselnuss` for `hazelnut`), so
//! a language is data: the names of the EU allergens in fifty languages, and a
//! table by hand of the words people use beside them. These names are looked for
//! in what a person declares, not in plans, where many are ordinary English words.
//! Endings, compounds and typing errors are understood by rule; a wrong guess
//! can only take a food away, never allow one.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::foods;
use crate::lexicon::Entry;
use crate::lexicon::spelling::Misspellings;
use crate::lexicon::token;

/// Key, group, locale and name by line, tab-separated; source in its header.
const EU_NAMES: &str = include_str!("data/allergen_names.tsv");
/// `term of the food tables = names`, by hand.
const OTHER_NAMES: &str = include_str!("data/other_languages.txt");
/// What may stand before or after a food in a compound of such languages.
const PARTS: &str = include_str!("data/compound_parts.txt");

/// The keys of [`EU_NAMES`] as terms of the food tables.
const KEYS: [(&str, &str); 28] = [
    ("ALMONDS", "almond"),
    ("BARLEY", "barley"),
    ("BRAZIL_NUTS", "brazil nut"),
    ("CASHEWS", "cashew"),
    ("CELERY", "celery"),
    ("CRUSTACEANS", "crustacean"),
    ("EGGS", "egg"),
    ("EINKORN", "einkorn"),
    ("EMMER", "emmer"),
    ("FISH", "fish"),
    ("HAZELNUTS", "hazelnut"),
    ("KHORASAN", "khorasan"),
    ("LUPINS", "lupin"),
    ("MACADAMIA", "macadamia"),
    ("MILK", "milk"),
    ("MOLLUSCS", "mollusc"),
    ("MUSTARD", "mustard"),
    ("OATS", "oat"),
    ("PEANUTS", "peanut"),
    ("PECANS", "pecan"),
    ("PISTACHIOS", "pistachio"),
    ("RYE", "rye"),
    ("SESAME", "sesame"),
    ("SOY", "soy"),
    ("SPELT", "spelt"),
    ("SULPHITES", "sulphite"),
    ("WALNUTS", "walnut"),
    ("WHEAT", "wheat"),
];

/// The longest name, in words.
const MOST_WORDS: usize = 5;
/// A longer word is not taken apart: it is no word, and that would take long.
const MOST_BYTES: usize = 120;
/// Shorter names are not guessed at.
const MIN_STEM: usize = 4;
/// Letters an inflected form may have beyond the stem.
const MAX_ENDING: usize = 4;

type Terms = Vec<&'static Entry>;

struct Names {
    by_name: HashMap<String, Terms>,
    /// Names in scripts that put no space between words.
    unspaced: Vec<(String, Terms)>,
    heads: Vec<&'static str>,
    tails: Vec<&'static str>,
}

static NAMES: LazyLock<Names> = LazyLock::new(load);

/// The terms meant by the words that begin at the first of `words`, and how
/// many words they are; exactly as the tables have them.
pub(super) fn longest(words: &[Option<&str>]) -> Option<(&'static [&'static Entry], usize)> {
    let most = words.iter().take(MOST_WORDS).take_while(|word| word.is_some()).count();
    (1..=most).rev().find_map(|length| {
        let phrase: Vec<&str> = words[..length].iter().copied().flatten().collect();
        let terms = NAMES.by_name.get(&phrase.join(" "))?;
        Some((terms.as_slice(), length))
    })
}

/// The terms meant by a word the tables do not have in this form: a compound
/// ("Nussallergie"), or a word of a script without spaces.
pub(super) fn compound(word: &str) -> Option<&'static [&'static Entry]> {
    if word.len() > MOST_BYTES {
        return None;
    }
    unspaced(word).or_else(|| tailed(word)).or_else(|| headed(word))
}

/// The terms meant by an inflected or misspelt form of a name.
pub(super) fn similar(word: &str) -> Option<&'static [&'static Entry]> {
    if word.len() > MOST_BYTES {
        return None;
    }
    inflected(word).or_else(|| misspelt(word))
}

fn unspaced(word: &str) -> Option<&'static [&'static Entry]> {
    if !word.chars().any(is_unspaced) {
        return None;
    }
    let found = NAMES.unspaced.iter().filter(|(name, _)| word.contains(name.as_str()));
    found.max_by_key(|(name, _)| name.len()).map(|(_, terms)| terms.as_slice())
}

fn tailed(word: &str) -> Option<&'static [&'static Entry]> {
    NAMES.tails.iter().find_map(|tail| {
        let first = word.strip_suffix(tail).filter(|first| !first.is_empty())?;
        JOINTS.iter().find_map(|joint| part(first.strip_suffix(joint)?))
    })
}

fn headed(word: &str) -> Option<&'static [&'static Entry]> {
    let known = NAMES.heads.iter().find_map(|head| part(word.strip_prefix(head)?));
    known.or_else(|| {
        let starts = word.char_indices().map(|(at, _)| at).filter(|at| *at >= 3);
        starts
            .filter(|at| word[*at..].chars().count() > MIN_STEM)
            .find_map(|at| NAMES.by_name.get(&word[at..]).map(Vec::as_slice))
    })
}

/// What stands between the parts of a compound.
const JOINTS: [&str; 9] = ["", "s", "n", "en", "e", "er", "es", "o", "i"];

fn part(word: &str) -> Option<&'static [&'static Entry]> {
    // "not" is Swedish for nut without its dots, and elsewhere not a food.
    let word = if word == "not" { "notter" } else { word };
    if word.chars().count() < 2 {
        return None;
    }
    NAMES.by_name.get(word).map(Vec::as_slice).or_else(|| {
        let terms = (word.chars().count() >= MIN_STEM).then(|| inflected(word));
        terms.flatten()
    })
}

fn inflected(word: &str) -> Option<&'static [&'static Entry]> {
    let letters = word.chars().count();
    let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
    // The longest common stem decides.
    (MIN_STEM.max(letters.saturating_sub(MAX_ENDING))..=letters).rev().find_map(|length| {
        let stem = &word[..ends[length]];
        STEMS.get(stem).map(Vec::as_slice)
    })
}

fn misspelt(word: &str) -> Option<&'static [&'static Entry]> {
    let limit = match word.chars().count() {
        0..=4 => return None,
        5..=8 => 1,
        9..=24 => 2,
        _ => return None,
    };
    let (_, name) = MISSPELLINGS
        .near(word, word.chars().next()?, limit)
        .map(|(edits, name, ())| (edits, name))
        .min()?;
    NAMES.by_name.get(name).map(Vec::as_slice)
}

static MISSPELLINGS: LazyLock<Misspellings<()>> = LazyLock::new(|| {
    let mut names = Misspellings::default();
    NAMES.by_name.keys().filter(|name| !name.contains(' ')).for_each(|name| names.add(name, ()));
    names
});

/// Names of one word without their ending, where what is left is long enough
/// to know them by.
static STEMS: LazyLock<HashMap<String, Terms>> = LazyLock::new(|| {
    let mut stems: HashMap<String, Terms> = HashMap::new();
    for (name, terms) in &NAMES.by_name {
        let stem = stem(name);
        if stem.chars().count() >= MIN_STEM && !name.contains(' ') {
            add(&mut stems, stem.to_owned(), terms);
        }
    }
    stems
});

/// The name without its last vowels and signs of softness, at most two.
fn stem(name: &str) -> &str {
    let is_ending = |c: char| "aeiouyийыьяюaeoyёηαοιυ".contains(c);
    let once = name.strip_suffix(is_ending).unwrap_or(name);
    once.strip_suffix(is_ending).unwrap_or(once)
}

fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}')
}

fn load() -> Names {
    let mut by_name: HashMap<String, Terms> = HashMap::new();
    for line in EU_NAMES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [key, _, _, name] = *fields else { continue };
        let Some((_, term)) = KEYS.iter().find(|(known, _)| *known == key) else { continue };
        // "Milk (lactose included)" says more about milk; other brackets and
        // slashes hold a second name.
        let names = name.split(['(', ')', '/', ',', '、', '（', '）']);
        for name in names.take(if key == "MILK" { 1 } else { usize::MAX }) {
            add(&mut by_name, token::plain(name), &terms(term));
        }
    }
    for line in OTHER_NAMES.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((term, names)) = line.split_once('=') else { continue };
        for name in names.split(',') {
            add(&mut by_name, token::plain(name), &terms(term));
        }
    }
    by_name.remove("");
    let unspaced = by_name.iter().filter(|(name, _)| name.chars().any(is_unspaced));
    let unspaced = unspaced.map(|(name, terms)| (name.clone(), terms.clone())).collect();
    let section = |title: &str| {
        let lines = PARTS.lines().filter_map(|line| line.strip_prefix(title));
        let mut parts: Vec<_> = lines.flat_map(str::split_whitespace).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts
    };
    Names { heads: section("before:"), tails: section("after:"), by_name, unspaced }
}

/// The terms of the food tables in a list joined by `&`.
fn terms(list: &str) -> Terms {
    let term = |term: &str| {
        let words = token::plain(term);
        let ids: Vec<_> = words.split(' ').map(|word| foods().word(word)).collect();
        foods().longest(&ids).filter(|(_, length)| *length == ids.len()).map(|(entry, _)| entry)
    };
    list.split('&').filter_map(term).collect()
}

fn add(names: &mut HashMap<String, Terms>, name: String, terms: &Terms) {
    let known = names.entry(name).or_default();
    for term in terms {
        if !known.iter().any(|own| own.term == term.term) {
            known.push(term);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_a_term_of_the_tables() {
        for (key, term) in KEYS {
            assert_eq!(terms(term).len(), 1, "{key}: {term}");
        }
        let lines = OTHER_NAMES.lines().filter(|line| !line.starts_with('#'));
        for line in lines.filter_map(|line| line.split_once('=')) {
            let expected = line.0.split('&').count();
            assert_eq!(terms(line.0).len(), expected, "{:?} is no term of the food tables", line.0);
        }
        assert!(
            NAMES.by_name.len() > 1_200 && NAMES.by_name.values().all(|terms| !terms.is_empty())
        );
    }
}
