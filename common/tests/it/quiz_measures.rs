//! How much of what people type for their measures is read right.
//!
//! `tests/fixtures/measures.jsonl` has ways to write height, weight,
//! circumferences, age and body fat, each with what is right: a number (cm, kg,
//! years, percent), `"refused"`, `"none"` (no answer), or a list of those that
//! will do. `cargo xtask figures` prints the shares.

use std::collections::BTreeMap;

use proptest::prelude::*;
use regimen_common::quiz::{InvalidQuiz, Quiz};
use serde_json::{Value, json};

const LINES: &str = include_str!("../fixtures/measures.jsonl");

/// What came of an answer.
#[derive(Debug, PartialEq)]
enum Outcome {
    Read(f64),
    None,
    Refused,
}

fn sample() -> Value {
    serde_json::from_str(include_str!("../fixtures/sample_quiz.json")).unwrap()
}

fn read(field: &str, input: &Value) -> Result<Quiz, InvalidQuiz> {
    let mut answers = sample();
    answers[field] = input.clone();
    Quiz::read(&answers)
}

fn outcome(field: &str, input: &Value) -> Outcome {
    let Ok(quiz) = read(field, input) else { return Outcome::Refused };
    let amount = match field {
        "height" => Some(quiz.height.cm()),
        "currentWeight" => Some(quiz.current_weight.kg()),
        "neck" => quiz.neck.map(|neck| neck.cm()),
        "waist" => quiz.waist.map(|waist| waist.cm()),
        "hip" => quiz.hip.map(|hip| hip.cm()),
        "age" => Some(f64::from(quiz.age)),
        "bodyFat" => quiz.body_fat,
        other => panic!("no such field: {other}"),
    };
    amount.map_or(Outcome::None, Outcome::Read)
}

fn is_right(outcome: &Outcome, right: &Value) -> bool {
    match right {
        Value::Array(all) => all.iter().any(|right| is_right(outcome, right)),
        Value::String(word) if word == "none" => *outcome == Outcome::None,
        Value::String(_) => *outcome == Outcome::Refused,
        number => {
            let right = number.as_f64().unwrap();
            matches!(outcome, Outcome::Read(amount) if (amount - right).abs() < 0.05)
        }
    }
}

#[derive(Default)]
struct Share {
    read: usize,
    refused: usize,
    refused_wrongly: usize,
    misread: usize,
}

#[test]
fn measures_are_read_right_or_refused() {
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in LINES.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let field = line["field"].as_str().unwrap();
        let (input, right) = (&line["input"], &line["right"]);
        let outcome = outcome(field, input);
        let share = shares.entry(field.to_owned()).or_default();
        match (is_right(&outcome, right), &outcome) {
            (true, Outcome::Refused) => share.refused += 1,
            (true, _) => share.read += 1,
            (false, Outcome::Refused) => share.refused_wrongly += 1,
            (false, _) => share.misread += 1,
        }
        if !is_right(&outcome, right) {
            wrong.push(format!("{field} {input}: {outcome:?}, right is {right}"));
        }
    }
    println!("field | read right | refused rightly | refused wrongly | misread");
    for (field, share) in &shares {
        let Share { read, refused, refused_wrongly, misread } = share;
        println!("{field} | {read} | {refused} | {refused_wrongly} | {misread}");
    }
    let sum = |part: fn(&Share) -> usize| shares.values().map(part).sum::<usize>();
    println!(
        "figures: {} measures: {} read right, {} rightly and {} wrongly refused, {} misread",
        LINES.lines().count(),
        sum(|share| share.read),
        sum(|share| share.refused),
        sum(|share| share.refused_wrongly),
        sum(|share| share.misread),
    );
    assert!(wrong.is_empty(), "{} are not as they should be:\n{}", wrong.len(), wrong.join("\n"));
}

/// A refusal names a place that is there, and every form it advises works.
#[test]
fn refusals_point_to_what_was_sent_and_advise_forms_that_work() {
    for line in LINES.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (field, input) = (line["field"].as_str().unwrap(), &line["input"]);
        let Err(InvalidQuiz { problems }) = read(field, input) else { continue };
        let [problem] = &problems[..] else { panic!("{input}: {problems:?}") };
        let answers = json!({ field: input });
        assert!(answers.pointer(&problem.pointer).is_some(), "{input}: {problem:?}");
        let forms = advised(&problem.message);
        assert!(!forms.is_empty() || field == "bodyFat", "{input}: {problem:?}");
        for form in forms {
            assert!(read(field, &form).is_ok(), "{input}: {form} of {problem:?}");
        }
    }
}

