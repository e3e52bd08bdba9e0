//! Nutrition targets of a person: energy, macros, time to goal. Pure.
//!
//! The numbers equal those that the app has always shown, including rounding;
//! the vectors in `common/tests/fixtures/nutrition_vectors.json` test this.

mod energy;
mod macros;
mod rounding;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::quiz::Quiz;
pub use macros::Macros;
use rounding::{decimals, whole};

/// All targets of one person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nutrition {
    /// Body mass index in kg/m², one decimal.
    pub bmi: f64,
    /// Basal metabolic rate in kcal a day, two decimals.
    pub bmr: f64,
    /// Total daily energy expenditure in kcal, two decimals.
    pub tdee: f64,
    /// Energy to eat a day in kcal.
    pub goal_calories: u32,
    /// Body fat in percent: as the person gave it, or estimated to one decimal.
    pub body_fat_percentage: Option<f64>,
    /// The division of the goal calories.
    pub macros: Macros,
    /// Expenditure over basal rate, two decimals.
    pub activity_multiplier: f64,
    /// Target weight in whole kg.
    pub target_weight: u32,
    /// Weeks until the target weight, if intake differs from expenditure.
    pub estimated_weeks: Option<u64>,
    /// Measures in the person's own units.
    pub display: Display,
}

/// Measures as the person entered them, with units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Display {
    /// Current weight, e.g. `80.0 kg`.
    pub weight: String,
    /// Target weight, e.g. `165.3 lbs`.
    pub target_weight: String,
    /// Height, e.g. `170.0 cm` or `5'10"`.
    pub height: String,
}

/// The part of the targets that the app's older routes return and store with the quiz.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Calculations {
    /// See [`Nutrition::bmi`].
    pub bmi: f64,
    /// See [`Nutrition::bmr`].
    pub bmr: f64,
    /// See [`Nutrition::tdee`].
    pub tdee: f64,
    /// See [`Nutrition::body_fat_percentage`].
    pub body_fat_percentage: Option<f64>,
    /// See [`Nutrition::macros`].
    pub macros: Macros,
    /// See [`Nutrition::goal_calories`].
    pub goal_calories: u32,
    /// See [`Nutrition::target_weight`].
    pub goal_weight: u32,
}

impl Nutrition {
    /// The targets of the person who gave these answers.
    pub fn of(quiz: &Quiz) -> Self {
        let body_fat = energy::body_fat(quiz);
        let basal = energy::basal_rate(quiz, body_fat);
        let multiplier = energy::activity_multiplier(quiz);
        let expenditure = basal * multiplier;
        let goal_calories = energy::goal_calories(quiz, basal, expenditure);
        let metres = quiz.height.cm() / 100.0;
        Self {
            bmi: decimals(quiz.current_weight.kg() / (metres * metres), 1),
            bmr: decimals(basal, 2),
            tdee: decimals(expenditure, 2),
            goal_calories,
            body_fat_percentage: body_fat,
            macros: Macros::of(quiz, goal_calories),
            activity_multiplier: decimals(multiplier, 2),
            target_weight: whole(quiz.target_weight.kg()),
            estimated_weeks: energy::weeks_to_target(quiz, goal_calories, expenditure),
            display: Display {
                weight: quiz.current_weight.to_string(),
                target_weight: quiz.target_weight.to_string(),
                height: quiz.height.to_string(),
            },
        }
    }

    /// The targets with another energy intake and recomputed macronutrients.
    #[must_use]
    pub fn with_calories(&self, quiz: &Quiz, goal_calories: u32) -> Self {
        let weeks = energy::weeks_to_target(quiz, goal_calories, self.tdee);
        let macros = Macros::of(quiz, goal_calories);
        Self { goal_calories, macros, estimated_weeks: weeks, ..self.clone() }
    }

    /// The targets for the older routes.
    pub fn calculations(&self) -> Calculations {
        Calculations {
            bmi: self.bmi,
            bmr: self.bmr,
            tdee: self.tdee,
            body_fat_percentage: self.body_fat_percentage,
            macros: self.macros,
            goal_calories: self.goal_calories,
            goal_weight: self.target_weight,
        }
    }
}
