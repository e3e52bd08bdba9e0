//! A week of training, with the field names that the app's front end reads.
//! Field order is the order of generation: the days before the summary that
//! counts them. Field docs are the schema's descriptions, which the provider
//! reads too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number;
use super::words::{Category, Day, Intensity, Level, Place, WorkoutType};

/// One week of training for one person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkoutPlan {
    /// The training days only, Monday first; a day without training is left out.
    #[schemars(length(min = 1, max = 7))]
    pub weekly_plan: Vec<TrainingDay>,
    /// How the weeks build on each other.
    pub periodization_plan: PeriodizationPlan,
    /// Exercises to choose from, by place.
    pub exercise_library_by_location: ExerciseLibrary,
    /// How to measure progress and act on it.
    pub progression_tracking: ProgressionTracking,
    /// Advice that refers to this person's answers.
    #[schemars(length(max = 10))]
    pub personalized_tips: Vec<String>,
    /// How to stay unhurt.
    pub injury_prevention: InjuryPrevention,
    /// When to eat around training; advice on timing, not a list of foods.
    pub nutrition_timing: NutritionTiming,
    /// How training fits into the week.
    pub lifestyle_integration: LifestyleIntegration,
    /// Counts over weekly_plan.
    pub weekly_summary: WeeklySummary,
}

/// One training day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingDay {
    /// Day of the week.
    pub day: Day,
    /// What the day is mainly for.
    pub workout_type: WorkoutType,
    /// Where it takes place.
    pub training_location: Place,
    /// What is trained, as in lower body.
    pub focus: String,
    /// Length with warm-up and cool-down, minutes.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 5, max = 180))]
    pub duration_minutes: u32,
    /// How hard it is.
    pub intensity: Intensity,
    /// The preparation.
    pub warmup: Phase,
    /// The main part in order.
    #[schemars(length(min = 1, max = 14))]
    pub exercises: Vec<Exercise>,
    /// The end.
    pub cooldown: Phase,
    /// Energy used, kcal.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 2500))]
    pub estimated_calories_burned: u32,
    /// Perceived exertion aimed at, as in 6-7.
    pub rpe_target: String,
    /// How one knows it went well.
    pub success_criteria: String,
    /// The shorter version for a bad day.
    pub if_low_energy: String,
    /// Whether the day may be skipped.
    pub optional: bool,
    /// What to add on a good day.
    pub if_feeling_good: String,
}

/// Warm-up or cool-down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Minutes.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 40))]
    pub duration_minutes: u32,
    /// What to do, in order.
    #[schemars(length(max = 10))]
    pub activities: Vec<String>,
}

/// One exercise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exercise {
    /// Its common name.
    pub name: String,
    /// What it trains.
    pub category: Category,
    /// Number of sets.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 1, max = 12))]
    pub sets: u32,
    /// Repetitions or time, as in 8-12 or 30 seconds.
    pub reps: String,
    /// Pause between sets, seconds.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 600))]
    pub rest_seconds: u32,
    /// Rhythm, as in 2-0-2, or empty.
    pub tempo: String,
    /// How to do it.
    pub instructions: String,
    /// Muscles that work.
    #[schemars(length(max = 8))]
    pub muscle_groups: Vec<String>,
    /// Who it suits.
    pub difficulty: Level,
    /// All equipment it needs; empty for bodyweight.
    #[schemars(length(max = 6))]
    pub equipment_needed: Vec<String>,
    /// What to do instead.
    pub alternatives: Alternatives,
    /// How it gets harder over the weeks.
    pub progression: String,
    /// What to take care of.
    pub safety_notes: String,
}

/// What to do instead of an exercise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alternatives {
    /// At home.
    pub home: String,
    /// Outside.
    pub outdoor: String,
    /// When it is too hard.
    pub easier: String,
    /// When it is too easy.
    pub harder: String,
}

/// How the weeks build on each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeriodizationPlan {
    /// Weeks 1 and 2.
    pub week_1_2: String,
    /// Weeks 3 and 4.
    pub week_3_4: String,
    /// Weeks 5 and 6.
    pub week_5_6: String,
    /// Week 7.
    pub week_7: String,
    /// From week 8.
    pub week_8_plus: String,
}

/// Exercises to choose from; a place this person does not use stays empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExerciseLibrary {
    /// For the gym.
    #[schemars(length(max = 15))]
    pub gym_exercises: Vec<String>,
    /// For home.
    #[schemars(length(max = 15))]
    pub home_exercises: Vec<String>,
    /// For outside.
    #[schemars(length(max = 15))]
    pub outdoor_exercises: Vec<String>,
}

/// How to measure progress and act on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressionTracking {
    /// What to write down.
    #[schemars(length(max = 8))]
    pub what_to_track: Vec<String>,
    /// The sign that it is time for more.
    pub when_to_progress: String,
    /// The size of a step.
    pub how_much_to_add: String,
    /// What to change when nothing moves.
    #[schemars(length(max = 8))]
    pub plateau_breakers: Vec<String>,
}

/// How to stay unhurt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InjuryPrevention {
    /// Regular care of joints.
    pub mobility_work: String,
    /// Signs to stop.
    pub red_flags: String,
    /// How to change exercises that hurt.
    pub modification_guidelines: String,
    /// What this person's injuries and conditions ask for.
    pub pre_existing_considerations: String,
}

/// When to eat around training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NutritionTiming {
    /// Before a session.
    pub pre_workout: String,
    /// After a session.
    pub post_workout: String,
    /// On days without training.
    pub rest_days: String,
    /// Drinking.
    pub hydration: String,
}

/// How training fits into the week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LifestyleIntegration {
    /// What to do when time is short.
    pub busy_day_workouts: String,
    /// What to do away from home.
    pub travel_workouts: String,
    /// Friends and family.
    pub social_considerations: String,
    /// Around work.
    pub work_schedule_tips: String,
}

/// Counts over the week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeeklySummary {
    /// Beginner, intermediate or advanced.
    pub difficulty_level: Level,
    /// How the week is divided, as in upper/lower.
    pub training_split: String,
    /// How load rises.
    pub progression_strategy: String,
    /// Days of weekly_plan.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 1, max = 7))]
    pub total_workout_days: u32,
    /// Days of type strength or mixed.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 7))]
    pub strength_days: u32,
    /// Days of type cardio or hiit.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 7))]
    pub cardio_days: u32,
    /// Days of the week without training.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 7))]
    pub rest_days: u32,
    /// Sum of duration_minutes.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 1260))]
    pub total_time_minutes: u32,
    /// Number of exercises over all days.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 98))]
    pub total_exercises: u32,
    /// Sum of estimated_calories_burned.
    #[serde(deserialize_with = "number::whole")]
    #[schemars(range(min = 0, max = 17500))]
    pub estimated_weekly_calories_burned: u32,
}
