//! Two valid plans for tests to modify.

use super::Plan;
use super::meal::{
    DailyTotals, Food, HydrationPlan, Meal, MealPlan, MealPrepStrategy, ShoppingList,
};
use super::words::{Category, Day, Difficulty, Intensity, Level, MealType, Place, WorkoutType};
use super::workout::{
    Alternatives, Exercise, ExerciseLibrary, InjuryPrevention, LifestyleIntegration,
    NutritionTiming, PeriodizationPlan, Phase, ProgressionTracking, TrainingDay, WeeklySummary,
    WorkoutPlan,
};

/// Texts from literals.
fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// A food whose calories are those of its macros.
pub(crate) fn food(name: &str, protein: f64, carbs: f64, fats: f64) -> Food {
    Food {
        name: name.to_owned(),
        portion: "1 serving".to_owned(),
        grams: 150.0,
        calories: 4.0 * (protein + carbs) + 9.0 * fats,
        protein,
        carbs,
        fats,
        fiber: 2.0,
    }
}

fn meal_of(meal_type: MealType, name: &str, at: &str, foods: Vec<Food>) -> Meal {
    let sum = |part: fn(&Food) -> f64| foods.iter().map(part).sum::<f64>();
    Meal {
        meal_type,
        meal_name: name.to_owned(),
        prep_time_minutes: 15,
        difficulty: Difficulty::Easy,
        meal_timing: at.to_owned(),
        tags: list(&["high-protein"]),
        recipe: "Cook everything until done and serve warm.".to_owned(),
        tips: list(&["Season to taste."]),
        total_calories: sum(|food| food.calories),
        total_protein: sum(|food| food.protein),
        total_carbs: sum(|food| food.carbs),
        total_fats: sum(|food| food.fats),
        total_fiber: sum(|food| food.fiber),
        foods,
    }
}

/// A day of 2,000.75 kcal: 150 g protein, 200 g carbohydrates, 66.75 g fat.
pub(crate) fn meal_plan() -> MealPlan {
    let third = 22.25;
    let meals = vec![
        meal_of(
            MealType::Breakfast,
            "Rice porridge with berries",
            "08:00",
            vec![
                food("Rice flakes", 20.0, 50.0, 5.0),
                food("Blueberries", 30.0, 16.0, third - 5.0),
            ],
        ),
        meal_of(
            MealType::Lunch,
            "Chicken rice bowl",
            "13:00",
            vec![
                food("Chicken breast", 45.0, 0.0, third - 3.0),
                food("Brown rice", 5.0, 67.0, 3.0),
            ],
        ),
        meal_of(
            MealType::Dinner,
            "Beef with potatoes",
            "19:00",
            vec![
                food("Lean beef", 45.0, 0.0, third - 10.0),
                food("Potatoes with olive oil", 5.0, 67.0, 10.0),
            ],
        ),
    ];
    let sum = |part: fn(&Meal) -> f64| meals.iter().map(part).sum::<f64>();
    MealPlan {
        daily_totals: DailyTotals {
            calories: sum(|meal| meal.total_calories),
            protein: sum(|meal| meal.total_protein),
            carbs: sum(|meal| meal.total_carbs),
            fats: sum(|meal| meal.total_fats),
            fiber: sum(|meal| meal.total_fiber),
            variance: "+0.0%".to_owned(),
        },
        meals,
        hydration_plan: HydrationPlan {
            daily_water_intake: "2.5 litres".to_owned(),
            timing: list(&["A glass on waking"]),
            electrolyte_needs: "None beyond normal meals".to_owned(),
        },
        shopping_list: ShoppingList {
            proteins: list(&["Chicken breast, 200 g", "Lean beef, 200 g"]),
            vegetables: list(&["Potatoes, 400 g", "Blueberries, 150 g"]),
            carbs: list(&["Brown rice, 100 g", "Rice flakes, 80 g"]),
            fats: list(&["Olive oil"]),
            pantry_staples: list(&["Salt", "Pepper"]),
            estimated_cost: "8-10 EUR".to_owned(),
        },
        personalized_tips: list(&["Eat slowly."]),
        meal_prep_strategy: MealPrepStrategy {
            batch_cooking: list(&["Cook rice for two days"]),
            storage_tips: list(&["Chill within an hour"]),
            time_saving_hacks: list(&["Wash the vegetables at once"]),
        },
    }
}

