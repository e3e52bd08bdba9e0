//! Finds conditions and medicines in a person's answers, in fifty languages.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use crate::lexicon::token;

const CONDITIONS: &str = include_str!("data/conditions.txt");
const MEDICATIONS: &str = include_str!("data/medications.txt");

/// A word before another, at most so many words, denies it: "not (currently) pregnant".
const DENIAL_REACH: usize = 2;
/// Doubt goes to caution: what only may deny is not here.
const DENIALS: [&str; 32] = [
    "no", "not", "never", "without", "isnt", "arent", "wasnt", "nicht", "keine", "kein", "nie",
    "niet", "geen", "non", "pas", "aucun", "aucune", "sin", "nunca", "ninguna", "ningun", "não",
    "nenhuma", "nessuna", "mai", "inte", "ikke", "ingen", "ei", "не", "нет", "nem",
];

/// A stem or phrase, in plain letters.
struct Word {
    parts: Vec<String>,
    /// Nothing may follow it.
    whole: bool,
}

/// Words by what they name. Every request is searched for all of them.
#[derive(Default)]
struct Table {
    names: Vec<&'static str>,
    /// By their first letter, each with the place of its name.
    spaced: HashMap<char, Vec<(usize, Word)>>,
    /// Words of scripts without spaces.
    unspaced: Vec<(usize, String)>,
}

static CONDITION_WORDS: LazyLock<Table> = LazyLock::new(|| table(CONDITIONS));
static MEDICATION_WORDS: LazyLock<Table> = LazyLock::new(|| table(MEDICATIONS));
static DENIAL_WORDS: LazyLock<Vec<String>> =
    LazyLock::new(|| DENIALS.iter().map(|word| token::plain(word)).collect());

/// The conditions a text names, by their names in the table.
pub(super) fn conditions(text: &str) -> Vec<&'static str> {
    named(text, &CONDITION_WORDS)
}

/// The codes of the medicines a text names.
pub(super) fn medications(text: &str) -> Vec<&'static str> {
    named(text, &MEDICATION_WORDS)
}

fn named(text: &str, table: &Table) -> Vec<&'static str> {
    let plain = token::plain(text);
    let words: Vec<&str> = plain.split(' ').collect();
    let mut found = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        let alike = word.chars().next().and_then(|first| table.spaced.get(&first));
        for (name, stem) in alike.into_iter().flatten() {
            if stem.begins(&words[at..]) && !is_denied(&words, at) {
                found.insert(*name);
            }
        }
    }
    if !plain.is_ascii() {
        let contained = table.unspaced.iter().filter(|(_, word)| plain.contains(word));
        found.extend(contained.map(|(name, _)| *name));
    }
    found.into_iter().map(|name| table.names[name]).collect()
}

impl Word {
    /// Whether the words begin with this one; its last part may go on.
    fn begins(&self, words: &[&str]) -> bool {
        let Some((last, before)) = self.parts.split_last() else { return false };
        let ends = |word: &&str| if self.whole { word == last } else { word.starts_with(last) };
        words.iter().zip(before).all(|(word, part)| word == part)
            && words.get(before.len()).is_some_and(ends)
    }
}

fn is_denied(words: &[&str], at: usize) -> bool {
    let before = &words[at.saturating_sub(DENIAL_REACH)..at];
    before.iter().any(|word| DENIAL_WORDS.iter().any(|denial| denial == word))
}

fn table(text: &'static str) -> Table {
    let mut table = Table::default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for (name, list) in lines.filter_map(|line| line.split_once(" = ")) {
        let place = table.names.len();
        table.names.push(name.trim());
        for word in list.split(',') {
            let plain = token::plain(word);
            if word.chars().any(is_unspaced) {
                table.unspaced.push((place, plain));
            } else if let Some(first) = plain.chars().next() {
                let parts = plain.split(' ').map(str::to_owned).collect();
                let word = Word { parts, whole: word.trim().ends_with('!') };
                table.spaced.entry(first).or_default().push((place, word));
            }
        }
    }
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
