//! Replays the nasty answers of `tests/corpus/quiz` through the quiz decoder.
//!
//! `tests/corpus/quiz_expected.txt` says for each file what must happen:
//! `accepted`, `not JSON` (refused before the quiz sees it), or the pointers
//! of the problems, with `(whole)` for the answers object itself. The corpus
//! doubles as the seed of fuzzing: a file is exactly the bytes of `answers`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use serde_json::Value;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// File name (without `.json`) → expected outcome.
fn expected() -> BTreeMap<String, String> {
    let table = fs::read_to_string(corpus().join("quiz_expected.txt")).unwrap();
    let lines = table.lines().map(|line| line.split_once(": ").unwrap());
    lines.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
}

fn outcomes() -> BTreeMap<String, String> {
    let files = fs::read_dir(corpus().join("quiz")).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, outcome(&fs::read(&path).unwrap()))
        })
        .collect()
}

fn outcome(bytes: &[u8]) -> String {
    let Ok(answers) = serde_json::from_slice::<Value>(bytes) else {
        return "not JSON".to_owned();
    };
    let invalid = match Quiz::read(&answers) {
        Ok(quiz) => {
            let targets = Nutrition::of(&quiz);
            assert!(targets.bmr > 0.0 && targets.goal_calories >= 1200, "{targets:?}");
            return "accepted".to_owned();
        }
        Err(invalid) => invalid,
    };
    let mut pointers: Vec<_> = invalid
        .problems
        .into_iter()
        .map(|problem| {
            assert!(!problem.message.is_empty());
            assert!(leads_to_a_field(&answers, &problem.pointer), "{}", problem.pointer);
            if problem.pointer.is_empty() { "(whole)".to_owned() } else { problem.pointer }
        })
        .collect();
    pointers.sort();
    pointers.join(" ")
}

/// A pointer names a value that is there, or one missing in an object that is.
fn leads_to_a_field(answers: &Value, pointer: &str) -> bool {
    let parent = pointer.rsplit_once('/').map(|(parent, _)| parent);
    answers.pointer(pointer).is_some()
        || parent.and_then(|parent| answers.pointer(parent)).is_some_and(Value::is_object)
}

#[test]
fn every_nasty_input_is_handled_as_expected() {
    let (outcomes, expected) = (outcomes(), expected());
    assert!(outcomes.keys().eq(expected.keys()), "each file has its line and each line its file");
    for (name, outcome) in outcomes {
        assert_eq!(outcome, expected[&name], "{name}.json");
    }
}
