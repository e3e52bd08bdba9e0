//! The targets against the app's golden vectors, and what holds for everybody.

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
