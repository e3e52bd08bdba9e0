//! Plans as a person wants to see them. They are read leniently: a plan of another
//! release shows what it has.

use regimen_common::db::jobs::{Details, HistoryLine};
use regimen_common::job::{JobState, PlanKind};
use regimen_common::nutrition::Nutrition;
use serde_json::Value;

use super::page::short;

pub(super) fn name(kind: PlanKind) -> &'static str {
    match kind {
        PlanKind::Meal => "Meal plan",
        PlanKind::Workout => "Workout plan",
    }
}

pub(super) fn waiting(position: Option<i64>, eta_seconds: Option<i64>) -> String {
    let place = match position {
        Some(1) => "next in the queue".to_owned(),
        Some(position) => format!("number {position} in the queue"),
        None => "waits for another round".to_owned(),
    };
    match eta_seconds {
        Some(seconds) => format!("{place}, starts in about {seconds} s"),
        None => place,
    }
}

/// What a job is at.
pub(super) fn stage(details: &Details) -> String {
    match details.row.state {
        JobState::Queued => "waits for a worker".to_owned(),
        JobState::Running => match details.row.stage.as_str() {
            "generating" => "a provider writes it",
            "verifying" => "the reply is checked against your answers",
            _ => "a worker has it",
        }
        .to_owned(),
        JobState::Succeeded => "ready".to_owned(),
        JobState::Failed | JobState::Cancelled | JobState::Expired => {
            let detail = details.row.error_detail.as_deref().unwrap_or("it ended without a plan");
            short(detail, 300)
        }
    }
}

/// What an event says.
pub(super) fn step(event: &HistoryLine) -> String {
    let data: Value = serde_json::from_str(event.data.get()).unwrap_or_default();
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    let what = match event.kind.as_str() {
        "accepted" => "accepted".to_owned(),
        "claimed" => "a worker took it".to_owned(),
        "attempt_started" => format!("asking {} for {}", text("provider"), text("model")),
        "attempt_failed" => format!("that failed: {}", text("class").replace('_', " ")),
        "fell_back" => "the next provider takes over".to_owned(),
        "verifying" => "checking calories, allergens, diet and training".to_owned(),
        "repaired" => "a mistake of the reply was corrected".to_owned(),
        "saved" => "saved".to_owned(),
        other => other.replace('_', " "),
    };
    format!("{} {what}", event.at.format("%H:%M:%S"))
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    items(value, name).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn words(text: &str) -> String {
    text.replace('_', " ")
}

/// A share of a ring whose circumference is 100.
pub(super) struct Arc {
    pub(super) class: &'static str,
    pub(super) length: f64,
    pub(super) rest: f64,
    /// Where it begins.
    pub(super) offset: f64,
}

/// The energy of protein, carbohydrates and fat as shares of a ring.
fn ring(protein: f64, carbs: f64, fats: f64) -> Vec<Arc> {
    let energies = [("b", protein * 4.0), ("a", carbs * 4.0), ("c", fats * 9.0)];
    let whole: f64 = energies.iter().map(|(_, energy)| energy).sum();
    let mut begin = 0.0;
    let mut arcs = Vec::new();
    for (class, energy) in energies {
        let length = if whole > 0.0 { energy / whole * 100.0 } else { 0.0 };
        arcs.push(Arc { class, length, rest: 100.0 - length, offset: 25.0 - begin });
        begin += length;
    }
    arcs
}

/// One food of a meal.
pub(super) struct FoodView {
    pub(super) name: String,
    pub(super) portion: String,
    pub(super) grams: String,
    pub(super) calories: String,
}

/// One meal.
pub(super) struct Meal {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) time: String,
    pub(super) about: String,
    pub(super) foods: Vec<FoodView>,
    pub(super) recipe: String,
    pub(super) tips: Vec<String>,
    pub(super) calories: String,
    pub(super) macros: String,
    pub(super) ring: Vec<Arc>,
}

/// A sum of the day against its target.
pub(super) struct Total {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) target: String,
    /// Per cent of the target, at most 150, for the bar.
    pub(super) share: f64,
}

/// A day of meals.
pub(super) struct MealView {
    pub(super) totals: Vec<Total>,
    pub(super) meals: Vec<Meal>,
    /// Shelf and what to buy.
    pub(super) shopping: Vec<(&'static str, Vec<String>)>,
    pub(super) cost: String,
    pub(super) water: String,
    pub(super) tips: Vec<String>,
}

impl MealView {
    pub(super) fn of(plan: &Value, targets: Option<&Nutrition>) -> Self {
        let sums = plan.get("daily_totals").unwrap_or(&Value::Null);
        let total = |name: &'static str, member: &str, unit: &str, target: Option<f64>| {
            let value = number(sums, member);
            let target = target.filter(|target| *target > 0.0);
            Total {
                name,
                value: format!("{value:.0} {unit}"),
                target: target.map(|target| format!("{target:.0} {unit}")).unwrap_or_default(),
                share: target.map_or(0.0, |target| (value / target * 100.0).clamp(0.0, 150.0)),
            }
        };
        let macros = targets.map(|targets| targets.macros);
        let list = plan.get("shopping_list").unwrap_or(&Value::Null);
        let shelf = |title, name| (title, texts(list, name));
        Self {
            totals: vec![
                total(
                    "Energy",
                    "calories",
                    "kcal",
                    targets.map(|all| f64::from(all.goal_calories)),
                ),
                total("Protein", "protein", "g", macros.map(|all| f64::from(all.protein_g))),
                total("Carbohydrates", "carbs", "g", macros.map(|all| f64::from(all.carbs_g))),
                total("Fat", "fats", "g", macros.map(|all| f64::from(all.fat_g))),
                total("Fibre", "fiber", "g", None),
            ],
            meals: items(plan, "meals").map(meal).collect(),
            shopping: vec![
                shelf("Protein", "proteins"),
                shelf("Vegetables and fruit", "vegetables"),
                shelf("Carbohydrates", "carbs"),
                shelf("Fats", "fats"),
                shelf("Pantry", "pantry_staples"),
            ],
            cost: text(list, "estimated_cost"),
            water: text(plan.get("hydration_plan").unwrap_or(&Value::Null), "daily_water_intake"),
            tips: texts(plan, "personalized_tips"),
        }
    }
}

