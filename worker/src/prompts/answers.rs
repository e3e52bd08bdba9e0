//! The quiz as lines of data, one answer per line.

use std::fmt::Write;

use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;

use super::clean::{ITEM_CHARS, TEXT_CHARS, clean, clean_list};

/// All answers, one line each. Unanswered questions are left out.
pub(super) fn lines(quiz: &Quiz, nutrition: &Nutrition) -> String {
    let mut out = String::new();
    body(&mut out, quiz, nutrition);
    for (name, text) in [
        ("main goal", &quiz.main_goal),
        ("time frame", &quiz.time_frame),
        ("lifestyle", &quiz.lifestyle),
        ("grocery budget", &quiz.grocery_budget),
        ("dietary style", &quiz.dietary_style),
        ("meals per day", &quiz.meals_per_day),
        ("sleep quality", &quiz.sleep_quality),
        ("exercise frequency", &quiz.exercise_frequency),
        ("cooking skill", &quiz.cooking_skill),
        ("cooking time", &quiz.cooking_time),
    ] {
        line(&mut out, name, &clean(text, ITEM_CHARS));
    }
    for (name, text) in [
        ("country", &quiz.country),
        ("body type", &quiz.body_type),
        ("occupation", &quiz.occupation_activity),
        ("other health conditions", &quiz.health_conditions_other),
        ("medications", &quiz.medications),
        ("injuries", &quiz.injuries),
        ("food allergies", &quiz.food_allergies),
    ] {
        line(&mut out, name, &clean(text.as_deref().unwrap_or_default(), TEXT_CHARS));
    }
    for (name, items) in [
        ("further goals", &quiz.secondary_goals),
        ("health conditions", &quiz.health_conditions),
        ("preferred exercise", &quiz.preferred_exercise),
        ("training places", &quiz.training_environment),
        ("equipment", &quiz.equipment),
        ("disliked foods", &quiz.disliked_foods),
        ("difficulties so far", &quiz.challenges),
    ] {
        line(&mut out, name, &clean_list(items).join("; "));
    }
    out
}

fn body(out: &mut String, quiz: &Quiz, nutrition: &Nutrition) {
    line(out, "age", &quiz.age.to_string());
    line(out, "gender", &clean(&quiz.gender, ITEM_CHARS));
    line(out, "height", &format!("{:.0} cm", quiz.height.cm()));
    line(out, "weight", &format!("{:.1} kg", quiz.current_weight.kg()));
    line(out, "target weight", &format!("{:.1} kg", quiz.target_weight.kg()));
    if let Some(fat) = nutrition.body_fat_percentage {
        line(out, "body fat", &format!("{fat:.1} %"));
    }
    line(out, "daily energy use", &format!("{:.0} kcal", nutrition.tdee));
    line(out, "motivation", &format!("{} of 10", quiz.motivation_level));
    line(out, "stress", &format!("{} of 10", quiz.stress_level));
}

fn line(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name}: {value}");
    }
}
