//! Finds the injured parts of the body in a person's answers, in the languages of plans.
//!
//! In doubt a part counts: "cannot bend my knee" is no denial of the knee.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use rustc_hash::FxHashSet;

use super::words::{self, Table};
use crate::food::Unread;
use crate::lexicon::token::{Token, plain, tokens};
use crate::lexicon::{Bits, Lexicon, Marks, Problem};
use crate::quiz::Quiz;

/// The parts of the body that exercises of a plan are checked for.
pub const PARTS: [&str; 8] =
    ["knee", "lower-back", "shoulder", "wrist", "elbow", "ankle", "hip", "neck"];

const POINTER: &str = "/answers/injuries";
const NOT_CHECKED: &str = "No part of the body was recognised in this answer, so the exercises of \
    the plan are not checked for it. Name the part: knee, lower back, shoulder, elbow, wrist, hip, \
    ankle or neck.";
/// The highest number of words shown, and of the characters of each.
const MOST_WORDS: usize = 20;
const MOST_CHARS: usize = 60;

static TERMS: LazyLock<(Lexicon, Vec<Problem>)> = LazyLock::new(|| {
    Lexicon::load(&[include_str!("data/injuries.txt")], &Marks { bit, implied: |bits| bits })
});
static STEMS: LazyLock<Table> = LazyLock::new(|| words::table(include_str!("data/body_parts.txt")));
static NONE: LazyLock<NoInjuries> =
    LazyLock::new(|| NoInjuries::read(include_str!("data/no_injuries.txt")));

fn bit(part: &str) -> Option<Bits> {
    PARTS.iter().position(|one| *one == part).map(|place| 1 << place)
}

/// The parts of the body that a text names, of [`PARTS`].
pub fn injured_parts(text: &str) -> BTreeSet<&'static str> {
    let bits = termed(text);
    let termed = PARTS.into_iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
    let stemmed = words::mentioned(text, &STEMS).into_iter().flat_map(str::split_whitespace);
    termed.map(|(_, part)| part).chain(stemmed.filter(|part| bit(part).is_some())).collect()
}

/// What of the answer about injuries plans are not checked for.
pub fn unread_injuries(quiz: &Quiz) -> Option<Unread> {
    let answer = quiz.injuries.as_deref().unwrap_or_default();
    // Most people have none, which is found out sooner.
    if NONE.says(answer) || !injured_parts(answer).is_empty() {
        return None;
    }
    let words = plain(answer);
    let words = words.split(' ').take(MOST_WORDS);
    Some(Unread {
        pointer: POINTER.to_owned(),
        words: words.map(|word| word.chars().take(MOST_CHARS).collect()).collect(),
        text: NOT_CHECKED.to_owned(),
    })
}

/// The open marks of all terms in a text, longest terms first.
fn termed(text: &str) -> Bits {
    let tokens = tokens(text);
    let known = |word| TERMS.0.word(word).or_else(|| TERMS.0.guess(word));
    let ids: Vec<_> = tokens.iter().map(|token| token.word().and_then(known)).collect();
    let mut found = 0;
    let mut at = 0;
    while at < tokens.len() {
        let (bits, length) = term(&tokens, &ids, at);
        found |= bits;
        at += length;
    }
    found
}

fn term(tokens: &[Token], ids: &[Option<u32>], at: usize) -> (Bits, usize) {
    if let Some((entry, length)) = TERMS.0.longest(&ids[at..]) {
        return (entry.open, length);
    }
    // "Knee cap" is one word in the table.
    let joined = tokens[at].word().zip(tokens.get(at + 1).and_then(Token::word));
    let joined = joined.and_then(|(one, two)| TERMS.0.word(&format!("{one}{two}")));
    let term = joined.and_then(|id| TERMS.0.longest(&[Some(id)]));
    term.map_or((0, 1), |(entry, _)| (entry.open, 2))
}

/// The words of answers that declare no injury.
struct NoInjuries {
    no: FxHashSet<String>,
    beside: FxHashSet<String>,
    anywhere: Vec<String>,
}

impl NoInjuries {
    fn read(table: &str) -> Self {
        let line = |name: &str| -> Vec<String> {
            let found = table.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().split(',').map(plain).collect()
        };
        Self {
            no: line("no = ").into_iter().collect(),
            beside: line("beside = ").into_iter().collect(),
            anywhere: line("anywhere = "),
        }
    }

