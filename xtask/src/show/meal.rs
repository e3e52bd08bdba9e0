//! A day of meals: each with its foods, and the sums.

use std::fmt::Write;

use serde_json::Value;

use super::{capitalised, dotted, items, labelled, number, printable, text, texts};

/// The lines of a plan, with the shopping list and the tips at the end.
pub(crate) fn meal_plan(plan: &Value) -> String {
    let mut out = format!("MEAL PLAN   {}\n", totals(&plan["daily_totals"], ""));
    for meal in items(plan, "meals") {
        write_meal(&mut out, meal);
    }
    let shopping = &plan["shopping_list"];
    let shelves = ["proteins", "vegetables", "carbs", "fats", "pantry_staples"];
    let bought: Vec<_> = shelves.map(|shelf| texts(shopping, shelf)).into_iter().collect();
    let bought: Vec<_> = bought.into_iter().filter(|shelf| !shelf.is_empty()).collect();
    out.push('\n');
    out.push_str(&labelled("To buy   ", &bought.join(", ")));
    out.push_str(&labelled("To drink ", &text(&plan["hydration_plan"], "daily_water_intake")));
    for tip in items(plan, "personalized_tips").iter().filter_map(Value::as_str) {
        out.push_str(&labelled("Tip      ", &printable(tip)));
    }
    out
}

fn write_meal(out: &mut String, meal: &Value) {
    let name = text(meal, "meal_name");
    let kind = capitalised(&text(meal, "meal_type"));
    let _ = writeln!(out, "\n{:<6} {kind}: {name}", text(meal, "meal_timing"));
    let minutes = format!("{} min", number(meal, "prep_time_minutes"));
    let about = dotted([minutes, text(meal, "difficulty"), texts(meal, "tags")]);
    let _ = writeln!(out, "       {about}");
    for food in items(meal, "foods") {
        let what = dotted([text(food, "name"), text(food, "portion")]);
        let _ = writeln!(
            out,
            "       {:>6.0} g  {what:<46} {:>6.0} kcal  P {:>5.1}  C {:>5.1}  F {:>5.1}",
            number(food, "grams"),
            number(food, "calories"),
            number(food, "protein"),
            number(food, "carbs"),
            number(food, "fats"),
        );
    }
    let _ = writeln!(out, "       = {}", totals(meal, "total_"));
}

/// The totals of a meal or a day, whose names begin with `prefix`.
fn totals(value: &Value, prefix: &str) -> String {
    let sum = |name: &str| number(value, &format!("{prefix}{name}"));
    format!(
        "{:.0} kcal · protein {:.0} g · carbohydrates {:.0} g · fat {:.0} g · fibre {:.0} g",
        sum("calories"),
        sum("protein"),
        sum("carbs"),
        sum("fats"),
        sum("fiber"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn foods_and_sums_are_shown() {
        let plan = json!({
            "meals": [{
                "meal_type": "breakfast", "meal_name": "Porridge\u{1b}[2J", "meal_timing": "08:00",
                "prep_time_minutes": 10, "difficulty": "easy", "tags": ["quick", "warm"],
                "total_calories": 301.4, "total_protein": 12.0,
                "foods": [{"name": "Oats", "portion": "1 cup", "grams": 80, "calories": 301.4,
                           "protein": 12.0, "carbs": 50.0, "fats": 5.5}],
            }],
            "daily_totals": {"calories": 1800.2, "protein": 120},
            "shopping_list": {"proteins": ["Tofu"], "vegetables": [], "carbs": ["Oats", "Rice"]},
            "hydration_plan": {"daily_water_intake": "2.5 litres"},
            "personalized_tips": ["Eat slowly."],
        });
        let shown = meal_plan(&plan);
        assert!(shown.starts_with("MEAL PLAN   1800 kcal · protein 120 g"), "{shown}");
        assert!(shown.contains("08:00  Breakfast: Porridge [2J\n"), "{shown:?}");
        assert!(shown.contains("10 min · easy · quick, warm\n"), "{shown}");
        assert!(shown.contains("    80 g  Oats · 1 cup "), "{shown}");
        assert!(shown.contains("   301 kcal  P  12.0  C  50.0  F   5.5\n"), "{shown}");
        assert!(shown.contains("To buy   Tofu, Oats, Rice\n"), "{shown}");
        assert!(shown.ends_with("Tip      Eat slowly.\n"), "{shown}");
    }

    #[test]
    fn a_plan_without_anything_is_no_panic() {
        assert!(meal_plan(&Value::Null).starts_with("MEAL PLAN   0 kcal"));
    }
}
