//! Answers about the way of eating, as people give them, and what they mean
//! for foods.

use super::super::{Avoid, Literals, Register, find};
use super::{Diet, Style};

const PAIRS: &str = include_str!("../data/diet_pairs.txt");
/// Answers and foods that were once judged wrong, one JSON object a line.
const REPORTED: &str = include_str!("../data/reported_pairs.jsonl");

/// Whether a plan with this food is refused for somebody who answers this.
fn refuses(diet: &Diet, food: &str) -> bool {
    let rules = diet.rules();
    let forbidden = find(food, Register::Listed, &Literals::default())
        .iter()
        .any(|found| rules.iter().any(|rule| !rule.faults(found).is_empty()));
    forbidden || !diet.avoid.dangers(food, Register::Listed).is_empty()
}

#[test]
fn what_people_answer_keeps_foods_out_and_lets_others_in() {
    let (mut refused, mut missed, mut allowed, mut imagined) = (0, 0, 0, 0);
    let lines = PAIRS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [answers, out, welcome] = *parts else { panic!("{line}") };
        let foods = |part: &'static str| part.split("; ").filter(|food| *food != "-");
        for answer in answers.split(';').map(str::trim) {
            let diet = Diet::read(answer);
            for food in foods(out) {
                let hit = refuses(&diet, food);
                refused += u32::from(hit);
                missed += u32::from(!hit);
                if !hit {
                    println!("{answer:?} lets pass {food:?}: {diet:?}");
                }
            }
            for food in foods(welcome) {
                let hit = refuses(&diet, food);
                allowed += u32::from(!hit);
                imagined += u32::from(hit);
                if hit {
                    println!("{answer:?} refuses {food:?}: {:?}", diet.styles);
                }
            }
        }
    }
    let pairs = refused + missed + allowed + imagined;
    println!(
        "figures: {pairs} pairs of a way of eating and a food: {} judged right, {missed} let \
         through wrongly (recall {:.4}), {imagined} refused wrongly",
        refused + allowed,
        f64::from(refused) / f64::from(refused + missed),
    );
    assert!(pairs >= 2_000, "the list has shrunk");
    assert_eq!((missed, imagined), (0, 0), "see above");
}

#[test]
fn what_was_once_judged_wrong_is_judged_right() {
    let mut wrong = 0;
    let lines: Vec<&str> = REPORTED.lines().collect();
    for line in &lines {
        let pair: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| pair[name].as_str().unwrap_or_default();
        let allergies = Avoid::allergies(text("foodAllergies"));
        let refused = refuses(&Diet::read(text("dietaryStyle")), text("food"))
            || !allergies.dangers(text("food"), Register::Listed).is_empty();
        if refused != (text("expected") == "refused") {
            println!("{line}: refused is {refused}, {allergies:?}");
            wrong += 1;
        }
    }
    println!("{} reported pairs, {wrong} judged wrong", lines.len());
    assert!(lines.len() > 150 && wrong == 0, "see above");
}

#[test]
fn styles_are_read_however_they_are_written() {
    for (text, expected) in [
        ("Vegan keto", vec![Style::Vegan, Style::Keto]),
        ("Other", vec![]),
        ("not vegan but vegetarian", vec![Style::Vegetarian]),
        ("Vegetarian: no", vec![]),
        ("No restrictions", vec![Style::Anything]),
        ("16:8", vec![Style::Fasting]),
        ("Intermittent fasting", vec![Style::Fasting]),
        ("mostly vegetarian", vec![Style::Flexible]),
        ("vegan in the past", vec![]),
        ("vegetarian, vegan in the past", vec![Style::Vegetarian]),
        ("vegan since 2 years ago", vec![Style::Vegan]),
        ("not much meat", vec![Style::Flexible]),
        ("he is vegan", vec![Style::Vegan]),
        ("не веган", vec![]),
    ] {
        let styles = Diet::read(text).styles;
        assert_eq!(styles, expected, "{text}");
    }
}

#[test]
fn what_is_not_understood_or_cannot_be_checked_is_told() {
    for (text, expected) in [
        ("Zorblaxian", vec!["zorblaxian"]),
        ("Vegan, zorblax", vec!["zorblax"]),
        ("DASH", vec!["dash"]),
        ("Raw vegan", vec!["raw vegan"]),
        ("Seventh-day Adventist", vec!["seventh day adventist"]),
        ("Plant-forward", vec!["plant forward"]),
        ("low-sodium, vegetarian", vec!["low sodium"]),
        ("Pescetarian, low-FODMAP", vec![]),
        // What is over, or not said clearly, is told.
        ("vegan in the past", vec!["vegan"]),
        ("vegetarian on weekdays", vec!["vegetarian"]),
        ("vegetarian, fish", vec!["fish"]),
        ("vegetarian and fish", vec![]),
        ("not vegan", vec![]),
        ("Flexitarian", vec!["flexitarian"]),
        ("Vegetarian", vec![]),
        ("no restrictions", vec![]),
        ("Other", vec![]),
    ] {
        assert_eq!(Diet::read(text).unread(), expected, "{text}");
    }
}

/// An allergy stays one, whatever joins it to a style.
#[test]
fn what_is_joined_to_a_style_is_eaten_only_where_nothing_else_is_said() {
    for answer in [
        "vegetarian with egg allergy",
        "vegan and allergic to eggs",
        "vegan + egg free",
        "vegan and eggs not allowed",
        "vegan, egg allergy",
        "vegan, eggs",
        "vegan and no eggs",
        "vegan and eggs make me ill",
    ] {
        assert!(refuses(&Diet::read(answer), "Scrambled eggs"), "{answer}");
    }
}

#[test]
fn a_denied_food_nobody_knows_is_avoided_as_it_is_written() {
    let diet = Diet::read("no zorblax");
    assert!(refuses(&diet, "Zorblax stew") && diet.unread() == ["zorblax"]);
}
