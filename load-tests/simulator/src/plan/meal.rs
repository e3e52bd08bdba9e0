//! Writes a composed day as a meal plan with the names the app reads.

use serde::Serialize;

use crate::chance::Chance;

use super::dishes::Dish;
use super::food::{Food, Portion, tenths};
use super::menu::{self, Served};
use super::targets::Targets;

#[derive(Debug, Serialize)]
struct MealPlan {
    meals: Vec<Meal>,
    daily_totals: DailyTotals,
    hydration_plan: HydrationPlan,
    shopping_list: ShoppingList,
    personalized_tips: Vec<String>,
    meal_prep_strategy: MealPrepStrategy,
}

#[derive(Debug, Serialize)]
struct Meal {
    meal_type: &'static str,
    meal_name: String,
    prep_time_minutes: u32,
    difficulty: &'static str,
    meal_timing: String,
    tags: Vec<&'static str>,
    foods: Vec<Portion>,
    recipe: String,
    tips: Vec<&'static str>,
    total_calories: f64,
    total_protein: f64,
    total_carbs: f64,
    total_fats: f64,
    total_fiber: f64,
}

#[derive(Debug, Serialize)]
struct DailyTotals {
    calories: f64,
    protein: f64,
    carbs: f64,
    fats: f64,
    fiber: f64,
    variance: String,
}

#[derive(Debug, Serialize)]
struct HydrationPlan {
    daily_water_intake: String,
    timing: Vec<&'static str>,
    electrolyte_needs: &'static str,
}

#[derive(Debug, Default, Serialize)]
struct ShoppingList {
    proteins: Vec<String>,
    vegetables: Vec<String>,
    carbs: Vec<String>,
    fats: Vec<String>,
    pantry_staples: Vec<String>,
    estimated_cost: String,
}

#[derive(Debug, Serialize)]
struct MealPrepStrategy {
    batch_cooking: Vec<String>,
    storage_tips: Vec<&'static str>,
    time_saving_hacks: Vec<&'static str>,
}

/// The meal plan for `targets` as JSON.
///
/// # Errors
/// Never for these types; serde_json cannot promise it.
pub(super) fn write(
    foods: &[Food],
    targets: &Targets,
    forbidden: bool,
    chance: &mut Chance,
) -> serde_json::Result<serde_json::Value> {
    let mut day = menu::compose(foods, targets, chance);
    if forbidden {
        menu::forbid(&mut day, foods, targets, chance);
    }
    let goal = menu::totals_of(targets);
    let meals: Vec<Meal> = day.into_iter().map(meal).collect();
    let plan = MealPlan {
        daily_totals: daily_totals(&meals, goal[0]),
        hydration_plan: hydration(goal[0]),
        shopping_list: shopping(foods, &meals),
        personalized_tips: tips(targets, goal),
        meal_prep_strategy: preparation(&meals),
        meals,
    };
    serde_json::to_value(plan)
}

fn meal(served: Served) -> Meal {
    let Served { dish, slot, names, foods } = served;
    let unnamed = foods.iter().map(|food| food.name.as_str()).filter(|name| !names.contains(name));
    let beside = unnamed.collect::<Vec<_>>().join(" and the ");
    let mut recipe = Dish::fill(dish.recipe, &names);
    if !beside.is_empty() {
        recipe.push_str(&format!(" Serve with the {beside}."));
    }
    let total = |value: fn(&Portion) -> f64| tenths(foods.iter().map(value).sum());
    Meal {
        meal_type: slot.name,
        meal_name: Dish::fill(dish.name, &names),
        prep_time_minutes: dish.minutes,
        difficulty: dish.difficulty,
        meal_timing: format!("{:02}:{:02}", slot.minute / 60, slot.minute % 60),
        tags: dish.tags.to_vec(),
        recipe,
        tips: vec![dish.tip],
        total_calories: total(|food| food.calories),
        total_protein: total(|food| food.protein),
        total_carbs: total(|food| food.carbs),
        total_fats: total(|food| food.fats),
        total_fiber: total(|food| food.fiber),
        foods,
    }
}

