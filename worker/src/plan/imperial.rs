//! Ounces, pounds and degrees Fahrenheit beside the metric amounts of a plan,
//! for people who gave their measures in imperial units. The metric amounts
//! stay, because sums are made of them.

use super::{MealPlan, Plan};

const GRAMS_PER_OUNCE: f64 = 28.349_523_125;
const GRAMS_PER_POUND: f64 = 453.592_37;
const ML_PER_FLUID_OUNCE: f64 = 29.573_529_562_5;

/// Adds the imperial amounts to the texts of a day of meals.
pub fn beside_metric(plan: &mut Plan) {
    if let Plan::Meal(day) = plan {
        beside(day);
    }
}

fn beside(day: &mut MealPlan) {
    for meal in &mut day.meals {
        for food in &mut meal.foods {
            let shown = with_imperial(&food.portion);
            food.portion = if shown == food.portion && !has_imperial(&shown) && food.grams >= 1.0 {
                format!("{shown} ({})", weight(food.grams)).trim_start().to_owned()
            } else {
                shown
            };
        }
        meal.recipe = with_imperial(&meal.recipe);
    }
    let list = &mut day.shopping_list;
    let shelves = [
        &mut list.proteins,
        &mut list.vegetables,
        &mut list.carbs,
        &mut list.fats,
        &mut list.pantry_staples,
        &mut day.hydration_plan.timing,
    ];
    for item in shelves.into_iter().flatten().chain([&mut day.hydration_plan.daily_water_intake]) {
        *item = with_imperial(item);
    }
}

/// The text with the imperial amount in brackets after each metric one.
fn with_imperial(text: &str) -> String {
    if has_imperial(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let number = number(&rest[at..]);
        let end = at + number.len();
        let after = &rest[end..];
        let space = after.len() - after.trim_start_matches([' ', '\u{a0}']).len();
        let unit: &str = after[space..]
            .split(|c: char| !(c.is_alphabetic() || c == '°'))
            .next()
            .unwrap_or_default();
        match converted(number, unit) {
            Some(imperial) => {
                let end = end + space + unit.len();
                out.push_str(&rest[..end]);
                out.push_str(&format!(" ({imperial})"));
                rest = &rest[end..];
            }
            None => {
                out.push_str(&rest[..end]);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Whether a text has such amounts already.
fn has_imperial(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_alphabetic() || c == '°'));
    words.into_iter().any(|word| {
        let word = word.to_lowercase();
        matches!(
            word.as_str(),
            "oz" | "lb" | "lbs" | "ounce" | "ounces" | "pound" | "pounds" | "°f"
        )
    })
}

/// The digits at the start of `text`, with one decimal mark.
fn number(text: &str) -> &str {
    let mut marks = 0;
    let end = text.char_indices().find(|(at, c)| {
        let mark = matches!(c, '.' | ',')
            && text[at + 1..].starts_with(|next: char| next.is_ascii_digit());
        marks += usize::from(mark);
        !(c.is_ascii_digit() || (mark && marks == 1))
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

fn converted(number: &str, unit: &str) -> Option<String> {
    // "1,500 g" is thousands, "1,5 l" a decimal.
    let plain = match number.split_once(',') {
        Some((whole, part)) if part.len() == 3 => format!("{whole}{part}"),
        Some((whole, part)) => format!("{whole}.{part}"),
        None => number.to_owned(),
    };
    let amount: f64 = plain.parse().ok()?;
    Some(match unit {
        "g" | "gr" | "gram" | "grams" => weight(amount),
        "kg" | "kilo" | "kilos" => weight(amount * 1000.0),
        "ml" | "mL" => volume(amount),
        "cl" => volume(amount * 10.0),
        "dl" | "dL" => volume(amount * 100.0),
        "l" | "L" | "litre" | "litres" | "liter" | "liters" => volume(amount * 1000.0),
        "°C" => format!("{:.0} °F", amount * 1.8 + 32.0),
        _ => return None,
    })
}

fn weight(grams: f64) -> String {
    if grams >= GRAMS_PER_POUND {
        amount(grams / GRAMS_PER_POUND, "lb")
    } else {
        amount(grams / GRAMS_PER_OUNCE, "oz")
    }
}

fn volume(ml: f64) -> String {
    amount(ml / ML_PER_FLUID_OUNCE, "fl oz")
}

/// One decimal below ten.
fn amount(value: f64, unit: &str) -> String {
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    #[test]
    fn metric_amounts_get_imperial_ones_beside_them() {
        for (text, expected) in [
            ("80 g", "80 g (2.8 oz)"),
            ("Oats 1,5 kg, milk 250ml", "Oats 1,5 kg (3.3 lb), milk 250ml (8.5 fl oz)"),
            ("2.5 litres", "2.5 litres (85 fl oz)"),
            ("Bake at 200 °C for 20 minutes", "Bake at 200 °C (392 °F) for 20 minutes"),
            ("1,500 g", "1,500 g (3.3 lb)"),
            ("1. Mix 40 g oats.", "1. Mix 40 g (1.4 oz) oats."),
            ("2 eggs", "2 eggs"),
            ("3 oz (85 g)", "3 oz (85 g)"),
            ("5 gloves, 3 kale leaves", "5 gloves, 3 kale leaves"),
            ("१०", "१०"),
        ] {
            assert_eq!(with_imperial(text), expected, "{text}");
        }
    }

    #[test]
    fn every_portion_has_an_imperial_amount_and_the_grams_stay() {
        let mut plan = sample::meal();
        let before = sample::meal_plan();
        beside_metric(&mut plan);
        let Plan::Meal(day) = plan else { panic!() };
        let foods = day.meals.iter().flat_map(|meal| &meal.foods);
        for (food, old) in foods.zip(before.meals.iter().flat_map(|meal| &meal.foods)) {
            assert!(has_imperial(&food.portion), "{}", food.portion);
            assert!(food.portion.starts_with(&old.portion) || has_imperial(&old.portion));
            assert_eq!(food.grams.to_bits(), old.grams.to_bits());
        }
    }
}