/// [`meal_plan`] as a plan.
pub(crate) fn meal() -> Plan {
    Plan::Meal(Box::new(meal_plan()))
}

/// A bodyweight exercise.
pub(crate) fn exercise(name: &str) -> Exercise {
    Exercise {
        name: name.to_owned(),
        category: Category::Compound,
        sets: 3,
        reps: "8-12".to_owned(),
        rest_seconds: 60,
        tempo: "2-0-2".to_owned(),
        instructions: "Move slowly and breathe.".to_owned(),
        muscle_groups: list(&["core"]),
        difficulty: Level::Beginner,
        equipment_needed: vec![],
        alternatives: Alternatives {
            home: "Glute bridge".to_owned(),
            outdoor: "Brisk walk".to_owned(),
            easier: "Fewer repetitions".to_owned(),
            harder: "A slower tempo".to_owned(),
        },
        progression: "One repetition more each week".to_owned(),
        safety_notes: "Stop on pain".to_owned(),
    }
}

fn day_of(day: Day) -> TrainingDay {
    TrainingDay {
        day,
        workout_type: WorkoutType::Strength,
        training_location: Place::Home,
        focus: "Whole body".to_owned(),
        duration_minutes: 40,
        intensity: Intensity::Moderate,
        warmup: Phase { duration_minutes: 5, activities: list(&["March on the spot"]) },
        exercises: vec![exercise("Glute bridge"), exercise("Dead bug"), exercise("Bird dog")],
        cooldown: Phase { duration_minutes: 5, activities: list(&["Calf stretch"]) },
        estimated_calories_burned: 250,
        rpe_target: "6-7".to_owned(),
        success_criteria: "All sets done".to_owned(),
        if_low_energy: "Halve the sets".to_owned(),
        optional: false,
        if_feeling_good: "Add a set".to_owned(),
    }
}

/// Three days at home without equipment.
pub(crate) fn workout_plan() -> WorkoutPlan {
    let weekly_plan: Vec<_> =
        [Day::Monday, Day::Wednesday, Day::Friday].into_iter().map(day_of).collect();
    let text = str::to_owned;
    WorkoutPlan {
        weekly_summary: WeeklySummary {
            difficulty_level: Level::Beginner,
            training_split: text("Whole body"),
            progression_strategy: text("More repetitions"),
            total_workout_days: 3,
            strength_days: 3,
            cardio_days: 0,
            rest_days: 4,
            total_time_minutes: 120,
            total_exercises: 9,
            estimated_weekly_calories_burned: 750,
        },
        weekly_plan,
        periodization_plan: PeriodizationPlan {
            week_1_2: text("Learn the movements"),
            week_3_4: text("Add a set"),
            week_5_6: text("Add repetitions"),
            week_7: text("Half the volume"),
            week_8_plus: text("Harder variants"),
        },
        exercise_library_by_location: ExerciseLibrary {
            gym_exercises: vec![],
            home_exercises: list(&["Glute bridge", "Dead bug"]),
            outdoor_exercises: vec![],
        },
        progression_tracking: ProgressionTracking {
            what_to_track: list(&["Repetitions"]),
            when_to_progress: text("Two easy sessions in a row"),
            how_much_to_add: text("One repetition"),
            plateau_breakers: list(&["A lighter week"]),
        },
        personalized_tips: list(&["Train at the same hour."]),
        injury_prevention: InjuryPrevention {
            mobility_work: text("Five minutes daily"),
            red_flags: text("Sharp pain"),
            modification_guidelines: text("Shorten the range"),
            pre_existing_considerations: text("None"),
        },
        nutrition_timing: NutritionTiming {
            pre_workout: text("A light meal two hours before"),
            post_workout: text("A normal meal"),
            rest_days: text("As planned"),
            hydration: text("Sip water"),
        },
        lifestyle_integration: LifestyleIntegration {
            busy_day_workouts: text("Ten minutes"),
            travel_workouts: text("Hotel room circuit"),
            social_considerations: text("Train with a friend"),
            work_schedule_tips: text("Before work"),
        },
    }
}

/// [`workout_plan`] as a plan.
pub(crate) fn workout() -> Plan {
    Plan::Workout(Box::new(workout_plan()))
}
