//! A day of meals, with the field names that the app's front end reads. Field
//! order is the order of the schema and so of generation: foods before the
//! totals that are added up from them. Field docs are the schema's
//! descriptions, which the provider reads too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number;
use super::words::{Difficulty, MealType};

/// One day of eating for one person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MealPlan {
    /// The day's meals in the order they are eaten.
    #[schemars(length(min = 1, max = 10))]
    pub meals: Vec<Meal>,
    /// What to drink.
    pub hydration_plan: HydrationPlan,
    /// Everything the meals need, each item once, with its amount.
    pub shopping_list: ShoppingList,
    /// Advice that refers to this person's answers.
    #[schemars(length(max = 10))]
    pub personalized_tips: Vec<String>,
    /// How to prepare ahead.
    pub meal_prep_strategy: MealPrepStrategy,
    /// The sums over all meals.
    pub daily_totals: DailyTotals,
}

/// One meal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Meal {
    /// The place of the meal in the day.
    pub meal_type: MealType,
    /// What the dish is called.
    pub meal_name: String,
    /// Minutes from start to plate.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 240))]
    pub prep_time_minutes: u32,
    /// How hard it is to cook.
    pub difficulty: Difficulty,
    /// Clock time, as in 08:00.
    pub meal_timing: String,
    /// A few words such as high-protein or quick.
    #[schemars(length(max = 8))]
    pub tags: Vec<String>,
    /// Every ingredient, oil and sauces too.
    #[schemars(length(min = 1, max = 20))]
    pub foods: Vec<Food>,
    /// The steps of the recipe in order.
    pub recipe: String,
    /// Hints for this meal.
    #[schemars(length(max = 6))]
    pub tips: Vec<String>,
    /// Sum over the foods, kcal.
    #[schemars(range(min = 0, max = 5000))]
    pub total_calories: f64,
    /// Sum over the foods, g.
    #[schemars(range(min = 0, max = 500))]
    pub total_protein: f64,
    /// Sum over the foods, g.
    #[schemars(range(min = 0, max = 1000))]
    pub total_carbs: f64,
    /// Sum over the foods, g.
    #[schemars(range(min = 0, max = 500))]
    pub total_fats: f64,
    /// Sum over the foods, g.
    #[schemars(range(min = 0, max = 200))]
    pub total_fiber: f64,
}

/// One ingredient of a meal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Food {
    /// What it is, as one would buy it.
    pub name: String,
    /// The amount in kitchen measures.
    pub portion: String,
    /// The amount, g.
    #[schemars(range(min = 0, max = 3000))]
    pub grams: f64,
    /// Energy of this amount, kcal.
    #[schemars(range(min = 0, max = 4000))]
    pub calories: f64,
    /// Protein in this amount, g.
    #[schemars(range(min = 0, max = 400))]
    pub protein: f64,
    /// Carbohydrates in this amount, g.
    #[schemars(range(min = 0, max = 800))]
    pub carbs: f64,
    /// Fat in this amount, g.
    #[schemars(range(min = 0, max = 400))]
    pub fats: f64,
    /// Fibre in this amount, g.
    #[schemars(range(min = 0, max = 150))]
    pub fiber: f64,
}

/// What to drink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HydrationPlan {
    /// Litres a day, with the unit.
    pub daily_water_intake: String,
    /// When to drink how much.
    #[schemars(length(max = 10))]
    pub timing: Vec<String>,
    /// Salts around training, or why none are needed.
    pub electrolyte_needs: String,
}

/// What to buy for the day, by shelf.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShoppingList {
    /// Sources of protein.
    #[schemars(length(max = 20))]
    pub proteins: Vec<String>,
    /// Vegetables and fruit.
    #[schemars(length(max = 30))]
    pub vegetables: Vec<String>,
    /// Sources of carbohydrates.
    #[schemars(length(max = 20))]
    pub carbs: Vec<String>,
    /// Sources of fat.
    #[schemars(length(max = 20))]
    pub fats: Vec<String>,
    /// Spices, oils and other stock.
    #[schemars(length(max = 30))]
    pub pantry_staples: Vec<String>,
    /// A range with its currency.
    pub estimated_cost: String,
}

/// How to prepare ahead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MealPrepStrategy {
    /// What to cook in one go.
    #[schemars(length(max = 8))]
    pub batch_cooking: Vec<String>,
    /// How long and where things keep.
    #[schemars(length(max = 8))]
    pub storage_tips: Vec<String>,
    /// What saves time.
    #[schemars(length(max = 8))]
    pub time_saving_hacks: Vec<String>,
}

/// The sums over a day's meals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DailyTotals {
    /// Energy, kcal.
    #[schemars(range(min = 0, max = 10000))]
    pub calories: f64,
    /// Protein, g.
    #[schemars(range(min = 0, max = 1000))]
    pub protein: f64,
    /// Carbohydrates, g.
    #[schemars(range(min = 0, max = 2000))]
    pub carbs: f64,
    /// Fat, g.
    #[schemars(range(min = 0, max = 1000))]
    pub fats: f64,
    /// Fibre, g.
    #[schemars(range(min = 0, max = 500))]
    pub fiber: f64,
    /// Distance of the calories from the target in percent, as in +1.2%.
    pub variance: String,
}
