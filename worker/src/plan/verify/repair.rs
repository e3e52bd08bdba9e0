//! Fixes what arithmetic can fix. Deterministic, and never makes a plan worse:
//! what cannot be fixed stays for [`super::verify`] to report.

use super::caution;
use super::nutrients;
use super::scale;
use super::sums::Amounts;
use super::training;
use crate::plan::meal::{DailyTotals, Meal};
use crate::plan::needs::Needs;
use crate::plan::{MealPlan, Plan, WorkoutPlan};

/// Something that was mended.
#[derive(Debug, Clone, PartialEq)]
pub enum Repair {
    /// Impossible numbers were set to the nearest possible ones.
    Clamped {
        /// How many.
        numbers: usize,
    },
    /// Another food stands in the place of one this person must not eat.
    Swapped {
        /// What went.
        from: String,
        /// What came.
        to: String,
    },
    /// Tips that this person must not read were left out.
    Tips {
        /// How many.
        dropped: usize,
    },
    /// Figures of foods were set to those of the reference.
    Reference {
        /// How many foods.
        foods: usize,
    },
    /// All portions were scaled to meet the calories.
    Scaled {
        /// New over old, percent.
        percent: f64,
    },
    /// Portions were shifted between sources of protein, carbohydrate and fat.
    Rebalanced {
        /// New over old by source, percent.
        percent: [f64; 3],
    },
    /// Totals of meals were added up again.
    MealTotals {
        /// How many meals.
        meals: usize,
    },
    /// The day's totals were added up again.
    DayTotals,
    /// Training days were put in the order of the week.
    Ordered,
    /// The week's counts were made anew.
    Summary,
}

impl Repair {
    /// The short name for metrics and events.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Clamped { .. } => "clamped",
            Self::Swapped { .. } => "swapped",
            Self::Tips { .. } => "tips",
            Self::Reference { .. } => "reference",
            Self::Scaled { .. } => "scaled",
            Self::Rebalanced { .. } => "rebalanced",
            Self::MealTotals { .. } => "meal_totals",
            Self::DayTotals => "day_totals",
            Self::Ordered => "ordered",
            Self::Summary => "summary",
        }
    }
}

/// Sets figures of foods that are wrong to those of the reference, where that is sure;
/// before [`repair`], which adds the day up again.
pub fn mend_figures(plan: &mut Plan) -> Option<Repair> {
    let Plan::Meal(day) = plan else { return None };
    let foods = nutrients::mend(day);
    (foods > 0).then_some(Repair::Reference { foods })
}

/// Mends the plan in place; says what changed.
pub fn repair(plan: &mut Plan, needs: &Needs) -> Vec<Repair> {
    let mut repairs = Vec::new();
    let dropped = caution::drop_tips(plan, needs);
    if dropped > 0 {
        repairs.push(Repair::Tips { dropped });
    }
    match plan {
        Plan::Meal(day) => mend_day(day, needs, &mut repairs),
        Plan::Workout(week) => mend_week(week, &mut repairs),
    }
    repairs
}

fn mend_day(day: &mut MealPlan, needs: &Needs, repairs: &mut Vec<Repair>) {
    let numbers = clamp_day(day);
    if numbers > 0 {
        repairs.push(Repair::Clamped { numbers });
    }
    repairs.extend(scale::to_targets(day, needs));
    let meals = day.meals.iter_mut().map(add_up).filter(|changed| *changed).count();
    if meals > 0 {
        repairs.push(Repair::MealTotals { meals });
    }
    if total(day, needs.calories.target) {
        repairs.push(Repair::DayTotals);
    }
}

/// Amounts below nothing become nothing. Too much is left for the verdict,
/// because the true amount is anybody's guess.
fn clamp_day(day: &mut MealPlan) -> usize {
    let mut changed = 0;
    for meal in &mut day.meals {
        changed += usize::from(meal.prep_time_minutes > 240);
        meal.prep_time_minutes = meal.prep_time_minutes.min(240);
        for food in &mut meal.foods {
            let parts = [
                &mut food.grams,
                &mut food.calories,
                &mut food.protein,
                &mut food.carbs,
                &mut food.fats,
                &mut food.fiber,
            ];
            for part in parts.into_iter().filter(|part| **part < 0.0) {
                *part = 0.0;
                changed += 1;
            }
        }
    }
    changed
}

/// Makes a meal's totals the sums of its foods; true when that changed them.
fn add_up(meal: &mut Meal) -> bool {
    let sum = Amounts::of(&meal.foods).rounded();
    let changed = Amounts::stated(meal) != sum;
    meal.total_calories = sum.calories;
    meal.total_protein = sum.protein;
    meal.total_carbs = sum.carbs;
    meal.total_fats = sum.fats;
    meal.total_fiber = sum.fiber;
    changed
}

fn total(day: &mut MealPlan, target: f64) -> bool {
    let sum = Amounts::of_day(day).rounded();
    let off = if target > 0.0 { (sum.calories - target) / target * 100.0 } else { 0.0 };
    let totals = DailyTotals {
        calories: sum.calories,
        protein: sum.protein,
        carbs: sum.carbs,
        fats: sum.fats,
        fiber: sum.fiber,
        variance: format!("{off:+.1}%"),
    };
    let changed = day.daily_totals != totals;
    day.daily_totals = totals;
    changed
}

fn mend_week(week: &mut WorkoutPlan, repairs: &mut Vec<Repair>) {
    let numbers = clamp_week(week);
    if numbers > 0 {
        repairs.push(Repair::Clamped { numbers });
    }
    if !week.weekly_plan.is_sorted_by_key(|day| day.day) {
        week.weekly_plan.sort_by_key(|day| day.day);
        repairs.push(Repair::Ordered);
    }
    let counted = training::counted(week);
    if week.weekly_summary != counted {
        week.weekly_summary = counted;
        repairs.push(Repair::Summary);
    }
}

/// The ranges of the master schema; a model that leaves them means "a lot" or
/// "none", not the number.
fn clamp_week(week: &mut WorkoutPlan) -> usize {
    let mut changed = 0;
    let mut clamp = |number: &mut u32, low: u32, high: u32| {
        let within = (*number).clamp(low, high);
        changed += usize::from(within != *number);
        *number = within;
    };
    for day in &mut week.weekly_plan {
        clamp(&mut day.duration_minutes, 5, 180);
        clamp(&mut day.estimated_calories_burned, 0, 2_500);
        clamp(&mut day.warmup.duration_minutes, 0, 40);
        clamp(&mut day.cooldown.duration_minutes, 0, 40);
        for exercise in &mut day.exercises {
            clamp(&mut exercise.sets, 1, 12);
            clamp(&mut exercise.rest_seconds, 0, 600);
        }
    }
    changed
}
