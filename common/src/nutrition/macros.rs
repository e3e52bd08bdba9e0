//! Divides a day's energy among protein, carbohydrate and fat.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::quiz::{DietaryStyle, MainGoal, Quiz};

use super::rounding::whole;

/// Energy of a gram of protein or carbohydrate in kcal (Atwater).
const KCAL_PER_G: f64 = 4.0;
/// Energy of a gram of fat in kcal (Atwater).
const KCAL_PER_G_FAT: f64 = 9.0;

/// Grams a day of each macronutrient, and their shares of the energy in
/// percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Macros {
    /// Protein in g.
    pub protein_g: u32,
    /// Carbohydrate in g.
    pub carbs_g: u32,
    /// Fat in g.
    pub fat_g: u32,
    /// Protein's share in percent.
    pub protein_pct_of_calories: u32,
    /// Carbohydrate's share in percent.
    pub carbs_pct_of_calories: u32,
    /// Fat's share in percent.
    pub fat_pct_of_calories: u32,
}

impl Macros {
    /// Fat by the diet, protein by body weight, carbohydrate fills the rest. If the other
    /// two alone exceed the goal (a very heavy person on keto), carbohydrate is zero and
    /// the sum stays above.
    pub(super) fn of(quiz: &Quiz, goal_calories: u32) -> Self {
        let goal = f64::from(goal_calories);
        let fat_kcal = (goal * fat_share(quiz)).round_ties_even();
        let protein_g = whole(quiz.current_weight.kg() * protein_g_per_kg(quiz));
        let protein_kcal = KCAL_PER_G * f64::from(protein_g);
        let carbs_g = whole((goal - protein_kcal - fat_kcal) / KCAL_PER_G);
        let share = |kcal: f64| whole(100.0 * kcal / goal);
        Self {
            protein_g,
            carbs_g,
            fat_g: whole(fat_kcal / KCAL_PER_G_FAT),
            protein_pct_of_calories: share(protein_kcal),
            carbs_pct_of_calories: share(KCAL_PER_G * f64::from(carbs_g)),
            fat_pct_of_calories: share(fat_kcal),
        }
    }
}

fn fat_share(quiz: &Quiz) -> f64 {
    let diets = quiz.diets();
    if diets.contains(&DietaryStyle::Keto) {
        0.35
    } else if diets.contains(&DietaryStyle::Vegan) {
        0.25
    } else {
        0.28
    }
}

fn protein_g_per_kg(quiz: &Quiz) -> f64 {
    if quiz.goal() == MainGoal::BodyRecomposition { 2.0 } else { 1.8 }
}
