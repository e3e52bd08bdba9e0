//! The plans: their types, JSON schemas and verification.

mod imperial;
pub mod meal;
pub mod needs;
mod number;
mod parse;
mod plain;
mod reference;
#[cfg(test)]
pub(crate) mod sample;
mod schema;
pub mod training;
pub mod verify;
pub mod words;
pub mod workout;

use regimen_common::job::PlanKind;
use serde::Serialize;

pub use imperial::beside_metric;
pub use meal::MealPlan;
pub use needs::Needs;
pub use parse::{ParseError, REPLY_LIMIT_BYTES, parse};
pub use schema::schema;
pub use workout::WorkoutPlan;

/// A plan of either kind; serialises as the plan itself (`plan_data`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Plan {
    /// A day of meals.
    Meal(Box<MealPlan>),
    /// A week of training.
    Workout(Box<WorkoutPlan>),
}

impl Plan {
    /// Which kind it is.
    pub fn kind(&self) -> PlanKind {
        match self {
            Self::Meal(_) => PlanKind::Meal,
            Self::Workout(_) => PlanKind::Workout,
        }
    }
}
