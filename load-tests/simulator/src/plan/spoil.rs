//! Plans that are wrong in one chosen way, for whoever must notice.

use serde_json::{Value, json};

use crate::chance::Chance;

/// How a plan is to be wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spoil {
    /// A food put into the first meal, totals kept right.
    pub(crate) food: Option<String>,
    /// Words put where a plan has words.
    pub(crate) says: Option<String>,
    /// kcal the day comes to instead.
    pub(crate) calories: Option<f64>,
    /// Foods have invented figures, totals kept right.
    pub(crate) wrong_figures: bool,
    /// The totals no longer follow from the foods.
    pub(crate) wrong_totals: bool,
    /// A required key is missing, another has the wrong type, a third is unknown.
    pub(crate) wrong_shape: bool,
}

/// `text` with the faults of `spoil`; a text that is no JSON stays as it is.
pub(crate) fn spoil(text: &str, spoil: &Spoil) -> String {
    let Ok(mut plan) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    if let Some(food) = &spoil.food {
        add_food(&mut plan, food);
        total(&mut plan);
    }
    if let Some(calories) = spoil.calories {
        rescale(&mut plan, calories);
        total(&mut plan);
    }
    if spoil.wrong_figures {
        invent(&mut plan, &mut Chance::new(text));
        total(&mut plan);
    }
    if let Some(words) = &spoil.says {
        say(&mut plan, words);
    }
    if spoil.wrong_totals {
        falsify(&mut plan);
    }
    if spoil.wrong_shape {
        misshape(&mut plan);
    }
    plan.to_string()
}

/// Adds every meal and the day up again from the foods.
pub(crate) fn total(plan: &mut Value) {
    let names = ["calories", "protein", "carbs", "fats", "fiber"];
    let Some(meals) = plan.get_mut("meals").and_then(Value::as_array_mut) else { return };
    let mut day = [0.0; 5];
    for meal in meals {
        for (index, name) in names.iter().enumerate() {
            let foods = meal["foods"].as_array();
            let sum: f64 = foods.into_iter().flatten().filter_map(|food| food[name].as_f64()).sum();
            day[index] += sum;
            put(meal, &format!("total_{name}"), sum);
        }
    }
    for (name, sum) in names.iter().zip(day) {
        put(&mut plan["daily_totals"], name, sum);
    }
}

/// Sets a number that is there, to one decimal, whole when it was whole.
fn put(object: &mut Value, name: &str, number: f64) {
    let Some(slot) = object.get_mut(name) else { return };
    let rounded = (number * 10.0).round() / 10.0;
    #[expect(clippy::cast_possible_truncation, reason = "a day's figures are far below 2^53")]
    let whole = rounded as i64;
    *slot = if rounded.fract() == 0.0 { Value::from(whole) } else { Value::from(rounded) };
}

fn add_food(plan: &mut Value, name: &str) {
    // Little of it, so that the day's totals still pass.
    let food = json!({
        "name": name, "portion": "1 teaspoon (5 g)", "grams": 5, "calories": 13,
        "protein": 1, "carbs": 1, "fats": 0.6, "fiber": 0.1,
    });
    if let Some(foods) = plan.pointer_mut("/meals/0/foods").and_then(Value::as_array_mut) {
        foods.push(food);
        return;
    }
    // A workout plan has no foods; equipment nobody has is its forbidden thing.
    if let Some(list) = plan.pointer_mut("/weekly_plan/0/exercises/0/equipment_needed") {
        *list = json!([name]);
    }
}

fn rescale(plan: &mut Value, calories: f64) {
    let old = plan["daily_totals"]["calories"].as_f64().filter(|old| *old > 0.0);
    let Some(factor) = old.map(|old| calories / old) else { return };
    let meals = plan.get_mut("meals").and_then(Value::as_array_mut).into_iter().flatten();
    for food in meals.filter_map(|meal| meal["foods"].as_array_mut()).flatten() {
        for name in ["grams", "calories", "protein", "carbs", "fats", "fiber"] {
            let scaled = food[name].as_f64().unwrap_or_default() * factor;
            put(food, name, scaled);
        }
    }
}

/// Figures of one food in six, as models misremember them: for another weight, another
/// form, with the macronutrients changed round.
fn invent(plan: &mut Value, chance: &mut Chance) {
    let meals = plan.get_mut("meals").and_then(Value::as_array_mut).into_iter().flatten();
    for food in meals.filter_map(|meal| meal["foods"].as_array_mut()).flatten() {
        if chance.index(6) > 0 {
            continue;
        }
        let factor = [0.4, 0.5, 2.0, 3.0, 1.0][chance.index(5)];
        let old = |name: &str| food[name].as_f64().unwrap_or_default();
        let (protein, carbs, fats) = (old("protein"), old("carbs"), old("fats"));
        let (protein, carbs) = if factor == 1.0 { (carbs, protein) } else { (protein, carbs) };
        let new = [protein, carbs, fats].map(|grams| grams * factor);
        let energy = 4.0 * (new[0] + new[1]) + 9.0 * new[2];
        for (name, figure) in
            ["protein", "carbs", "fats", "calories"].iter().zip([new[0], new[1], new[2], energy])
        {
            put(food, name, figure);
        }
    }
}

fn say(plan: &mut Value, words: &str) {
    let spots = [
        "/meals/0/meal_name",
        "/meals/0/recipe",
        "/personalized_tips/0",
        "/weekly_plan/0/exercises/0/name",
        "/weekly_plan/0/focus",
    ];
    for spot in spots {
        if let Some(text) = plan.pointer_mut(spot) {
            *text = Value::from(words);
        }
    }
}

fn falsify(plan: &mut Value) {
    if plan["meals"].is_array() {
        let calories = plan["daily_totals"]["calories"].as_f64().unwrap_or_default();
        put(&mut plan["daily_totals"], "calories", calories + 640.0);
        let first = plan["meals"][0]["total_protein"].as_f64().unwrap_or_default();
        put(&mut plan["meals"][0], "total_protein", first + 35.0);
        return;
    }
    let days = plan["weekly_summary"]["total_workout_days"].as_f64().unwrap_or_default();
    put(&mut plan["weekly_summary"], "total_workout_days", 7.0 - days.min(6.0));
    let minutes = plan["weekly_summary"]["total_time_minutes"].as_f64().unwrap_or_default();
    put(&mut plan["weekly_summary"], "total_time_minutes", minutes + 240.0);
}

fn misshape(plan: &mut Value) {
    let Some(object) = plan.as_object_mut() else { return };
    let last = object.keys().next_back().cloned().unwrap_or_default();
    object.remove(&last);
    object.insert("surprise".to_owned(), json!(true));
    for list in ["meals", "weekly_plan"] {
        if let Some(entry) = object.get_mut(list).and_then(|list| list.get_mut(0)) {
            for name in ["prep_time_minutes", "duration_minutes"] {
                if let Some(number) = entry.get_mut(name) {
                    *number = json!("a while");
                }
            }
        }
    }
}
