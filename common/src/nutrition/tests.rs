//! The targets against the app's golden vectors, and what holds for everybody.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn vectors() -> Vec<Value> {
    let text = include_str!("../../tests/fixtures/nutrition_vectors.json");
    serde_json::from_str(text).expect("the vectors are a JSON list")
}

#[test]
fn every_golden_vector_is_met_exactly() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 48);
    for (n, vector) in vectors.iter().enumerate() {
        let quiz = Quiz::read(&vector["answers"]).expect("the vector's answers are valid");
        let got = serde_json::to_value(Nutrition::of(&quiz)).expect("serialisable");
        assert_eq!(got, vector["expect"], "vector {n}");
    }
}

#[test]
fn older_routes_get_the_field_names_they_know() {
    let quiz = Quiz::read(&vectors()[0]["answers"]).expect("valid");
    let calculations = Nutrition::of(&quiz).calculations();
    assert_eq!(
        serde_json::to_value(calculations).expect("serialisable"),
        json!({
            "bmi": 41.5, "bmr": 2131.09, "tdee": 2557.31, "bodyFatPercentage": 32.0,
            "macros": {
                "protein_g": 216, "carbs_g": 206, "fat_g": 73,
                "protein_pct_of_calories": 37,
                "carbs_pct_of_calories": 35,
                "fat_pct_of_calories": 28
            },
            "goalCalories": 2344, "goalWeight": 52
        })
    );
}

/// The metric sample with some fields replaced.
fn targets(changes: Value) -> Nutrition {
    let text = include_str!("../../tests/fixtures/sample_quiz.json");
    let mut answers: Value = serde_json::from_str(text).expect("JSON");
    for (field, value) in changes.as_object().expect("an object of changes") {
        answers[field] = value.clone();
    }
    Nutrition::of(&Quiz::read(&answers).expect("valid"))
}

#[test]
fn unknown_answers_fall_back_to_little_activity_and_no_change() {
    let unknown = targets(json!({
        "exerciseFrequency": "now and then", "occupation_activity": null, "mainGoal": "Fit in jeans",
    }));
    assert_eq!(unknown.activity_multiplier, 1.2);
    assert_eq!(f64::from(unknown.goal_calories), unknown.tdee.round());
}

#[test]
fn the_job_corrects_activity_within_its_bounds() {
    let multiplier = |frequency: &str, job: &str| {
        targets(json!({"exerciseFrequency": frequency, "occupation_activity": job}))
            .activity_multiplier
    };
    assert_eq!(multiplier("Daily", "Manual work"), 1.9, "at most 1.9");
    assert_eq!(multiplier("Never", "SEDENTARY"), 1.2, "at least 1.2");
    assert_eq!(multiplier("3-4 times/week", "On feet all day"), 1.7);
    assert_eq!(multiplier("3-4 times/week", "desk job"), 1.45);
    assert_eq!(multiplier("3-4 times/week", "physical desk job"), 1.7, "physical comes first");
}

#[test]
fn no_goal_starves_anybody() {
    let small = json!({"currentWeight": 45, "height": 150, "mainGoal": "Extreme weight loss",
        "exerciseFrequency": "Never", "waist": null, "age": 70});
    assert_eq!(targets(small.clone()).goal_calories, 1200);
    let mut male = small;
    male["gender"] = json!("male");
    assert_eq!(targets(male).goal_calories, 1500);
}

#[test]
fn body_fat_without_a_formula_is_unknown() {
    let given = |changes| targets(changes).body_fat_percentage;
    assert_eq!(given(json!({})), Some(29.5));
    assert_eq!(given(json!({"hip": null})), None, "women need the hip");
    assert_eq!(given(json!({"gender": "male", "neck": 80, "waist": 78})), None, "no logarithm");
    assert_eq!(given(json!({"gender": "male", "neck": 77.9, "waist": 78})), None, "below zero");
    assert_eq!(given(json!({"gender": "other"})), None);
    assert_eq!(given(json!({"bodyFat": "31.5"})), Some(31.5), "what the person knows wins");
}

#[test]
fn carbohydrate_gives_way_to_protein_and_fat_but_not_below_nothing() {
    let macros = targets(json!({
        "currentWeight": 500, "height": 100, "age": 120, "exerciseFrequency": "Never",
        "dietaryStyle": "Keto", "mainGoal": "Body recomposition", "waist": null,
    }))
    .macros;
    assert_eq!((macros.protein_g, macros.carbs_g, macros.carbs_pct_of_calories), (1000, 0, 0));
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words)
}

fn changes() -> impl Strategy<Value = Value> {
    let body = (13..=120_u8, 100.0..=275.0, 25.0..=500.0, 25.0..=500.0);
    let girths = (15.0..=300.0, 15.0..=300.0, 15.0..=300.0, prop::option::of(5.0..=50.0));
    let words = (
        word(&["male", "female", "other"]),
        word(&["Never", "1-2", "3-4", "5-6", "Daily", "?"]),
        word(&["Keto", "Vegan", "Other"]),
        word(&["Extreme weight loss", "Build muscle", "Body recomposition", "Maintain weight"]),
        word(&["Desk job", "Manual", "Mixed"]),
    );
    (body, girths, words).prop_map(|(body, girths, words)| {
        json!({
            "age": body.0, "height": body.1, "currentWeight": body.2, "targetWeight": body.3,
            "neck": {"cm": girths.0}, "waist": {"cm": girths.1}, "hip": {"cm": girths.2}, "bodyFat": girths.3,
            "gender": words.0, "exerciseFrequency": words.1, "dietaryStyle": words.2,
            "mainGoal": words.3, "occupation_activity": words.4,
        })
    })
}

proptest! {
    #[test]
    fn targets_are_finite_and_positive_for_every_body_the_quiz_allows(changes in changes()) {
        let n = targets(changes);
        for value in [n.bmi, n.bmr, n.tdee, n.activity_multiplier] {
            prop_assert!(value.is_finite() && value > 0.0, "{:?}", n);
        }
        prop_assert!(n.body_fat_percentage.is_none_or(|fat| fat > 0.0 && fat.is_finite()));
        prop_assert!((1200..20_000).contains(&n.goal_calories), "{:?}", n);
        prop_assert!(n.bmr <= n.tdee);
    }

    #[test]
    fn macros_add_up_to_the_goal(changes in changes()) {
        let Nutrition { macros, goal_calories, .. } = targets(changes);
        let energy = 4 * (macros.protein_g + macros.carbs_g) + 9 * macros.fat_g;
        // Rounding to grams: half a gram of fat and of carbohydrate, and half a kcal of fat.
        let rounding = 7;
        let over = macros.carbs_g == 0 && energy > goal_calories;
        prop_assert!(over || energy.abs_diff(goal_calories) <= rounding, "{:?}", macros);
    }
}
