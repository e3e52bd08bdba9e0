//! What clients really send, and what is refused with which pointer.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn sample() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/sample_quiz.json")).expect("JSON")
}

fn imperial() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/sample_quiz_imperial.json"))
        .expect("JSON")
}

/// The sample with one field replaced.
fn with(field: &str, value: Value) -> Value {
    let mut answers = sample();
    answers[field] = value;
    answers
}

fn pointers(answers: &Value) -> Vec<String> {
    let problems = Quiz::read(answers).err().map(|invalid| invalid.problems).unwrap_or_default();
    problems.into_iter().map(|problem| problem.pointer).collect()
}

#[test]
fn the_metric_sample_is_read_in_full() {
    let quiz = Quiz::read(&sample()).expect("valid");
    assert_eq!((quiz.age, quiz.sex()), (34, Sex::Female));
    assert_eq!((quiz.height.cm(), quiz.height.to_string()), (172.0, "172.0 cm".into()));
    assert_eq!((quiz.current_weight.kg(), quiz.target_weight.kg()), (74.5, 68.0));
    assert_eq!(quiz.hip.map(Length::cm), Some(101.0));
    assert_eq!(quiz.goal(), MainGoal::WeightLoss);
    assert_eq!(quiz.diets(), [DietaryStyle::Vegetarian]);
    assert_eq!(quiz.frequency(), ExerciseFrequency::ThreeToFour);
    assert_eq!(quiz.meals(), MealsPerDay::Three);
    assert_eq!(quiz.disliked_foods, ["Mushrooms", "olives"]);
    assert_eq!(quiz.food_allergies.as_deref(), Some("Peanuts, shellfish"));
    assert_eq!(quiz.medications, None, "an empty text is no answer");
    assert_eq!(quiz.equipment, ["Dumbbells", "Resistance bands"]);
}

#[test]
fn the_imperial_sample_keeps_its_units() {
    let quiz = Quiz::read(&imperial()).expect("valid");
    assert_eq!(quiz.height.to_string(), "5'10\"");
    assert!((quiz.height.cm() - 177.8).abs() < 1e-9);
    assert_eq!(quiz.current_weight.to_string(), "203.5 lbs");
    assert!((quiz.current_weight.kg() - 92.306).abs() < 1e-3);
    assert_eq!((quiz.motivation_level, quiz.stress_level), (7, 6));
}

