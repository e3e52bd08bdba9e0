//! The quiz as clients send it, parsed leniently and validated by JSON pointer.
//!
//! Clients of several generations send numbers as text, lists as text and
//! measures in either unit system. [`Quiz::read`] accepts all of that, reports
//! all errors at once, and returns typed values within human ranges. Unknown
//! fields are allowed; they only have to respect the [`limits`].

mod fields;
mod forgiving;
mod language;
pub mod limits;
pub mod measure;
mod number;
mod options;
mod problem;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use fields::Fields;
pub use forgiving::Adjustment;
pub use measure::{Length, Weight};
pub use options::{DietaryStyle, ExerciseFrequency, MainGoal, MealsPerDay, Sex};
pub use problem::{InvalidQuiz, QuizProblem};

/// Years. The app is for teenagers and adults; 122 is the longest documented life.
pub const AGE: RangeInclusive<u8> = 13..=120;
/// Body height in cm. Below one metre the energy formulas are not valid.
pub const HEIGHT_CM: RangeInclusive<f64> = 100.0..=275.0;
/// Body weight in kg, now or as a goal.
pub const WEIGHT_KG: RangeInclusive<f64> = 25.0..=500.0;
/// Neck, waist and hip circumference in cm.
pub const CIRCUMFERENCE_CM: RangeInclusive<f64> = 15.0..=300.0;
/// Body fat in percent, the range of the client's slider.
pub const BODY_FAT_PERCENT: RangeInclusive<f64> = 5.0..=50.0;
/// Motivation and stress.
pub const LEVEL: RangeInclusive<u8> = 1..=10;

/// Valid answers of one person. Text is trimmed and never empty; lists have no empty
/// items. A job stores its serialised form; [`Quiz::read`] parses what clients send.
///
/// `Debug` shows nothing: the answers are health data and must not reach logs.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Quiz {
    /// In years, within [`AGE`].
    pub age: u8,
    /// Free text; see [`Quiz::sex`].
    pub gender: String,
    /// For local foods and prices.
    pub country: Option<String>,
    /// The language of the plan, as a BCP 47 tag; see [`Quiz::language`].
    pub locale: Option<String>,
    /// Within [`HEIGHT_CM`].
    pub height: Length,
    /// Within [`CIRCUMFERENCE_CM`].
    pub neck: Option<Length>,
    /// Within [`CIRCUMFERENCE_CM`].
    pub waist: Option<Length>,
    /// Within [`CIRCUMFERENCE_CM`].
    pub hip: Option<Length>,
    /// Within [`WEIGHT_KG`].
    pub current_weight: Weight,
    /// Within [`WEIGHT_KG`].
    pub target_weight: Weight,
    /// In percent, within [`BODY_FAT_PERCENT`], if the person knows it.
    pub body_fat: Option<f64>,
    /// As answered; see [`Quiz::goal`].
    pub main_goal: String,
    /// Further goals.
    pub secondary_goals: Vec<String>,
    /// The time frame, e.g. "3 months".
    pub time_frame: String,
    /// E.g. "Mesomorph".
    pub body_type: Option<String>,
    /// Habits such as smoking and drinking.
    pub lifestyle: String,
    /// How active the job is.
    pub occupation_activity: Option<String>,
    /// E.g. "Medium (moderate)".
    pub grocery_budget: String,
    /// As answered; see [`Quiz::diets`].
    pub dietary_style: String,
    /// As answered; see [`Quiz::meals`].
    pub meals_per_day: String,
    /// Within [`LEVEL`].
    pub motivation_level: u8,
    /// Within [`LEVEL`].
    pub stress_level: u8,
    /// One of the client's texts, or a level of 1 to 10 as text.
    pub sleep_quality: String,
    /// Conditions chosen from the client's list.
    pub health_conditions: Vec<String>,
    /// Conditions in the person's own words.
    pub health_conditions_other: Option<String>,
    /// In the person's own words.
    pub medications: Option<String>,
    /// In the person's own words.
    pub injuries: Option<String>,
    /// In the person's own words.
    pub food_allergies: Option<String>,
    /// As answered; see [`Quiz::frequency`].
    pub exercise_frequency: String,
    /// At least one kind of exercise.
    pub preferred_exercise: Vec<String>,
    /// At least one place, e.g. "Gym", "Home".
    pub training_environment: Vec<String>,
    /// The available equipment.
    pub equipment: Vec<String>,
    /// One food per item.
    pub disliked_foods: Vec<String>,
    /// E.g. "Beginner".
    pub cooking_skill: String,
    /// E.g. "15-30 min".
    pub cooking_time: String,
    /// The difficulties so far.
    pub challenges: Vec<String>,
}