fn meal(meal: &Value) -> Meal {
    let sum = |name: &str| number(meal, name);
    let (protein, carbs, fats) = (sum("total_protein"), sum("total_carbs"), sum("total_fats"));
    let food = |food: &Value| FoodView {
        name: text(food, "name"),
        portion: text(food, "portion"),
        grams: format!("{:.0} g", number(food, "grams")),
        calories: format!("{:.0} kcal", number(food, "calories")),
    };
    Meal {
        name: text(meal, "meal_name"),
        kind: words(&text(meal, "meal_type")),
        time: text(meal, "meal_timing"),
        about: format!("{:.0} min, {}", sum("prep_time_minutes"), words(&text(meal, "difficulty"))),
        foods: items(meal, "foods").map(food).collect(),
        recipe: text(meal, "recipe"),
        tips: texts(meal, "tips"),
        calories: format!("{:.0} kcal", sum("total_calories")),
        macros: format!("protein {protein:.0} g, carbohydrates {carbs:.0} g, fat {fats:.0} g"),
        ring: ring(protein, carbs, fats),
    }
}

/// One exercise.
pub(super) struct Exercise {
    pub(super) name: String,
    pub(super) load: String,
    pub(super) instructions: String,
}

/// One day of the week.
pub(super) struct DayView {
    pub(super) day: String,
    /// None on a day of rest.
    pub(super) training: Option<Training>,
}

/// One training.
pub(super) struct Training {
    pub(super) kind: String,
    pub(super) about: String,
    pub(super) warmup: Vec<String>,
    pub(super) exercises: Vec<Exercise>,
    pub(super) cooldown: Vec<String>,
}

/// A week of training.
pub(super) struct WorkoutView {
    pub(super) summary: String,
    pub(super) days: Vec<DayView>,
    pub(super) tips: Vec<String>,
    pub(super) red_flags: String,
}

const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

impl WorkoutView {
    pub(super) fn of(plan: &Value) -> Self {
        let summary = plan.get("weekly_summary").unwrap_or(&Value::Null);
        let day = |name: &&str| {
            let is_it = |day: &&Value| text(day, "day").eq_ignore_ascii_case(name);
            let found = items(plan, "weekly_plan").find(is_it);
            DayView { day: (*name).to_owned(), training: found.map(training) }
        };
        Self {
            summary: format!(
                "{:.0} days, {:.0} minutes, about {:.0} kcal a week, {}",
                number(summary, "total_workout_days"),
                number(summary, "total_time_minutes"),
                number(summary, "estimated_weekly_calories_burned"),
                words(&text(summary, "training_split")),
            ),
            days: DAYS.iter().map(day).collect(),
            tips: texts(plan, "personalized_tips"),
            red_flags: text(plan.get("injury_prevention").unwrap_or(&Value::Null), "red_flags"),
        }
    }
}

fn training(day: &Value) -> Training {
    let phase = |name: &str| texts(day.get(name).unwrap_or(&Value::Null), "activities");
    let exercise = |one: &Value| Exercise {
        name: text(one, "name"),
        load: format!(
            "{:.0} × {}, rest {:.0} s",
            number(one, "sets"),
            text(one, "reps"),
            number(one, "rest_seconds")
        ),
        instructions: text(one, "instructions"),
    };
    Training {
        kind: words(&text(day, "workout_type")),
        about: format!(
            "{:.0} min, {}, {}",
            number(day, "duration_minutes"),
            words(&text(day, "training_location")),
            words(&text(day, "intensity"))
        ),
        warmup: phase("warmup"),
        exercises: items(day, "exercises").map(exercise).collect(),
        cooldown: phase("cooldown"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ring_is_whole() {
        let arcs = ring(30.0, 60.0, 10.0);
        let whole: f64 = arcs.iter().map(|arc| arc.length).sum();
        assert!((whole - 100.0).abs() < 1e-9);
        assert!((arcs[1].offset - (25.0 - arcs[0].length)).abs() < 1e-9);
        assert!(ring(0.0, 0.0, 0.0).iter().all(|arc| arc.length == 0.0));
    }

    #[test]
    fn a_plan_without_anything_is_shown_empty() {
        let meals = MealView::of(&Value::Null, None);
        assert!(meals.meals.is_empty() && meals.totals[0].target.is_empty());
        let week = WorkoutView::of(&json!({"weekly_plan": [{"day": "Monday"}, {"day": 3}]}));
        assert_eq!(week.days.iter().filter(|day| day.training.is_some()).count(), 1);
    }
}
