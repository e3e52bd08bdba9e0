//! Parses a plan from a provider's reply: strict on its structure, lenient on
//! its notation. Numbers may come as text and text as numbers; the schema
//! decides which one is expected.

use regimen_common::job::PlanKind;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use super::{Plan, plain, schema};
use crate::json::{NoObject, only_object};

/// Longer replies are refused; a full plan is about 20 kB.
pub const REPLY_LIMIT_BYTES: usize = 512 * 1024;

/// Why a reply is not a plan.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Too long for a plan.
    #[error("the reply has {bytes} bytes; a plan has at most {REPLY_LIMIT_BYTES}")]
    TooLong {
        /// Length of the reply.
        bytes: usize,
    },
    /// It does not contain one JSON object.
    #[error("no plan is in the reply: {0}")]
    NoObject(NoObject),
    /// JSON, but not a plan of this kind.
    #[error("the {kind} plan has the wrong shape: {reason}")]
    Shape {
        /// The requested kind.
        kind: PlanKind,
        /// The first mismatch, bounded in length; may quote the reply.
        reason: String,
    },
}

/// Parses a plan of `kind`.
///
/// # Errors
/// The reply has no complete plan of that kind, or two different ones.
pub fn parse(kind: PlanKind, text: &str) -> Result<Plan, ParseError> {
    match kind {
        PlanKind::Meal => read(kind, text).map(Plan::Meal),
        PlanKind::Workout => read(kind, text).map(Plan::Workout),
    }
}

fn read<T: DeserializeOwned>(kind: PlanKind, text: &str) -> Result<T, ParseError> {
    if text.len() > REPLY_LIMIT_BYTES {
        return Err(ParseError::TooLong { bytes: text.len() });
    }
    let (_, object) = only_object(text).map_err(ParseError::NoObject)?;
    let shape = |error: serde_json::Error| ParseError::Shape {
        kind,
        reason: error.to_string().chars().take(300).collect(),
    };
    let mut value = unwrapped(object, schema(kind));
    fit(&mut value, "", schema(kind));
    plain::texts(&mut value);
    // From here on only the field's name is known, not its place.
    T::deserialize(value).map_err(shape)
}

/// Unwraps objects that contain only the plan: `{"plan": {…}}`.
fn unwrapped(mut value: Value, schema: &Value) -> Value {
    let known = |name: &String| !schema["properties"][name].is_null();
    while let Value::Object(fields) = &mut value
        && fields.len() == 1
        && let Some((name, inner)) = fields.iter_mut().next()
        && !known(name)
        && inner.is_object()
    {
        value = inner.take();
    }
    value
}