impl Quiz {
    /// Parses the `answers` object of a request.
    ///
    /// # Errors
    /// Every missing, impossible or oversized answer, each with its pointer.
    pub fn read(answers: &Value) -> Result<Self, InvalidQuiz> {
        let mut fields = Fields::strict(object(answers)?);
        let quiz = Self::of_fields(&mut fields);
        fields.finish(quiz).map(|(quiz, _)| quiz)
    }

    /// Parses the answers as the replaced service did, for its clients: texts and lists
    /// over their limit are cut, optional measures that cannot be used are left out, a
    /// required list may be empty, and a height in inches that was stored as centimetres
    /// is corrected. Each adjustment is reported; everything else is as strict as
    /// [`Quiz::read`].
    ///
    /// # Errors
    /// Every answer that is missing or still cannot be used, with its pointer.
    pub fn read_forgiving(answers: &Value) -> Result<(Self, Vec<Adjustment>), InvalidQuiz> {
        let answers = object(answers)?;
        let (answers, cut) = forgiving::within_limits(answers);
        let mut fields = Fields::forgiving(&answers, cut);
        let quiz = Self::of_fields(&mut fields);
        fields.finish(quiz)
    }

    fn of_fields(fields: &mut Fields<'_>) -> Self {
        Self {
            age: fields.age("age", AGE),
            gender: fields.choice("gender"),
            country: fields.optional_choice("country"),
            locale: fields.locale("locale"),
            height: fields.measure("height", &measure::HEIGHT, Length::from_cm(0.0)),
            neck: fields.optional_measure("neck", &measure::NECK),
            waist: fields.optional_measure("waist", &measure::WAIST),
            hip: fields.optional_measure("hip", &measure::HIP),
            current_weight: fields.measure("currentWeight", &measure::WEIGHT, Weight::from_kg(0.0)),
            target_weight: fields.measure("targetWeight", &measure::WEIGHT, Weight::from_kg(0.0)),
            body_fat: fields.optional_percent("bodyFat", BODY_FAT_PERCENT),
            main_goal: fields.choice("mainGoal"),
            secondary_goals: fields.list("secondaryGoals"),
            time_frame: fields.choice("timeFrame"),
            body_type: fields.optional_choice("bodyType"),
            lifestyle: fields.choice("lifestyle"),
            occupation_activity: fields.optional_choice("occupation_activity"),
            grocery_budget: fields.choice("groceryBudget"),
            dietary_style: fields.choice("dietaryStyle"),
            meals_per_day: fields.choice("mealsPerDay"),
            motivation_level: fields.level("motivationLevel", LEVEL),
            stress_level: fields.level("stressLevel", LEVEL),
            sleep_quality: fields.level_or_choice("sleepQuality"),
            health_conditions: fields.list("healthConditions"),
            health_conditions_other: fields.optional_text("healthConditions_other"),
            medications: fields.optional_text("medications"),
            injuries: fields.optional_text("injuries"),
            food_allergies: fields.optional_text("foodAllergies"),
            exercise_frequency: fields.choice("exerciseFrequency"),
            preferred_exercise: fields.required_list("preferredExercise"),
            training_environment: fields.required_list("trainingEnvironment"),
            equipment: fields.list("equipment"),
            disliked_foods: fields.list("dislikedFoods"),
            cooking_skill: fields.choice("cookingSkill"),
            cooking_time: fields.choice("cookingTime"),
            challenges: fields.list("challenges"),
        }
    }

    /// The sex for the formulas.
    pub fn sex(&self) -> Sex {
        Sex::from_text(&self.gender)
    }

    /// The main goal for the formulas.
    pub fn goal(&self) -> MainGoal {
        MainGoal::from_text(&self.main_goal)
    }

    /// Every diet that the answer names; empty for "Other".
    pub fn diets(&self) -> Vec<DietaryStyle> {
        DietaryStyle::named_in(&self.dietary_style)
    }

    /// How often the person trains.
    pub fn frequency(&self) -> ExerciseFrequency {
        ExerciseFrequency::from_text(&self.exercise_frequency)
    }

    /// How many meals a day the person wants.
    pub fn meals(&self) -> MealsPerDay {
        MealsPerDay::from_text(&self.meals_per_day)
    }
}

fn object(answers: &Value) -> Result<&Map<String, Value>, InvalidQuiz> {
    answers.as_object().ok_or_else(|| {
        let message = "must be an object with the quiz answers".to_owned();
        InvalidQuiz { problems: vec![QuizProblem { pointer: String::new(), message }] }
    })
}

impl fmt::Debug for Quiz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quiz").finish_non_exhaustive()
    }
}