    /// Whether the answer is empty, or made of words that deny and words beside them.
    fn says(&self, answer: &str) -> bool {
        let answer = plain(answer);
        let words = || answer.split(' ').filter(|word| !word.is_empty());
        let is_no = |word: &str| self.no.contains(word);
        let all_known = words().all(|word| is_no(word) || self.beside.contains(word));
        let denies = words().next().is_none() || words().any(is_no);
        (all_known && denies) || self.anywhere.iter().any(|phrase| answer.contains(phrase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&'static str> {
        let found = injured_parts(text);
        PARTS.into_iter().filter(|part| found.contains(part)).collect()
    }

    #[test]
    fn the_tables_name_known_parts_only() {
        assert_eq!(TERMS.1, [], "mend safety/data/injuries.txt");
        for line in include_str!("data/body_parts.txt").lines() {
            let Some((names, stems)) = line.split_once(" = ") else { continue };
            let known = names.split(' ').all(|name| name == "-" || bit(name).is_some());
            assert!(known, "{names}");
            for stem in stems.split(',') {
                assert!(!plain(stem).is_empty(), "{line}");
            }
        }
    }

    #[test]
    fn injuries_as_people_write_them() {
        for (text, expected) in [
            ("bad knees", vec!["knee"]),
            ("Lower back pain, left shoulder impingement", vec!["lower-back", "shoulder"]),
            ("torn ACL 2019; plantar fasciitis", vec!["knee", "ankle"]),
            ("tennis elbow & carpal tunnel", vec!["wrist", "elbow"]),
            ("herniated disc (L4/L5)", vec!["lower-back"]),
            ("pulled hamstring", vec!["knee", "lower-back", "hip"]),
            ("cannot bend my knee", vec!["knee"]),
            ("none", vec![]),
            ("upper back tightness", vec![]),
            ("hip hop", vec![]),
            ("hiatal hernia", vec![]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    /// `locale | parts of the body | answers`.
    #[test]
    fn injuries_are_read_in_the_languages_of_plans() {
        let mut missed = Vec::new();
        let spoken = include_str!("data/injuries_spoken.txt");
        for line in spoken.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let [locale, expected, answers] = fields[..] else { panic!("{line}") };
            let expected: Vec<&str> = expected.split_whitespace().collect();
            for answer in answers.split(';').map(str::trim) {
                if parts(answer) != expected {
                    missed.push((locale, answer, parts(answer)));
                }
            }
        }
        assert_eq!(missed, []);
    }

    #[test]
    fn conditions_that_name_no_part_stay_without_one() {
        for text in [
            "High blood pressure",
            "lactose intolerance",
            "Allergia alla polvere",
            "alergia al polvo",
            "dos hijos",
            "dificultad para dormir",
            "Laktoseintoleranz",
            "непереносимость лактозы",
            "αλλεργία σε ξηρούς καρπούς",
            "ömhet",
            "לחץ דם גבוה",
            "对腰果过敏",
            "คอเลสเตอรอลสูง",
            "restless legs syndrome",
            "asma",
            "Bluthochdruck",
            "hypothyreóza",
            "PCOS",
        ] {
            assert_eq!(parts(text), [""; 0], "{text}");
        }
    }

    fn unread(answer: &str) -> Option<Vec<String>> {
        let mut answers: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/sample_quiz.json")).unwrap();
        answers["injuries"] = answer.into();
        unread_injuries(&Quiz::read(&answers).unwrap()).map(|one| {
            assert_eq!(one.pointer, "/answers/injuries");
            one.words
        })
    }

    #[test]
    fn an_answer_that_names_no_part_is_told() {
        for (text, words) in [
            ("torn vexilium", vec!["torn", "vexilium"]),
            ("yes", vec!["yes"]),
            ("old fracture", vec!["old", "fracture"]),
            ("不明な怪我", vec!["不明な怪我"]),
        ] {
            let words = words.into_iter().map(str::to_owned).collect();
            assert_eq!(unread(text), Some(words), "{text}");
        }
    }

    #[test]
    fn an_answer_that_names_a_part_or_no_injury_is_not_told() {
        for text in [
            "",
            " - ",
            "none",
            "None.",
            "No",
            "N/A",
            "no injuries",
            "No current injuries or pain",
            "I don't have any injuries at the moment",
            "nothing major",
            "keine",
            "keine Verletzungen",
            "aucune",
            "ninguna",
            "ninguna lesión",
            "nenhuma",
            "nessuno",
            "geen blessures",
            "brak",
            "нет",
            "нет травм",
            "немає",
            "ingen",
            "inga skador",
            "ei",
            "nincs",
            "yok",
            "なし",
            "特にありません",
            "没有",
            "无",
            "없음",
            "ไม่มี",
            "không",
            "tidak ada",
            "لا يوجد",
            "אין",
            "bad knees",
            "Knieschmerzen",
        ] {
            assert_eq!(unread(text), None, "{text}");
        }
    }
}