fn daily_totals(meals: &[Meal], target: f64) -> DailyTotals {
    let total = |value: fn(&Meal) -> f64| tenths(meals.iter().map(value).sum());
    let calories = total(|meal| meal.total_calories);
    DailyTotals {
        calories,
        protein: total(|meal| meal.total_protein),
        carbs: total(|meal| meal.total_carbs),
        fats: total(|meal| meal.total_fats),
        fiber: total(|meal| meal.total_fiber),
        variance: format!("{:+.1}%", (calories - target) / target * 100.0),
    }
}

/// About 35 ml of water for each 28 kcal, within what is sensible.
fn hydration(calories: f64) -> HydrationPlan {
    let litres = (calories / 800.0).clamp(1.8, 4.0);
    HydrationPlan {
        daily_water_intake: format!("{litres:.1} litres"),
        timing: vec![
            "A large glass after getting up",
            "A glass with every meal",
            "Half a litre around training",
        ],
        electrolyte_needs: "None on ordinary days; a pinch of sea salt in the water after long sessions in the heat.",
    }
}

fn shopping(foods: &[Food], meals: &[Meal]) -> ShoppingList {
    let mut list = ShoppingList {
        pantry_staples: ["sea salt", "dried herbs"].map(str::to_owned).to_vec(),
        ..ShoppingList::default()
    };
    let mut amounts: Vec<(&str, f64)> = Vec::new();
    for portion in meals.iter().flat_map(|meal| &meal.foods) {
        match amounts.iter_mut().find(|(name, _)| *name == portion.name) {
            Some((_, grams)) => *grams += portion.grams,
            None => amounts.push((&portion.name, portion.grams)),
        }
    }
    for (name, grams) in &amounts {
        let Some(food) = foods.iter().find(|food| food.name == *name) else { continue };
        shelf(&mut list, food).push(format!("{name} ({grams} g)"));
    }
    let low = 3 + amounts.len() / 2;
    list.estimated_cost = format!("{low}-{} USD for the day", low + 5);
    list
}

fn shelf<'a>(list: &'a mut ShoppingList, food: &Food) -> &'a mut Vec<String> {
    let [protein, carbs, fat, _] = food.per_100;
    let green = ["veg", "leaf", "raw_veg", "fruit", "berry", "snack_fruit"];
    if green.iter().any(|role| food.is(role)) {
        &mut list.vegetables
    } else if food.is("powder") || food.is("sweet") {
        &mut list.pantry_staples
    } else if 9.0 * fat > 4.0 * (protein + carbs) {
        &mut list.fats
    } else if carbs > protein && !food.is("main_protein") {
        &mut list.carbs
    } else {
        &mut list.proteins
    }
}

fn tips(targets: &Targets, goal: [f64; 4]) -> Vec<String> {
    let mut tips = vec![
        format!("The day comes to about {:.0} kcal with {:.0} g of protein.", goal[0], goal[1]),
        "Weigh the amounts for the first two weeks; after that the eye is trained.".to_owned(),
        "Move a meal by an hour when the day asks for it, the totals are what counts.".to_owned(),
    ];
    if let Some(diet) = targets.diet.first().filter(|diet| !diet.starts_with("no ")) {
        tips.push(format!("Every dish keeps to your way of eating ({diet})."));
    }
    tips
}

fn preparation(meals: &[Meal]) -> MealPrepStrategy {
    let longest = meals.iter().max_by_key(|meal| meal.prep_time_minutes);
    MealPrepStrategy {
        batch_cooking: longest
            .map(|meal| format!("Cook a double amount of this dish: {}.", meal.meal_name))
            .into_iter()
            .collect(),
        storage_tips: vec![
            "Cooked dishes keep three days in the fridge and two months frozen.",
            "Store sauces and crisp parts apart.",
        ],
        time_saving_hacks: vec![
            "Wash and cut vegetables once for two days.",
            "Start with whatever takes longest and do the rest meanwhile.",
        ],
    }
}