#[test]
fn every_required_field_is_asked_for() {
    let mut expected = [
        "age",
        "gender",
        "height",
        "currentWeight",
        "targetWeight",
        "mainGoal",
        "timeFrame",
        "lifestyle",
        "groceryBudget",
        "dietaryStyle",
        "mealsPerDay",
        "motivationLevel",
        "stressLevel",
        "sleepQuality",
        "exerciseFrequency",
        "preferredExercise",
        "trainingEnvironment",
        "cookingSkill",
        "cookingTime",
    ]
    .map(|name| format!("/{name}"));
    let mut found = pointers(&json!({}));
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn impossible_answers_are_named_by_pointer() {
    for (field, value, pointer) in [
        ("age", json!("twelve"), "/age"),
        ("age", json!(12), "/age"),
        ("age", json!(-30), "/age"),
        ("age", json!(30.5), "/age"),
        ("age", json!("1e999"), "/age"),
        ("age", json!(""), "/age"),
        ("gender", json!("   "), "/gender"),
        ("gender", json!({"is": "male"}), "/gender"),
        ("height", json!(null), "/height"),
        ("height", json!([175]), "/height"),
        ("height", json!({}), "/height"),
        ("height", json!({"cm": ""}), "/height/cm"),
        ("height", json!({"cm": "NaN"}), "/height/cm"),
        ("height", json!({"cm": "-175"}), "/height/cm"),
        ("height", json!({"cm": 70}), "/height/cm"),
        ("height", json!({"cm": 1e300}), "/height/cm"),
        ("height", json!({"ft": "5", "inch": "some"}), "/height/inch"),
        ("height", json!({"ft": "50", "inch": "1"}), "/height/ft"),
        ("height", json!("tall"), "/height"),
        ("currentWeight", json!({"kg": "0"}), "/currentWeight/kg"),
        ("currentWeight", json!({"lbs": "9999"}), "/currentWeight/lbs"),
        ("currentWeight", json!("heavy"), "/currentWeight"),
        ("currentWeight", json!(true), "/currentWeight"),
        ("waist", json!({"cm": "wide"}), "/waist/cm"),
        ("bodyFat", json!(120), "/bodyFat"),
        ("motivationLevel", json!(11), "/motivationLevel"),
        ("stressLevel", json!("0"), "/stressLevel"),
        ("sleepQuality", json!(99), "/sleepQuality"),
        ("preferredExercise", json!([]), "/preferredExercise"),
        ("preferredExercise", json!(["", null]), "/preferredExercise"),
        ("equipment", json!(["Dumbbells", {"no": 1}]), "/equipment/1"),
        ("equipment", json!(true), "/equipment"),
    ] {
        let found = pointers(&with(field, value.clone()));
        assert_eq!(found, [pointer], "{field}: {value}");
    }
}

#[test]
fn messy_answers_are_understood() {
    let quiz = |field, value| Quiz::read(&with(field, value)).expect("valid");
    assert_eq!(quiz("age", json!(30.0)).age, 30);
    assert_eq!(quiz("age", json!(" 30 ")).age, 30);
    for height in [
        json!(175),
        json!("175"),
        json!("175 cm"),
        json!("175CM"),
        json!("1.75m"),
        json!("1,75 m"),
        json!({"cm": 175, "ft": "", "inch": ""}),
        json!({"cm": "175", "ft": "5", "inch": "9"}),
    ] {
        assert_eq!(quiz("height", height.clone()).height.cm(), 175.0, "{height}");
    }
    for height in [json!("5'10\""), json!("5 ft 10 in"), json!({"cm": "", "ft": 5, "inch": 10})] {
        assert_eq!(quiz("height", height.clone()).height.to_string(), "5'10\"", "{height}");
    }
    for weight in [json!(80), json!("80kg"), json!("80.0 KG"), json!("80,0"), json!({"kg": "80"})] {
        assert_eq!(quiz("currentWeight", weight.clone()).current_weight.kg(), 80.0, "{weight}");
    }
    let pounds = quiz("currentWeight", json!("176.4 lbs")).current_weight;
    assert_eq!(pounds.to_string(), "176.4 lbs");
    assert_eq!(quiz("waist", json!({"cm": ""})).waist, None);
    assert_eq!(quiz("bodyFat", json!("22.5")).body_fat, Some(22.5));
    assert_eq!(quiz("sleepQuality", json!(7)).sleep_quality, "7");
    assert_eq!(quiz("mealsPerDay", json!(3)).meals(), MealsPerDay::Three);
    assert_eq!(
        quiz("trainingEnvironment", json!("Gym; Home")).training_environment,
        ["Gym", "Home"]
    );
    assert_eq!(
        quiz("equipment", json!(r#"["Mat", "Rope, long"]"#)).equipment,
        ["Mat", "Rope, long"]
    );
    assert_eq!(quiz("motivationLevel", json!("7/10")).motivation_level, 7);
    assert_eq!(quiz("bodyFat", json!(0)).body_fat, None, "cleared");
    assert_eq!(
        quiz("foodAllergies", json!(["Milk", "eggs"])).food_allergies.as_deref(),
        Some("Milk, eggs")
    );
    assert_eq!(
        quiz("dislikedFoods", json!("eggs, fish (cod, tuna)\nliver")).disliked_foods,
        ["eggs", "fish (cod, tuna)", "liver"]
    );
}

#[test]
fn limits_hold_for_known_and_unknown_fields() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    for (field, value, pointer) in [
        ("gender", json!("x".repeat(201)), "/gender"),
        ("injuries", json!("x".repeat(2_001)), "/injuries"),
        ("injuries", json!("knee\0"), "/injuries"),
        ("equipment", json!(vec!["x"; 51]), "/equipment"),
        ("equipment", json!("x,".repeat(60)), "/equipment"),
        ("equipment", json!(["x".repeat(201)]), "/equipment"),
        ("equipment", json!(["ok", "a\0b"]), "/equipment/1"),
        ("theme", json!("x".repeat(2_001)), "/theme"),
        ("theme", json!({"a/b": {"c~d": "\0"}}), "/theme/a~1b/c~0d"),
        ("theme", deep, "/theme/0/0/0/0/0"),
        ("x\0", json!(1), ""),
    ] {
        assert_eq!(pointers(&with(field, value)), [pointer], "{field}");
    }
    assert!(pointers(&with("injuries", json!("ü".repeat(2_000)))).is_empty());
    assert!(pointers(&with("theme", json!({"dark": [true, null, 1e300]}))).is_empty());
}

#[test]
fn answers_that_are_no_object_are_refused_as_a_whole() {
    for answers in [json!(null), json!([]), json!("{}"), json!(7)] {
        assert_eq!(pointers(&answers), [""], "{answers}");
    }
}

#[test]
fn neither_debug_nor_problems_repeat_the_answers() {
    let quiz = Quiz::read(&with("medications", json!("insulin"))).expect("valid");
    assert_eq!(format!("{quiz:?}"), "Quiz { .. }");
    let invalid = Quiz::read(&with("height", json!("insulin"))).expect_err("no height");
    assert!(!invalid.to_string().contains("insulin"), "{invalid}");
    assert!(invalid.to_string().ends_with("/height"), "{invalid}");
    assert!(!invalid.problems[0].message.contains("insulin"), "{invalid:?}");
}

/// Any JSON value of modest size.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(1e308)),
        Just(json!(-0.0)),
        ".{0,12}".prop_map(Value::from),
        "[0-9.,'ftcmkglbsin\" -]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("cm|ft|inch|kg|lbs|[a-z~/]{0,4}", inner, 0..6)
                .prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused_with_reasons(value in any_json()) {
        if let Err(invalid) = Quiz::read(&value) {
            prop_assert!(!invalid.problems.is_empty());
        }
    }

    #[test]
    fn any_json_in_any_field_is_read_or_blamed_on_that_field(
        value in any_json(),
        field in prop::sample::select(sample().as_object().expect("object").keys().cloned().collect::<Vec<_>>()),
    ) {
        if let Err(invalid) = Quiz::read(&with(&field, value)) {
            for problem in invalid.problems {
                let step = problem.pointer.split('/').nth(1).unwrap_or_default();
                prop_assert_eq!(step, field.as_str());
            }
        }
    }

    #[test]
    fn measures_are_within_their_bounds(value in any_json()) {
        for bounds in [&measure::HEIGHT, &measure::NECK, &measure::WAIST, &measure::HIP] {
            if let Ok(length) = measure::parse_length(&value, bounds) {
                prop_assert!(bounds.allowed.contains(&length.cm()));
            }
        }
        if let Ok(weight) = measure::parse_weight(&value, &measure::WEIGHT) {
            prop_assert!(WEIGHT_KG.contains(&weight.kg()));
        }
    }
}
