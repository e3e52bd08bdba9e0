//! The sums of a day of meals: each meal is the sum of its foods, the day is
//! the sum of its meals, and the day meets the targets.

use super::violation::Violation;
use crate::plan::MealPlan;
use crate::plan::meal::{DailyTotals, Food, Meal};
use crate::plan::needs::Needs;

/// Energy and nutrients of some food.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Amounts {
    /// kcal.
    pub(super) calories: f64,
    /// g.
    pub(super) protein: f64,
    /// g.
    pub(super) carbs: f64,
    /// g.
    pub(super) fats: f64,
    /// g.
    pub(super) fiber: f64,
}

/// Stated sums may differ from computed ones by the rounding of each part.
const ROUNDING_SHARE: f64 = 0.02;
const ROUNDING_KCAL: f64 = 5.0;
const ROUNDING_G: f64 = 1.0;

impl Amounts {
    /// The sum of foods.
    pub(super) fn of<'f>(foods: impl IntoIterator<Item = &'f Food>) -> Self {
        foods.into_iter().fold(Self::default(), |sum, food| Self {
            calories: sum.calories + food.calories,
            protein: sum.protein + food.protein,
            carbs: sum.carbs + food.carbs,
            fats: sum.fats + food.fats,
            fiber: sum.fiber + food.fiber,
        })
    }

    /// The sum of a whole day, computed from the foods.
    pub(super) fn of_day(day: &MealPlan) -> Self {
        Self::of(day.meals.iter().flat_map(|meal| &meal.foods))
    }

    /// The amounts that the meal states.
    pub(super) fn stated(meal: &Meal) -> Self {
        Self {
            calories: meal.total_calories,
            protein: meal.total_protein,
            carbs: meal.total_carbs,
            fats: meal.total_fats,
            fiber: meal.total_fiber,
        }
    }

    /// The amounts that the day's totals state.
    pub(super) fn stated_of_day(totals: &DailyTotals) -> Self {
        Self {
            calories: totals.calories,
            protein: totals.protein,
            carbs: totals.carbs,
            fats: totals.fats,
            fiber: totals.fiber,
        }
    }

    /// Whole kcal and tenths of grams, as plans show them.
    pub(super) fn rounded(self) -> Self {
        let tenth = |grams: f64| (grams * 10.0).round() / 10.0;
        Self {
            calories: self.calories.round(),
            protein: tenth(self.protein),
            carbs: tenth(self.carbs),
            fats: tenth(self.fats),
            fiber: tenth(self.fiber),
        }
    }

    /// The columns by the end of their names in a plan.
    fn columns(self) -> [(&'static str, f64); 5] {
        [
            ("calories", self.calories),
            ("protein", self.protein),
            ("carbs", self.carbs),
            ("fats", self.fats),
            ("fiber", self.fiber),
        ]
    }

    /// The columns in which `stated` differs from this sum.
    fn differences(self, stated: Self) -> impl Iterator<Item = (&'static str, f64, f64)> {
        self.columns().into_iter().zip(stated.columns()).filter_map(
            |((name, counted), (_, stated))| {
                let least = if name == "calories" { ROUNDING_KCAL } else { ROUNDING_G };
                let room = (counted.abs() * ROUNDING_SHARE).max(least);
                ((counted - stated).abs() > room).then_some((name, stated, counted))
            },
        )
    }
}

/// Records every wrong sum and missed target.
pub(super) fn check(day: &MealPlan, needs: &Needs, violations: &mut Vec<Violation>) {
    for (index, meal) in day.meals.iter().enumerate() {
        for (name, stated, counted) in Amounts::of(&meal.foods).differences(Amounts::stated(meal)) {
            let at = format!("/meals/{index}/total_{name}");
            violations.push(Violation::Sum { at, stated, counted });
        }
    }
    let total = Amounts::of_day(day);
    for (name, stated, counted) in total.differences(Amounts::stated_of_day(&day.daily_totals)) {
        let at = format!("/daily_totals/{name}");
        violations.push(Violation::Sum { at, stated, counted });
    }
    check_targets(total, needs, violations);
    let found = day.meals.len();
    if !u8::try_from(found).is_ok_and(|found| needs.meals.contains(&found)) {
        violations.push(Violation::Meals { wanted: needs.meals.clone(), found });
    }
}

fn check_targets(total: Amounts, needs: &Needs, violations: &mut Vec<Violation>) {
    if !needs.calories.contains(total.calories) {
        let target = needs.calories.target;
        violations.push(Violation::Calories { target, found: total.calories });
    }
    for (name, band, found) in [
        ("protein", needs.protein, total.protein),
        ("carbohydrate", needs.carbs, total.carbs),
        ("fat", needs.fats, total.fats),
    ] {
        if !band.contains(found) {
            violations.push(Violation::Macro { name, low: band.low, high: band.high, found });
        }
    }
}