/// The JSON objects and texts of a message.
fn advised(message: &str) -> Vec<Value> {
    let objects = message.match_indices('{').filter_map(|(start, _)| {
        let end = message[start..].find('}')?;
        serde_json::from_str(&message[start..=start + end]).ok()
    });
    let texts =
        message.split("such as ").skip(1).filter_map(|text| serde_json::from_str(text).ok());
    objects.chain(texts).collect()
}

/// A height of so many inches in every notation that can only mean it.
fn heights(feet: u32, inches: u32) -> Vec<Value> {
    let total = feet * 12 + inches;
    let mut all = Vec::new();
    for (foot, inch) in [
        ("'", "\""),
        ("’", "”"),
        ("′", "″"),
        ("´", "´´"),
        ("ft", "in"),
        (" ft. ", " in."),
        (" feet ", " inches"),
        (" foot ", ""),
        ("-foot-", ""),
        (" Fuß ", " Zoll"),
        (" pies ", " pulgadas"),
        (" pieds et ", " pouces"),
        (" pés e ", " polegadas"),
        (" фута ", " дюймов"),
        ("英尺", "英寸"),
        ("フィート", "インチ"),
        ("-", ""),
        (" ", ""),
    ] {
        all.push(json!(format!("{feet}{foot}{inches}{inch}")));
    }
    for inch in ["\"", "”", " in", " inches", " Zoll", " pulgadas", " дюймов"] {
        all.push(json!(format!("{total}{inch}")));
    }
    for (ft, inch) in [("ft", "inch"), ("ft", "in"), ("feet", "inches"), ("FOOT", "INCH")] {
        all.push(json!({ft: feet, inch: inches}));
        all.push(json!({"cm": "", ft: feet.to_string(), inch: inches.to_string()}));
        all.push(json!({"cm": 0, inch: total, ft: "NaN"}));
    }
    all
}

/// A height of so many centimetres in every notation that can only mean it.
fn metric_heights(cm: u32) -> Vec<Value> {
    let (metres, rest) = (cm / 100, cm % 100);
    let mut all = vec![json!(cm), json!(format!("{metres},{rest:02}")), json!(cm.to_string())];
    for unit in ["cm", " cm", " cms.", " centimetres", " Zentimeter", " см", "厘米", " سم"] {
        all.push(json!(format!("{cm}{unit}")));
    }
    for unit in ["m", " m", " metres", " mtr", " м", "米", ""] {
        all.push(json!(format!("{metres}.{rest:02}{unit}")));
        all.push(json!(format!("{metres},{rest:02}{unit}")));
    }
    for unit in ["m", " m ", " metro e ", "м", "'", ":"] {
        all.push(json!(format!("{metres}{unit}{rest:02}")));
    }
    for name in ["cm", "CM", "centimeters", "см"] {
        all.push(json!({name: cm, "ft": 0, "inch": null}));
    }
    all.push(json!({"m": f64::from(cm) / 100.0}));
    all.push(json!({"value": cm, "unit": "cm"}));
    all
}

/// A weight of so many pounds in every notation that can only mean it.
fn weights(pounds: u32) -> Vec<Value> {
    let (stones, rest) = (pounds / 14, pounds % 14);
    let mut all = vec![
        json!({"st": stones, "lbs": rest}),
        json!({"stone": stones, "pounds": rest.to_string()}),
    ];
    for (stone, pound) in
        [("st", ""), (" st ", " lb"), ("st", "lbs"), (" stone ", ""), (" stone and ", " pounds")]
    {
        all.push(json!(format!("{stones}{stone}{rest}{pound}")));
    }
    for unit in ["lb", "lbs", " lbs.", "#", " pounds", " libras", " фунтов", "磅"] {
        all.push(json!(format!("{pounds}{unit}")));
    }
    for name in ["lb", "lbs", "LBS", "pounds", "libras"] {
        all.push(json!({name: pounds, "kg": 0}));
    }
    all.push(json!({"value": pounds.to_string(), "unit": "lbs"}));
    all
}

fn assert_all(field: &str, forms: &[Value], right: f64) {
    for form in forms {
        let outcome = outcome(field, form);
        assert!(is_right(&outcome, &json!(right)), "{field} {form}: {outcome:?}, right is {right}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_measure_is_read_back_in_every_notation(
        feet in 4_u32..8,
        inches in 0_u32..12,
        cm in 110_u32..220,
        pounds in 60_u32..500,
    ) {
        assert_all("height", &heights(feet, inches), f64::from(feet * 12 + inches) * 2.54);
        assert_all("height", &metric_heights(cm), f64::from(cm));
        assert_all("currentWeight", &weights(pounds), f64::from(pounds) / 2.204_622_621_8);
    }
}