/// Converts numbers and texts as `schema` requires, if only quotes and the unit of the
/// field `name` are in the way.
fn fit(value: &mut Value, name: &str, schema: &Value) {
    let kind = schema["type"].as_str().unwrap_or_default();
    match value {
        Value::Object(fields) => {
            fields
                .iter_mut()
                .for_each(|(name, inner)| fit(inner, name, &schema["properties"][name]));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fit(item, name, &schema["items"])),
        Value::String(text) if matches!(kind, "number" | "integer") => {
            if let Some(number) = number_in(text, name) {
                *value = Value::Number(number);
            }
        }
        Value::String(text) if kind == "boolean" => {
            if let Ok(flag) = text.trim().to_ascii_lowercase().parse() {
                *value = Value::Bool(flag);
            }
        }
        Value::Number(number) if kind == "string" => {
            let text = number.to_string();
            *value = Value::String(text.strip_suffix(".0").unwrap_or(&text).to_owned());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The number in `text`, which may contain the unit of the field `name`.
fn number_in(text: &str, name: &str) -> Option<Number> {
    let text = text.trim();
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let units: &[&str] = match name {
        "grams" | "protein" | "carbs" | "fats" | "fiber" => &["g", "gr", "gram", "grams"],
        name if name.contains("calories") => &["kcal", "cal", "calories"],
        name if name.ends_with("minutes") => &["m", "min", "mins", "minute", "minutes"],
        name if name.ends_with("seconds") => &["s", "sec", "secs", "second", "seconds"],
        _ => &[],
    };
    let unit = unit.trim_end_matches('.').to_lowercase();
    let number = if units.contains(&unit.as_str()) { digits.trim_end() } else { text };
    // No commas, because they are ambiguous: decimal or thousands.
    serde_json::from_str(number).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::sample;

    #[test]
    fn a_plan_is_found_bare_fenced_or_in_prose() {
        let json = serde_json::to_string(&sample::meal()).unwrap();
        for reply in [
            json.clone(),
            format!("\u{feff}  {json}\n"),
            format!("```json\n{json}\n```"),
            format!("Sure {{as asked}}, here it is:\n{json}\nEnjoy {{it}}!"),
            format!("{json}\n{json}"),
            format!("{{\"plan\": {json}}}"),
            format!("{{\"response\": {{\"meal_plan\": {json}}}}}"),
        ] {
            assert_eq!(parse(PlanKind::Meal, &reply).unwrap(), sample::meal());
        }
        let json = serde_json::to_string(&sample::workout()).unwrap();
        assert_eq!(parse(PlanKind::Workout, &json).unwrap(), sample::workout());
    }

    #[test]
    fn every_other_reply_is_named() {
        let json = serde_json::to_string(&sample::meal()).unwrap();
        let of = |text: &str| parse(PlanKind::Meal, text).unwrap_err();
        assert!(matches!(of(" \n"), ParseError::NoObject(NoObject::Empty)));
        assert!(matches!(of("I cannot do that."), ParseError::NoObject(NoObject::Words)));
        assert!(matches!(of(&json[..json.len() / 2]), ParseError::NoObject(NoObject::CutOff)));
        assert!(matches!(of("{\"meals\": [oops]}"), ParseError::NoObject(NoObject::Broken(_))));
        let other = json.replacen("\"meal_name\":\"", "\"meal_name\":\"Other ", 1);
        assert!(matches!(of(&format!("{json}\n{other}")), ParseError::NoObject(NoObject::Several)));
        assert!(matches!(of(&"x".repeat(REPLY_LIMIT_BYTES + 1)), ParseError::TooLong { .. }));
        let extra = json.replacen("{", "{\"note\":1,", 1);
        assert!(of(&extra).to_string().contains("note"), "{}", of(&extra));
        let missing = json.replacen("\"meal_name\":", "\"name\":", 1);
        assert!(matches!(of(&missing), ParseError::Shape { .. }));
        assert!(matches!(parse(PlanKind::Workout, &json), Err(ParseError::Shape { .. })));
    }

    #[test]
    fn cutting_a_plan_anywhere_never_passes_or_panics() {
        let json = serde_json::to_string(&sample::workout()).unwrap();
        for end in (0..json.len()).filter(|end| json.is_char_boundary(*end)).step_by(7) {
            assert!(parse(PlanKind::Workout, &json[..end]).is_err(), "cut at {end}");
        }
    }

    /// The sample with what stands at `pointer` replaced.
    fn with(kind: PlanKind, pointer: &str, value: Value) -> Result<Plan, ParseError> {
        let mut plan = match kind {
            PlanKind::Meal => json!(sample::meal()),
            PlanKind::Workout => json!(sample::workout()),
        };
        *plan.pointer_mut(pointer).unwrap() = value;
        parse(kind, &plan.to_string())
    }

    #[test]
    fn numbers_may_be_text_and_text_numbers_where_nothing_else_is_meant() {
        for (kind, pointer, value, right) in [
            (PlanKind::Meal, "/meals/0/foods/0/grams", json!("55.0"), json!(55.0)),
            (PlanKind::Meal, "/meals/0/prep_time_minutes", json!(" 10 "), json!(10)),
            (PlanKind::Meal, "/meals/0/foods/0/grams", json!("55 g"), json!(55.0)),
            (PlanKind::Meal, "/meals/0/foods/0/protein", json!("12.5g"), json!(12.5)),
            (PlanKind::Meal, "/meals/0/foods/0/calories", json!("202 kcal"), json!(202.0)),
            (PlanKind::Meal, "/meals/0/prep_time_minutes", json!("10 min."), json!(10)),
            (PlanKind::Meal, "/meals/0/foods/0/grams", json!("+55"), json!(55.0)),
            (PlanKind::Workout, "/weekly_plan/0/exercises/0/rest_seconds", json!("45s"), json!(45)),
            (PlanKind::Meal, "/meals/0/foods/0/portion", json!(280), json!("280")),
            (PlanKind::Meal, "/daily_totals/variance", json!(-0.5), json!("-0.5")),
            (PlanKind::Workout, "/weekly_plan/0/exercises/0/sets", json!("3"), json!(3)),
            (PlanKind::Workout, "/weekly_plan/0/exercises/0/sets", json!("3.0"), json!(3)),
            (PlanKind::Workout, "/weekly_plan/0/exercises/0/reps", json!(12), json!("12")),
            (PlanKind::Workout, "/weekly_plan/0/optional", json!("False"), json!(false)),
        ] {
            let read = with(kind, pointer, value.clone()).unwrap();
            assert_eq!(json!(read).pointer(pointer), Some(&right), "{pointer} {value}");
        }
        for value in [
            "a cup",
            "",
            "55 or 60",
            "1,823",
            "12,5",
            "1.823,5",
            "NaN",
            "inf",
            "5-6",
            "0x1F",
            "½",
            "55 kg",
            "55 ml",
            "2 oz",
            "g",
            "55 g or so",
            "~55",
            "55%",
            "1 823",
        ] {
            let read = with(PlanKind::Meal, "/meals/0/foods/0/grams", json!(value));
            assert!(matches!(read, Err(ParseError::Shape { .. })), "{value}");
        }
        assert!(with(PlanKind::Meal, "/meals/0/foods/0/name", Value::Null).is_err());
        assert!(with(PlanKind::Meal, "/meals/0/foods/0/grams", json!([55])).is_err());
        assert!(with(PlanKind::Workout, "/weekly_plan/0/exercises/0/sets", json!("-3")).is_err());
    }

    #[test]
    fn what_cannot_be_saved_or_shown_is_cleaned_before_it_is_judged() {
        let plan = json!(sample::meal()).to_string();
        let said = |recipe: &str| {
            let text = plan.replacen("\"recipe\":\"", &format!("\"recipe\":\"{recipe}"), 1);
            let Plan::Meal(plan) = parse(PlanKind::Meal, &text).unwrap() else { panic!() };
            plan.meals[0].recipe.chars().take_while(|letter| *letter != '|').collect::<String>()
        };
        assert_eq!(said(r"pla\u0000in|"), "plain");
        assert_eq!(said("pla\u{0}in\u{1b}|"), "plain");
        assert_eq!(said(r"a\u0007\u009fb\u000ac|"), "ab\nc");
        assert_eq!(said(r"\ud83d|"), "\u{fffd}");
        assert_eq!(said(r"\ude00\ud83din|"), "\u{fffd}\u{fffd}in");
        assert_eq!(said(r"\ud83d\ude00|"), "😀");
    }
}
