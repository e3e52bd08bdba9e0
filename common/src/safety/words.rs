//! Finds conditions and medicines in a person's answers, in fifty languages.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::lexicon::token::{self, Token};

const CONDITIONS: &str = include_str!("data/conditions.txt");
const MEDICATIONS: &str = include_str!("data/medications.txt");

/// A word before another, at most so many words, denies it: "not (currently) pregnant".
const DENIAL_REACH: usize = 2;
/// The same before the last item of "no kidney disease or diabetes".
const DENIAL_REACH_OF_LIST: usize = 5;
const GOES_ON: [&str; 2] = ["or", "nor"];
/// Doubt goes to caution: what only may deny is not here. "Mai" is never in Italian, but
/// still in Romanian.
const DENIALS: [&str; 33] = [
    "no", "not", "never", "neither", "nor", "without", "isnt", "arent", "wasnt", "nicht", "keine",
    "kein", "nie", "niet", "geen", "non", "pas", "aucun", "aucune", "sin", "nunca", "ninguna",
    "ningun", "não", "nenhuma", "nessuna", "inte", "ikke", "ingen", "ei", "не", "нет", "nem",
];

/// A stem or phrase, in plain letters.
struct Word {
    parts: Vec<String>,
    /// Nothing may follow it in its last word.
    whole: bool,
    /// It is the first of its clause.
    opens: bool,
    /// It is the last of its clause.
    closes: bool,
}

/// A word of a text; a comma, bracket or full stop ends its clause.
struct Said<'a> {
    word: &'a str,
    clause: usize,
}

/// Words by what they name. Every request is searched for all of them.
#[derive(Default)]
pub(super) struct Table {
    names: Vec<&'static str>,
    /// By their first letter, each with the place of its name.
    spaced: FxHashMap<char, Vec<(usize, Word)>>,
    /// Words of scripts without spaces, the longest first.
    unspaced: Vec<(usize, String)>,
}

static CONDITION_WORDS: LazyLock<Table> = LazyLock::new(|| table(CONDITIONS));
static MEDICATION_WORDS: LazyLock<Table> = LazyLock::new(|| table(MEDICATIONS));
static DENIAL_WORDS: LazyLock<Vec<String>> =
    LazyLock::new(|| DENIALS.iter().map(|word| token::plain(word)).collect());

/// The conditions a text names, by their names in the table.
pub(super) fn conditions(text: &str) -> Vec<&'static str> {
    named(text, &CONDITION_WORDS, is_denied)
}

/// The codes of the medicines a text names.
pub(super) fn medications(text: &str) -> Vec<&'static str> {
    named(text, &MEDICATION_WORDS, is_denied)
}

/// The names of what a text mentions, also to deny it.
pub(super) fn mentioned(text: &str, table: &Table) -> Vec<&'static str> {
    named(text, table, |_, _| false)
}

fn named(
    text: &str,
    table: &Table,
    is_denied: fn(&[Said<'_>], usize) -> bool,
) -> Vec<&'static str> {
    let tokens = token::tokens(text);
    let words = said(&tokens);
    let mut found = BTreeSet::new();
    for (at, said) in words.iter().enumerate() {
        let alike = said.word.chars().next().and_then(|first| table.spaced.get(&first));
        for (name, stem) in alike.into_iter().flatten() {
            if stem.begins(&words, at) && !is_denied(&words, at) {
                found.insert(*name);
            }
        }
    }
    if words.iter().any(|said| !said.word.is_ascii()) {
        let plain: Vec<&str> = words.iter().map(|said| said.word).collect();
        found.extend(table.contained(plain.join(" ")));
    }
    found.into_iter().map(|name| table.names[name]).collect()
}

fn said(tokens: &[Token]) -> Vec<Said<'_>> {
    let mut clause = 0;
    let mut words = Vec::with_capacity(tokens.len());
    for token in tokens {
        match token.word() {
            Some(word) => words.push(Said { word, clause }),
            None => clause += 1,
        }
    }
    words
}

impl Table {
    /// The places of the names of the unspaced words. A longer word hides those in it.
    fn contained(&self, mut text: String) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for (name, word) in &self.unspaced {
            if text.contains(word) {
                found.insert(*name);
                text = text.replace(word, " ");
            }
        }
        found
    }
}

