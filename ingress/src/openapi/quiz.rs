//! The quiz in the OpenAPI document. [`regimen_common::quiz::Quiz`] is more
//! lenient: it also reads what older clients send.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// The answers of one person, as the app sends them. Numbers may be sent as text, lists
/// as comma-separated text; other fields are stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!(example_request()["answers"]))]
#[serde(rename_all = "camelCase")]
pub struct QuizAnswers {
    /// Whole years, 13 to 120; text such as `34 years` is accepted, a date of birth is
    /// not.
    #[schema(value_type = TextOrNumber)]
    age: Value,
    /// Free text; male and female select the formulas.
    #[schema(min_length = 1, max_length = 200)]
    gender: String,
    #[schema(max_length = 200)]
    country: Option<String>,
    /// The language of the plan, as a BCP 47 tag such as "de" or "pt-BR"; by default the
    /// country's, if it has one common language, otherwise English.
    #[schema(max_length = 200, pattern = "^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$")]
    locale: Option<String>,
    /// Body height, 100 to 275 cm.
    height: Measure,
    neck: Option<Measure>,
    waist: Option<Measure>,
    hip: Option<Measure>,
    /// 25 to 500 kg.
    current_weight: Measure,
    /// 25 to 500 kg.
    target_weight: Measure,
    /// Percent, if known; zero counts as unknown.
    #[schema(minimum = 5, maximum = 50)]
    body_fat: Option<f64>,
    /// Such as Weight loss, Build muscle, Maintain weight.
    #[schema(min_length = 1, max_length = 200)]
    main_goal: String,
    #[schema(max_items = 50)]
    secondary_goals: Option<Vec<String>>,
    /// Such as 3 months.
    #[schema(min_length = 1, max_length = 200)]
    time_frame: String,
    #[schema(max_length = 200)]
    body_type: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    lifestyle: String,
    /// How active the job is.
    #[serde(rename = "occupation_activity")]
    #[schema(max_length = 200)]
    occupation_activity: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    grocery_budget: String,
    /// Such as No restrictions, Vegetarian, Vegan, Keto.
    #[schema(min_length = 1, max_length = 200)]
    dietary_style: String,
    /// Such as 3 (standard).
    #[schema(min_length = 1, max_length = 200)]
    meals_per_day: String,
    #[schema(minimum = 1, maximum = 10)]
    motivation_level: u8,
    #[schema(minimum = 1, maximum = 10)]
    stress_level: u8,
    #[schema(min_length = 1, max_length = 200)]
    sleep_quality: String,
    #[schema(max_items = 50)]
    health_conditions: Option<Vec<String>>,
    #[serde(rename = "healthConditions_other")]
    #[schema(max_length = 2000)]
    health_conditions_other: Option<String>,
    #[schema(max_length = 2000)]
    medications: Option<String>,
    #[schema(max_length = 2000)]
    injuries: Option<String>,
    #[schema(max_length = 2000)]
    food_allergies: Option<String>,
    /// Such as 3-4 times/week.
    #[schema(min_length = 1, max_length = 200)]
    exercise_frequency: String,
    #[schema(min_items = 1, max_items = 50)]
    preferred_exercise: Vec<String>,
    /// Such as Gym, Home.
    #[schema(min_items = 1, max_items = 50)]
    training_environment: Vec<String>,
    #[schema(max_items = 50)]
    equipment: Option<Vec<String>>,
    #[schema(max_length = 2000)]
    disliked_foods: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    cooking_skill: String,
    #[schema(min_length = 1, max_length = 200)]
    cooking_time: String,
    #[schema(max_items = 50)]
    challenges: Option<Vec<String>>,
}

/// A number, or a number as text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum TextOrNumber {
    Text(String),
    Number(f64),
}

/// A length or a weight, best as `{"cm": "175"}`, `{"ft": "5", "inch": "10"}`, `{"kg":
/// "80.0"}` or `{"lbs": "176.4"}`; a bare number is in cm or kg.
///
/// Members may be named by any unit (`m`, `feet`, `inches`, `pounds`, `st`, …) or be
/// `value` and `unit`. Text may be as people write it: `1.75 m`, `1m75`, `5′10″`, `5 feet
/// 10 inches`, `70 in`, `11 st 4 lb`, with decimal comma, in the digits and the unit
/// words of the most common languages. Members that are blank, zero or NaN count as
/// absent. An unknown member, members that contradict each other, and ambiguous forms
/// (`5.9`, `70-75 kg`, `160 Pfund`) are refused with a 422 that shows the possible
/// readings, each in an accepted form.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Measure {
    Units(Units),
    Text(String),
    Number(f64),
}

/// One unit, feet with inches, or stones with pounds.
#[derive(Debug, Serialize, ToSchema)]
struct Units {
    cm: Option<TextOrNumber>,
    ft: Option<TextOrNumber>,
    inch: Option<TextOrNumber>,
    kg: Option<TextOrNumber>,
    lbs: Option<TextOrNumber>,
    st: Option<TextOrNumber>,
}

/// A request that is accepted unchanged.
pub fn example_request() -> Value {
    json!({
        "answers": {
            "age": "34", "gender": "female", "country": "Portugal",
            "height": {"cm": "168"}, "currentWeight": {"kg": "71.5"}, "targetWeight": {"kg": "65"},
            "waist": {"cm": "78"}, "hip": {"cm": "101"}, "neck": {"cm": "33"},
            "mainGoal": "Weight loss", "secondaryGoals": ["Improve endurance"],
            "timeFrame": "3 months", "lifestyle": "Moderately active",
            "occupation_activity": "Desk job", "groceryBudget": "Medium (moderate)",
            "dietaryStyle": "Vegetarian", "mealsPerDay": "3 (standard)", "motivationLevel": 8,
            "stressLevel": 4, "sleepQuality": "Good (7-8 hours)", "foodAllergies": "peanuts",
            "dislikedFoods": "mushrooms", "exerciseFrequency": "3-4 times/week",
            "preferredExercise": ["Strength training", "Running"],
            "trainingEnvironment": ["Gym"], "equipment": ["Dumbbells"],
            "cookingSkill": "Intermediate", "cookingTime": "15-30 minutes",
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use regimen_common::quiz::Quiz;
    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn the_example_is_accepted() {
        assert!(Quiz::read(&example_request()["answers"]).is_ok());
    }

    #[test]
    fn the_required_answers_are_those_the_service_asks_for() {
        let schema = serde_json::to_value(QuizAnswers::schema()).unwrap();
        let described: BTreeSet<_> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let problems = Quiz::read(&json!({})).unwrap_err().problems;
        let asked: BTreeSet<_> =
            problems.iter().map(|problem| problem.pointer.trim_start_matches('/')).collect();
        assert_eq!(described, asked);
    }
}
