//! The fields of the quiz's form, and the answers they make.

use serde_json::{Map, Value, json};

use super::super::form::Form;
use crate::error::ApiError;

/// How a field is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// One of these.
    One(&'static [&'static str]),
    /// Any of these.
    Many(&'static [&'static str]),
    /// A length or a weight: the unit names of both systems.
    Measure(&'static str, &'static str),
    /// 1 to 10.
    Scale,
    /// Several answers between commas.
    List,
}

/// Name in the quiz, label, kind, sample, whether it must be answered.
type Row = (&'static str, &'static str, Kind, &'static str, bool);

const GROUPS: [(&str, &[Row]); 4] = [
    (
        "About you",
        &[
            ("age", "Age in years", Kind::Text, "34", true),
            ("gender", "Gender", Kind::One(&["Female", "Male", "Other"]), "Female", true),
            ("country", "Country", Kind::Text, "Netherlands", false),
            ("height", "Height", Kind::Measure("cm", "ft"), "172", true),
            ("currentWeight", "Weight now", Kind::Measure("kg", "lbs"), "74.5", true),
            ("targetWeight", "Weight wanted", Kind::Measure("kg", "lbs"), "68", true),
            ("healthConditions_other", "Health conditions", Kind::Text, "", false),
            ("medications", "Medications", Kind::Text, "", false),
            (
                "injuries",
                "Injuries",
                Kind::Text,
                "Mild pain in the left knee when squatting deep",
                false,
            ),
        ],
    ),
    (
        "Your goal",
        &[
            (
                "mainGoal",
                "Main goal",
                Kind::One(&["Weight loss", "Build muscle", "Maintain weight", "Improve endurance"]),
                "Weight loss",
                true,
            ),
            (
                "timeFrame",
                "Time frame",
                Kind::One(&["1 month", "3 months", "6 months", "12 months"]),
                "3 months",
                true,
            ),
            ("lifestyle", "Lifestyle", Kind::Text, "No smoking/drinking", true),
            (
                "occupation_activity",
                "Your job",
                Kind::One(&["Desk job", "Standing job", "Physical work"]),
                "Desk job",
                false,
            ),
            ("motivationLevel", "Motivation (1 to 10)", Kind::Scale, "8", true),
            ("stressLevel", "Stress (1 to 10)", Kind::Scale, "5", true),
            (
                "sleepQuality",
                "Sleep",
                Kind::One(&[
                    "Poor (less than 6 hours)",
                    "Good (6-7 hours)",
                    "Excellent (8+ hours)",
                ]),
                "Good (6-7 hours)",
                true,
            ),
        ],
    ),
    (
        "Food",
        &[
            (
                "dietaryStyle",
                "Diet",
                Kind::One(&[
                    "No restrictions",
                    "Vegetarian",
                    "Vegan",
                    "Pescatarian",
                    "Keto",
                    "Paleo",
                    "Mediterranean",
                    "Intermittent fasting",
                ]),
                "Vegetarian",
                true,
            ),
            ("foodAllergies", "Allergies", Kind::Text, "Peanuts, shellfish", false),
            ("dislikedFoods", "Foods you dislike", Kind::Text, "Mushrooms, olives", false),
            (
                "mealsPerDay",
                "Meals a day",
                Kind::One(&["2", "3 (standard)", "4", "5", "6"]),
                "3 (standard)",
                true,
            ),
            (
                "groceryBudget",
                "Budget for groceries",
                Kind::One(&["Low (budget)", "Medium (moderate)", "High (flexible)"]),
                "Medium (moderate)",
                true,
            ),
            (
                "cookingSkill",
                "Cooking skill",
                Kind::One(&["Beginner", "Intermediate", "Advanced"]),
                "Intermediate",
                true,
            ),
            (
                "cookingTime",
                "Time to cook",
                Kind::One(&["15-30 min", "30-60 min", "More than 60 min"]),
                "15-30 min",
                true,
            ),
        ],
    ),
    (
        "Training",
        &[
            (
                "exerciseFrequency",
                "How often you train",
                Kind::One(&[
                    "Never",
                    "1-2 times/week",
                    "3-4 times/week",
                    "5-6 times/week",
                    "Daily",
                ]),
                "3-4 times/week",
                true,
            ),
            (
                "preferredExercise",
                "What you like",
                Kind::Many(&[
                    "Strength training",
                    "Running",
                    "Cycling",
                    "Swimming",
                    "Yoga",
                    "HIIT",
                ]),
                "Strength training",
                true,
            ),
            (
                "trainingEnvironment",
                "Where you train",
                Kind::Many(&["Gym", "Home", "Outdoor"]),
                "Home",
                true,
            ),
            (
                "equipment",
                "Equipment, between commas",
                Kind::List,
                "Dumbbells, Resistance bands",
                false,
            ),
        ],
    ),
];

/// A field as the page shows it.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) is_required: bool,
    /// text, number, one or many.
    pub(super) kind: &'static str,
    pub(super) value: String,
    /// Options, and whether each is chosen.
    pub(super) options: Vec<(&'static str, bool)>,
    /// The units of a measure, metric first.
    pub(super) units: Option<(&'static str, &'static str)>,
    /// What is wrong with the answer.
    pub(super) error: Option<String>,
}

/// The form as a newcomer finds it.
pub(super) fn sample() -> Form {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (_, rows) in GROUPS {
        for (name, _, _, sample, _) in rows {
            query.append_pair(name, sample);
        }
    }
    Form::read(query.append_pair("units", "metric").finish().as_bytes())
}

/// The fields with the answers of `form`, and what a refusal says of each.
pub(super) fn fields(form: &Form, refused: Option<&ApiError>) -> Vec<(&'static str, Vec<Field>)> {
    let errors = match refused {
        Some(ApiError::Invalid(errors)) => errors.as_slice(),
        _ => &[],
    };
    let field = |&(name, label, kind, _, is_required): &Row| {
        let options = |known: &[&'static str]| {
            known.iter().map(|one| (*one, form.all(name).any(|given| given == *one))).collect()
        };
        let (shown, options, units) = match kind {
            Kind::Text | Kind::List => ("text", Vec::new(), None),
            Kind::Scale => ("number", Vec::new(), None),
            Kind::One(known) => ("one", options(known), None),
            Kind::Many(known) => ("many", options(known), None),
            Kind::Measure(metric, imperial) => ("text", Vec::new(), Some((metric, imperial))),
        };
        let about = |pointer: &str| {
            let rest = pointer.strip_prefix("/answers/").and_then(|rest| rest.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Field {
            name,
            label,
            is_required,
            kind: shown,
            value: form.get(name).unwrap_or_default().to_owned(),
            options,
            units,
            error: errors.iter().find(|error| about(&error.pointer)).map(|one| one.message.clone()),
        }
    };
    GROUPS.iter().map(|(title, rows)| (*title, rows.iter().map(field).collect())).collect()
}

/// The quiz, as the app would send it. It is validated like any other.
pub(super) fn quiz(form: &Form) -> Value {
    let is_metric = form.get("units") != Some("imperial");
    let mut answers = Map::new();
    for (name, _, kind, _, _) in GROUPS.iter().flat_map(|(_, rows)| *rows) {
        let text = form.get(name).unwrap_or_default();
        let value = match kind {
            Kind::Many(_) => json!(form.all(name).collect::<Vec<_>>()),
            Kind::List => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                json!(parts.collect::<Vec<_>>())
            }
            Kind::Scale => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
            Kind::Measure(metric, _) if is_metric => json!({ *metric: text }),
            // As people write it: 5'10", or 165.
            Kind::Measure(_, "ft") => json!(text),
            Kind::Measure(_, imperial) => json!({ *imperial: text }),
            Kind::Text | Kind::One(_) => json!(text),
        };
        if !text.is_empty() || matches!(kind, Kind::Many(_)) {
            answers.insert((*name).to_owned(), value);
        }
    }
    Value::Object(answers)
}

#[cfg(test)]
mod tests {
    use regimen_common::quiz::Quiz;

    use super::*;
    use crate::error::FieldError;

    #[test]
    fn the_sample_is_a_valid_quiz_in_both_systems_of_units() {
        assert!(Quiz::read(&quiz(&sample())).is_ok(), "{:?}", Quiz::read(&quiz(&sample())));
        let imperial =
            sample().query_without(&["units", "height", "currentWeight", "targetWeight"])
                + "&units=imperial&height=5'10%22&currentWeight=165&targetWeight=150";
        let imperial = quiz(&Form::read(imperial.as_bytes()));
        assert!(Quiz::read(&imperial).is_ok(), "{:?}", Quiz::read(&imperial));
    }

    #[test]
    fn every_refusal_stands_at_its_field() {
        let refused = Quiz::read(&quiz(&Form::read(b"height=9&currentWeight=1"))).unwrap_err();
        let errors = refused.problems.iter().map(|problem| FieldError {
            pointer: format!("/answers{}", problem.pointer),
            message: problem.message.clone(),
        });
        let refused = ApiError::Invalid(errors.collect());
        let ApiError::Invalid(errors) = &refused else { return };
        let groups = fields(&Form::default(), Some(&refused));
        let shown = groups.iter().flat_map(|(_, fields)| fields).filter(|one| one.error.is_some());
        assert_eq!(shown.count(), errors.len(), "{errors:?}");
    }
}
