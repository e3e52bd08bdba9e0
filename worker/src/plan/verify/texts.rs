//! Every text of a plan, with its place.
//!
//! The plan is walked as JSON, so that text fields added later are included
//! automatically.

use regimen_common::food::Register;
use serde_json::Value;

use crate::plan::Plan;

/// A text and its JSON pointer, which is built only when needed.
pub(super) struct Text<'v> {
    pub(super) text: &'v str,
    /// For a portion, the name of its food: "3 tortillas" of corn tortillas
    /// names no other tortillas.
    pub(super) of: Option<&'v str>,
    path: &'v [Step<'v>],
}

/// One step of a pointer.
#[derive(Clone, Copy)]
enum Step<'v> {
    Key(&'v str),
    Index(usize),
}

/// Members in which foods and dishes are named, not described.
const LISTED: &[&str] = &[
    "meal_name",
    "name",
    "portion",
    "tags",
    "proteins",
    "vegetables",
    "carbs",
    "fats",
    "pantry_staples",
    "meal_type",
];
/// Members of a workout that name movements: "crab walk" is no crab.
const MOVEMENTS: &[&str] = &[
    "name",
    "activities",
    "alternatives",
    "gym_exercises",
    "home_exercises",
    "outdoor_exercises",
    "equipment_needed",
    "muscle_groups",
    "focus",
];

impl Text<'_> {
    /// Another text in its place.
    pub(super) fn with<'t>(&'t self, text: &'t str) -> Text<'t> {
        Text { text, of: self.of, path: self.path }
    }

    /// The JSON pointer.
    pub(super) fn pointer(&self) -> String {
        self.path.iter().fold(String::new(), |pointer, step| match step {
            Step::Key(key) => pointer + "/" + key,
            Step::Index(index) => format!("{pointer}/{index}"),
        })
    }

    /// How foods are named in it.
    pub(super) fn register(&self) -> Register {
        if self.is_within(LISTED) { Register::Listed } else { Register::Prose }
    }

    fn is_within(&self, members: &[&str]) -> bool {
        self.path.iter().any(|step| matches!(step, Step::Key(key) if members.contains(key)))
    }

    fn names_movements(&self) -> bool {
        self.is_within(MOVEMENTS)
    }
}

/// A text that is the name of a food.
pub(super) fn name(text: &str) -> Text<'_> {
    Text { text, of: None, path: &[Step::Key("name")] }
}

/// Shows every text to `look`.
pub(super) fn all(plan: &Value, look: &mut dyn FnMut(&Text<'_>)) {
    walk(plan, None, &mut Vec::new(), look);
}

/// Shows every text that may name food to `look`.
pub(super) fn about_food(plan: &Plan, json: &Value, look: &mut dyn FnMut(&Text<'_>)) {
    let workout = matches!(plan, Plan::Workout(_));
    all(json, &mut |text| {
        if !(workout && text.names_movements()) {
            look(text);
        }
    });
}

fn walk<'v>(
    value: &'v Value,
    of: Option<&'v str>,
    path: &mut Vec<Step<'v>>,
    look: &mut dyn FnMut(&Text<'_>),
) {
    match value {
        Value::String(text) => look(&Text { text, of, path }),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                walk(item, None, path, look);
                path.pop();
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                path.push(Step::Key(key));
                let of = members.get("name").and_then(Value::as_str);
                walk(member, of.filter(|_| key == "portion"), path, look);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
