//! Adjusts portions so that a day that is nearly right meets its targets.
//!
//! First all portions by one factor, for the calories. If a macronutrient is
//! still off, the sources of protein, of carbohydrate and of fat each by a
//! factor of their own: three equations, three unknowns. A result that does not
//! meet every target, or needs unrealistic portions, is dropped.

use super::repair::Repair;
use super::sums::Amounts;
use crate::plan::MealPlan;
use crate::plan::meal::Food;
use crate::plan::needs::{Band, Needs};

/// A plan further from the calories than this is not scaled.
const WITHIN: f64 = 0.15;
/// The limits of a portion's factor.
const SMALLEST: f64 = 0.7;
const LARGEST: f64 = 1.4;
/// How far inside a band to aim, so that rounding stays in it.
const MARGIN: f64 = 0.01;

/// The main nutrient of a food.
#[derive(Clone, Copy)]
enum Source {
    Protein,
    Carbs,
    Fats,
}

/// Changes portions if that meets the targets; returns how.
pub(super) fn to_targets(day: &mut MealPlan, needs: &Needs) -> Option<Repair> {
    let total = Amounts::of_day(day);
    if meets(total, needs) || total.calories <= 0.0 || needs.calories.target <= 0.0 {
        return None;
    }
    let factor = needs.calories.target / total.calories;
    if (factor - 1.0).abs() > WITHIN {
        return None;
    }
    let even = [factor; 3];
    if meets(scaled_total(day, even), needs) {
        apply(day, even);
        return Some(Repair::Scaled { percent: percent(factor) });
    }
    let factors = balance(day, needs)?;
    let possible = factors.iter().all(|factor| (SMALLEST..=LARGEST).contains(factor));
    if possible && meets(scaled_total(day, factors), needs) {
        apply(day, factors);
        return Some(Repair::Rebalanced { percent: factors.map(percent) });
    }
    None
}

fn percent(factor: f64) -> f64 {
    (factor * 1000.0).round() / 10.0
}

fn meets(total: Amounts, needs: &Needs) -> bool {
    needs.calories.contains(total.calories)
        && needs.protein.contains(total.protein)
        && needs.carbs.contains(total.carbs)
        && needs.fats.contains(total.fats)
}

fn source(food: &Food) -> Source {
    let [protein, carbs, fats] = [4.0 * food.protein, 4.0 * food.carbs, 9.0 * food.fats];
    if protein >= carbs && protein >= fats {
        Source::Protein
    } else if carbs >= fats {
        Source::Carbs
    } else {
        Source::Fats
    }
}

/// Foods without a weight keep their portion, because the new one could not be stated.
fn factor(food: &Food, factors: [f64; 3]) -> f64 {
    if food.grams > 0.0 { factors[source(food) as usize] } else { 1.0 }
}

fn scaled(food: &Food, by: f64) -> Food {
    let grams = if food.grams * by < 20.0 {
        (food.grams * by * 10.0).round() / 10.0
    } else {
        (food.grams * by).round()
    };
    let amounts = Amounts {
        calories: food.calories * by,
        protein: food.protein * by,
        carbs: food.carbs * by,
        fats: food.fats * by,
        fiber: food.fiber * by,
    }
    .rounded();
    Food {
        name: food.name.clone(),
        portion: format!("{grams} g"),
        grams,
        calories: amounts.calories,
        protein: amounts.protein,
        carbs: amounts.carbs,
        fats: amounts.fats,
        fiber: amounts.fiber,
    }
}

fn scaled_total(day: &MealPlan, factors: [f64; 3]) -> Amounts {
    let foods: Vec<Food> = day
        .meals
        .iter()
        .flat_map(|meal| &meal.foods)
        .map(|food| scaled(food, factor(food, factors)))
        .collect();
    Amounts::of(&foods)
}

fn apply(day: &mut MealPlan, factors: [f64; 3]) {
    for food in day.meals.iter_mut().flat_map(|meal| &mut meal.foods) {
        let by = factor(food, factors);
        if (by - 1.0).abs() > f64::EPSILON {
            *food = scaled(food, by);
        }
    }
}

/// The factors that bring every macronutrient to the nearest place in its band; none if
/// the foods do not allow it.
fn balance(day: &MealPlan, needs: &Needs) -> Option<[f64; 3]> {
    let mut parts = [[0.0; 3]; 3];
    let mut fixed = [0.0; 3];
    for food in day.meals.iter().flat_map(|meal| &meal.foods) {
        let amounts = [food.protein, food.carbs, food.fats];
        for (nutrient, amount) in amounts.into_iter().enumerate() {
            if food.grams > 0.0 {
                parts[nutrient][source(food) as usize] += amount;
            } else {
                fixed[nutrient] += amount;
            }
        }
    }
    let bands = [needs.protein, needs.carbs, needs.fats];
    let wanted = [0, 1, 2].map(|nutrient| {
        let now = parts[nutrient].iter().sum::<f64>() + fixed[nutrient];
        // The target itself keeps the calories right; an open band keeps the current
        // amount.
        let goal = if bands[nutrient].high.is_finite() {
            bands[nutrient].target
        } else {
            inside(bands[nutrient], now)
        };
        goal - fixed[nutrient]
    });
    solve(parts, wanted)
}

fn inside(band: Band, amount: f64) -> f64 {
    amount.max(band.low * (1.0 + MARGIN)).min(band.high * (1.0 - MARGIN))
}

/// Cramer's rule; none if the rows are linearly dependent.
fn solve(rows: [[f64; 3]; 3], wanted: [f64; 3]) -> Option<[f64; 3]> {
    let whole = determinant(rows);
    if whole.abs() < 1e-6 {
        return None;
    }
    Some([0, 1, 2].map(|column| {
        let mut replaced = rows;
        for (row, value) in replaced.iter_mut().zip(wanted) {
            row[column] = value;
        }
        determinant(replaced) / whole
    }))
}

fn determinant([a, b, c]: [[f64; 3]; 3]) -> f64 {
    a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
}
