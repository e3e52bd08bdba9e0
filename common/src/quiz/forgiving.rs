//! Lenient handling of what the replaced service accepted and its front ends
//! still send: which answers are cut, left out or corrected instead of refused,
//! and how that is reported.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::limits::{MAX_ITEMS, MAX_TEXT_CHARS, escape, longer_than};

/// An adjusted answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// Its RFC 6901 pointer relative to the answers object.
    pub pointer: String,
    /// The adjustment, for the person.
    pub text: String,
}

/// Heights of adults in inches: 4'7" to 7'3". The smallest is larger than a value that
/// could be a child's height in centimetres.
const ADULT_INCHES: RangeInclusive<f64> = 55.0..=87.0;
/// Between the average heights of women and men.
const AVERAGE_INCHES: f64 = 66.5;

/// The height in whole inches behind `cm`, when inches were stored as centimetres.
///
/// A front end that shows such a height in feet rounds it to a whole inch, so several
/// heights look the same: 70, 71 and 72 "cm" are all 2'4". The one nearest to the average
/// is the most likely. None if `cm` is possible as it is, or not an adult's height either
/// way.
pub(super) fn inches_stored_as_cm(cm: f64, possible: &RangeInclusive<f64>) -> Option<f64> {
    if possible.contains(&cm) {
        return None;
    }
    let exact = cm.round();
    if (cm - exact).abs() < 1e-9 {
        return ADULT_INCHES.contains(&exact).then_some(exact);
    }
    let shown = |inches: &f64| (inches / 2.54).round() == (cm / 2.54).round();
    let whole = (55_u8..=87).map(f64::from).filter(shown);
    whole.min_by(|a, b| (a - AVERAGE_INCHES).abs().total_cmp(&(b - AVERAGE_INCHES).abs()))
}

/// The first `most` characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// The answers with their texts and lists cut to the limits, and the places. Only the
/// answers themselves and their items are checked: the quiz reads nothing deeper.
pub(super) fn within_limits(answers: &Map<String, Value>) -> (Map<String, Value>, Vec<Adjustment>) {
    let mut answers = answers.clone();
    let mut adjusted = Vec::new();
    for (name, value) in &mut answers {
        let mut note = |text: String| {
            adjusted.push(Adjustment { pointer: format!("/{}", escape(name)), text });
        };
        match value {
            Value::String(text) if longer_than(text, MAX_TEXT_CHARS) => {
                *text = cut(text, MAX_TEXT_CHARS);
                note(format!("Only the first {MAX_TEXT_CHARS} characters were used."));
            }
            Value::Array(items) => {
                if items.len() > MAX_ITEMS {
                    items.truncate(MAX_ITEMS);
                    note(format!("Only the first {MAX_ITEMS} entries were used."));
                }
                for item in items.iter_mut() {
                    if let Value::String(text) = item
                        && longer_than(text, MAX_TEXT_CHARS)
                    {
                        *text = cut(text, MAX_TEXT_CHARS);
                    }
                }
            }
            _ => {}
        }
    }
    (answers, adjusted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{HEIGHT_CM, Quiz};
    use super::*;

    fn with(field: &str, value: Value) -> Value {
        let sample = include_str!("../../tests/fixtures/sample_quiz.json");
        let mut answers: Value = serde_json::from_str(sample).unwrap();
        answers[field] = value;
        answers
    }

    #[test]
    fn inches_stored_as_centimetres_are_found_only_where_nothing_else_fits() {
        let inches = |cm| inches_stored_as_cm(cm, &HEIGHT_CM);
        for (cm, expected) in [
            (70.0, Some(70.0)),
            (62.0, Some(62.0)),
            // 2'4" and 2'0": what 70 and 62 look like in feet.
            (71.12, Some(70.0)),
            (60.96, Some(62.0)),
            (172.0, None),
            (100.0, None),
            (40.0, None),
            (95.0, None),
            (0.0, None),
            (300.0, None),
        ] {
            assert_eq!(inches(cm), expected, "{cm}");
        }
    }

    #[test]
    fn a_height_of_two_feet_is_read_as_inches_and_told() {
        let answers = with("height", json!({"ft": "2", "inch": "4"}));
        assert!(Quiz::read(&answers).is_err());
        let (quiz, adjusted) = Quiz::read_forgiving(&answers).unwrap();
        assert_eq!(quiz.height.to_string(), "5'10\"");
        assert_eq!(adjusted.len(), 1);
        assert_eq!(adjusted[0].pointer, "/height");
        assert!(adjusted[0].text.contains("2'4\""), "{}", adjusted[0].text);
        let (quiz, _) = Quiz::read_forgiving(&with("height", json!({"cm": "70"}))).unwrap();
        assert_eq!(quiz.height.to_string(), "5'10\"");
        for impossible in
            [json!({"ft": "1", "inch": "0"}), json!({"cm": "30"}), json!({"cm": "NaN"})]
        {
            let refused = Quiz::read_forgiving(&with("height", impossible.clone())).unwrap_err();
            assert!(refused.problems[0].pointer.starts_with("/height"), "{impossible}");
        }
    }

    #[test]
    fn what_the_replaced_service_let_pass_is_left_out_or_cut_and_told() {
        let (long, words) = ("a".repeat(2_500), vec!["b"; 60]);
        for (field, value, told) in [
            ("neck", json!({"cm": "12"}), true),
            ("waist", json!({"cm": "NaN"}), true),
            ("neck", json!({"cm": ""}), false),
            ("hip", json!({"ft": "0", "inch": "0"}), true),
            ("waist", json!({"cm": "wide"}), true),
            ("waist", json!("32"), true),
            ("bodyFat", json!(0), true),
            ("bodyFat", json!(72), true),
            ("preferredExercise", json!([]), true),
            ("medications", json!(long), true),
            ("cookingTime", json!(long), true),
            ("dislikedFoods", json!(words), true),
            ("equipment", json!([long]), true),
            ("an_unknown_field", json!(long), true),
        ] {
            let (_, adjusted) = Quiz::read_forgiving(&with(field, value)).expect(field);
            let pointer = format!("/{field}");
            assert_eq!(
                adjusted.iter().any(|a| a.pointer == pointer),
                told,
                "{field}: {adjusted:?}"
            );
            assert!(adjusted.iter().all(|a| a.pointer == pointer), "{field}: {adjusted:?}");
        }
    }

    #[test]
    fn what_is_needed_is_still_asked_for() {
        for (field, value) in [
            ("age", json!("12")),
            ("height", json!({"cm": ""})),
            ("currentWeight", json!({"kg": "NaN"})),
            ("mainGoal", json!("")),
            ("preferredExercise", json!(7)),
        ] {
            let refused = Quiz::read_forgiving(&with(field, value)).unwrap_err();
            let pointer = &refused.problems[0].pointer;
            assert!(pointer.starts_with(&format!("/{field}")), "{field}: {pointer}");
        }
        let mut answers = with("age", json!(30));
        answers.as_object_mut().unwrap().remove("trainingEnvironment");
        assert!(Quiz::read_forgiving(&answers).is_err());
    }

    #[test]
    fn right_answers_are_read_as_strictly_as_ever() {
        let answers = with("age", json!(34));
        let (quiz, adjusted) = Quiz::read_forgiving(&answers).unwrap();
        assert!(adjusted.is_empty());
        assert!(quiz == Quiz::read(&answers).unwrap());
    }
}