impl Word {
    /// Whether it stands at a place; its last part may go on.
    fn begins(&self, words: &[Said<'_>], at: usize) -> bool {
        let Some((last, before)) = self.parts.split_last() else { return false };
        let ends = |said: &Said<'_>| {
            if self.whole { said.word == last } else { said.word.starts_with(last) }
        };
        let end = at + before.len();
        words[at..].iter().zip(before).all(|(said, part)| said.word == part)
            && words.get(end).is_some_and(ends)
            && (!self.opens || at == 0 || words[at - 1].clause != words[at].clause)
            && (!self.closes
                || words.get(end + 1).is_none_or(|next| next.clause != words[end].clause))
    }
}

fn is_denied(words: &[Said<'_>], at: usize) -> bool {
    let clause = words[at].clause;
    let before = words[..at].iter().rev().take_while(|said| said.clause == clause);
    let goes_on = before.clone().next().is_some_and(|said| GOES_ON.contains(&said.word));
    let reach = if goes_on { DENIAL_REACH_OF_LIST } else { DENIAL_REACH };
    before.take(reach).any(|said| DENIAL_WORDS.iter().any(|denial| denial == said.word))
}

/// Reads lines of `name = words`.
pub(super) fn table(text: &'static str) -> Table {
    let mut table = Table::default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for (name, list) in lines.filter_map(|line| line.split_once(" = ")) {
        let place = table.names.len();
        table.names.push(name.trim());
        for word in list.split(',').map(str::trim) {
            let plain = token::plain(word);
            if word.chars().any(is_unspaced) {
                table.unspaced.push((place, plain));
            } else if let Some(first) = plain.chars().next() {
                let parts = plain.split(' ').map(str::to_owned).collect();
                let closes = word.ends_with('.');
                let whole = closes || word.ends_with('!');
                let word = Word { parts, whole, opens: word.starts_with('.'), closes };
                table.spaced.entry(first).or_default().push((place, word));
            }
        }
    }
    table.unspaced.sort_by_key(|(_, word)| std::cmp::Reverse(word.len()));
    table
}

/// Scripts that put no space between words, or join words to them on both sides.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{590}'..='\u{6ff}' | '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_in_the_languages_of_the_tables() {
        for (text, expected) in [
            ("I'm 5 months pregnant", "pregnant"),
            ("Schwangerschaft", "pregnant"),
            ("ich bin schwanger", "pregnant"),
            ("embarazada", "pregnant"),
            ("estoy embarazada de 3 meses", "pregnant"),
            ("grávida", "pregnant"),
            ("incinta", "pregnant"),
            ("enceinte", "pregnant"),
            ("беременность 20 недель", "pregnant"),
            ("jestem w ciąży", "pregnant"),
            ("těhotná", "pregnant"),
            ("hamileyim", "pregnant"),
            ("妊娠中", "pregnant"),
            ("我怀孕了", "pregnant"),
            ("임신 중", "pregnant"),
            ("أنا حامل", "pregnant"),
            ("אני בהריון", "pregnant"),
            ("गर्भवती हूँ", "pregnant"),
            ("đang mang thai", "pregnant"),
            ("έγκυος", "pregnant"),
            ("raskaana", "pregnant"),
            ("stillend", "breastfeeding"),
            ("breast-feeding", "breastfeeding"),
            ("allaitement", "breastfeeding"),
            ("кормлю грудью", "breastfeeding"),
            ("授乳中", "breastfeeding"),
            ("recovering from anorexia", "eating_disorder"),
            ("Essstörung", "eating_disorder"),
            ("Magersucht", "eating_disorder"),
            ("trastorno alimentario", "eating_disorder"),
            ("摂食障害", "eating_disorder"),
            ("анорексия", "eating_disorder"),
            ("Type 2 diabetes", "diabetes"),
            ("Zuckerkrankheit, Diabetes", "diabetes"),
            ("糖尿病", "diabetes"),
            ("chronic kidney disease", "kidney"),
            ("Niereninsuffizienz", "kidney"),
            ("heart disease", "heart"),
            ("Herzinsuffizienz", "heart"),
        ] {
            assert!(conditions(text).contains(&expected), "{text}: {:?}", conditions(text));
        }
        for text in [
            "",
            "none",
            "not pregnant",
            "no diabetes",
            "nicht schwanger",
            "heartburn",
            "asthma",
            "no estoy embarazada",
            "knee pain",
            "high cholesterol",
            "back pain",
            "hypertension",
            "lactose intolerance",
            "hypothyroidism",
            "PCOS",
            "ninguna",
            "keine",
            "عدم تحمل اللاكتوز",
            "ปวดท้อง",
            "stressed",
            "ammonia allergy",
            "Laktoseintoleranz",
            "loss of appetite",
        ] {
            assert_eq!(conditions(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_denial_ends_with_its_clause() {
        for (text, expected) in [
            ("No allergies, pregnant", vec!["pregnant"]),
            ("keine Medikamente, schwanger", vec!["pregnant"]),
            ("sin alergias; embarazada", vec!["pregnant"]),
            ("No alcohol, breastfeeding", vec!["breastfeeding"]),
            ("no alcohol (breastfeeding)", vec!["breastfeeding"]),
            ("no diabetes. anorexia", vec!["eating_disorder"]),
            ("Medications: no\nPregnant", vec!["pregnant"]),
            ("no, pregnant", vec!["pregnant"]),
            ("no diabetes, kidney disease", vec!["kidney"]),
            ("no diabetes or kidney disease", vec![]),
            ("no kidney disease or diabetes", vec![]),
            ("not pregnant or breastfeeding", vec![]),
            ("neither pregnant nor breastfeeding", vec![]),
            ("not currently pregnant", vec![]),
            ("not pregnant, not breastfeeding", vec![]),
        ] {
            assert_eq!(conditions(text), expected, "{text}");
        }
        assert_eq!(medications("no aspirin, warfarin"), ["warfarin_vitamin_k"]);
        assert_eq!(medications("no warfarin"), [""; 0]);
    }

    #[test]
    fn what_is_still_so_is_not_denied() {
        assert_eq!(conditions("mai alăptez"), ["breastfeeding"]);
        assert_eq!(conditions("ik ben pas zwanger"), ["pregnant"]);
        assert_eq!(conditions("je ne suis pas enceinte"), [""; 0]);
    }

    #[test]
    fn nursing_a_child_is_not_the_job() {
        for text in [
            "currently nursing",
            "I'm nursing, tired",
            "still nursing my son",
            "nursing twins",
            "Nursing",
        ] {
            assert_eq!(conditions(text), ["breastfeeding"], "{text}");
        }
        for text in [
            "nurse",
            "I'm a nurse",
            "nursing student",
            "currently nursing student",
            "I work in nursing",
            "nursing home night shifts",
        ] {
            assert_eq!(conditions(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn expecting_a_child_is_not_expecting_anything_else() {
        for text in [
            "expecting twins",
            "expecting our first in May",
            "we're expecting",
            "expectant mother",
            "expecting a baby girl",
        ] {
            assert_eq!(conditions(text), ["pregnant"], "{text}");
        }
        for text in ["expecting results soon", "expecting my period", "not expecting"] {
            assert_eq!(conditions(text), [""; 0], "{text}");
        }
    }

    /// Pregnancy and breastfeeding in each of the languages the food tables know, eating
    /// disorders in most.
    #[test]
    fn conditions_are_read_as_they_are_said_in_fifty_languages() {
        let locales: std::collections::BTreeSet<&str> =
            include_str!("../food/data/allergen_names.tsv")
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split('\t').nth(2))
                .collect();
        assert_eq!(locales.len(), 50);
        let spoken = include_str!("data/conditions_spoken.txt");
        let mut seen = std::collections::BTreeSet::new();
        let mut missed = Vec::new();
        for line in spoken.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let [locale, condition, answers] = fields[..] else { panic!("{line}") };
            assert!(locales.contains(locale), "{line}");
            seen.insert((locale, condition));
            for answer in answers.split(';').map(str::trim) {
                if !conditions(answer).contains(&condition) {
                    missed.push((locale, condition, answer));
                }
            }
        }
        assert_eq!(missed, []);
        for locale in locales {
            for condition in ["pregnant", "breastfeeding"] {
                assert!(seen.contains(&(locale, condition)), "{locale} {condition}");
            }
        }
        assert!(seen.iter().filter(|(_, condition)| *condition == "eating_disorder").count() >= 42);
    }

    #[test]
    fn medicines_are_read_by_name_and_brand() {
        for (text, expected) in [
            ("Warfarin 5mg daily", "warfarin_vitamin_k"),
            ("Marcumar", "warfarin_vitamin_k"),
            ("taking phenelzine (Nardil)", "maoi_tyramine"),
            ("atorvastatin 20", "statin_grapefruit"),
            ("Levothyroxine", "levothyroxine_timing"),
            ("lisinopril, metformin", "potassium"),
            ("insulin pump", "blood_sugar"),
            ("Jardiance", "sglt2_low_carb"),
        ] {
            assert!(medications(text).contains(&expected), "{text}");
        }
        for text in ["none", "ibuprofen", "vitamin D", "rosuvastatin", "metformin"] {
            assert_eq!(medications(text), [""; 0], "{text}");
        }
    }
}
