//! One test per rule: the valid plan passes, the modified one violates the
//! rule.

use regimen_common::food::Avoid;
use regimen_common::job::PlanKind;
use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use serde_json::{Value, json};

use super::*;
use crate::plan::sample;
use crate::plan::words::{Day, Place};
use crate::plan::{MealPlan, WorkoutPlan};

/// Needs that [`sample::meal_plan`] and [`sample::workout_plan`] meet.
pub(super) fn needs() -> Needs {
    needs_with(&json!({}))
}

pub(super) fn needs_with(changes: &Value) -> Needs {
    let mut answers = json!({
        "age": 30, "gender": "male", "height": {"cm": 178}, "currentWeight": {"kg": 80},
        "targetWeight": {"kg": 78}, "mainGoal": "Maintain weight", "timeFrame": "3 months",
        "lifestyle": "Calm", "groceryBudget": "Medium", "dietaryStyle": "No restrictions",
        "mealsPerDay": "3 (standard)", "motivationLevel": 7, "stressLevel": 4,
        "sleepQuality": "Good", "exerciseFrequency": "3-4 times/week",
        "preferredExercise": ["Strength"], "trainingEnvironment": ["Home"],
        "cookingSkill": "Beginner", "cookingTime": "15-30 min"
    });
    for (name, value) in changes.as_object().unwrap() {
        answers[name] = value.clone();
    }
    let quiz = Quiz::read(&answers).unwrap();
    let mut needs = Needs::of(&quiz, &Nutrition::of(&quiz));
    // The sample day, whatever the formulas say of this person.
    for (band, target) in [
        (&mut needs.calories, 2000.0),
        (&mut needs.protein, 150.0),
        (&mut needs.carbs, 200.0),
        (&mut needs.fats, 67.0),
    ] {
        let share = if target == 2000.0 { 0.05 } else { 0.1 };
        let open = (band.low == 0.0, band.high.is_infinite());
        band.target = target;
        band.low = if open.0 { 0.0 } else { target * (1.0 - share) };
        band.high = if open.1 { f64::INFINITY } else { target * (1.0 + share) };
    }
    needs
}

fn classes(plan: &Plan, needs: &Needs) -> Vec<&'static str> {
    let mut classes: Vec<_> = fit(plan, needs).violations.iter().map(Violation::class).collect();
    classes.dedup();
    classes
}

fn bent_day(needs: &Needs, bend: impl FnOnce(&mut MealPlan)) -> Vec<&'static str> {
    let mut day = sample::meal_plan();
    bend(&mut day);
    classes(&Plan::Meal(Box::new(day)), needs)
}

fn bent_week(needs: &Needs, bend: impl FnOnce(&mut WorkoutPlan)) -> Vec<&'static str> {
    let mut week = sample::workout_plan();
    bend(&mut week);
    classes(&Plan::Workout(Box::new(week)), needs)
}

#[test]
fn sound_plans_pass() {
    assert_eq!(fit(&sample::meal(), &needs()), Verdict::default());
    assert_eq!(fit(&sample::workout(), &needs()), Verdict::default());
    assert_eq!(fit(&sample::meal(), &needs()).worst(), None);
}

#[test]
fn sums_are_added_up_again() {
    assert_eq!(bent_day(&needs(), |day| day.meals[0].total_calories += 50.0), ["sum"]);
    assert_eq!(bent_day(&needs(), |day| day.daily_totals.protein = 10.0), ["sum"]);
    assert_eq!(bent_week(&needs(), |week| week.weekly_summary.rest_days = 3), ["sum"]);
}

#[test]
fn targets_must_be_met() {
    let off = bent_day(&needs(), |day| day.meals[1].foods[0].calories += 300.0);
    assert!(off.contains(&"calories"), "{off:?}");
    let off = bent_day(&needs(), |day| day.meals[1].foods[0].protein -= 30.0);
    assert!(off.contains(&"macro"), "{off:?}");
    let few = bent_day(&needs(), |day| drop(day.meals.pop()));
    assert!(few.contains(&"meals"), "{few:?}");
}

#[test]
fn numbers_nobody_can_mean_are_refused() {
    assert_eq!(bent_day(&needs(), |day| day.meals[0].foods[0].grams = 1e6), ["out_of_range"]);
    assert_eq!(bent_day(&needs(), |day| day.meals[0].foods[0].grams = -1.0), ["out_of_range"]);
    assert_eq!(
        bent_week(&needs(), |week| week.weekly_plan[0].exercises[0].sets = 400),
        ["out_of_range"]
    );
}

#[test]
fn an_allergen_is_found_in_every_kind_of_text() {
    let needs = needs_with(&json!({"foodAllergies": "Peanuts and shelfish"}));
    let bends: [fn(&mut MealPlan); 8] = [
        |day| day.meals[0].foods[1].name = "Peanut butter".to_owned(),
        |day| day.meals[2].meal_name = "Satay beef".to_owned(),
        |day| day.meals[1].recipe.push_str(" Scatter crushed PEANUTS over it."),
        |day| day.shopping_list.pantry_staples.push("Groundnut oil".to_owned()),
        |day| day.personalized_tips.push("A handful of pea\u{ad}nuts helps.".to_owned()),
        |day| day.meal_prep_strategy.batch_cooking.push("Boil the prawns".to_owned()),
        |day| day.hydration_plan.electrolyte_needs = "Lobster bisque".to_owned(),
        |day| day.meals[0].foods[0].portion = "1 cup with mussels".to_owned(),
    ];
    for (index, bend) in bends.into_iter().enumerate() {
        assert_eq!(bent_day(&needs, bend), ["allergen"], "bend {index}");
    }
    let week = bent_week(&needs, |week| {
        week.nutrition_timing.pre_workout = "A banana with peanut butter".to_owned();
    });
    assert_eq!(week, ["allergen"]);
    let crab_walk =
        bent_week(&needs, |week| week.weekly_plan[0].exercises[0].name = "Crab walk".to_owned());
    assert_eq!(crab_walk, [""; 0], "a movement is no food");
}

#[test]
fn a_portion_names_its_own_food_only() {
    let needs = needs_with(&json!({"foodAllergies": "gluten"}));
    let with = |name: &'static str, portion: &'static str| {
        bent_day(&needs, |day| {
            day.meals[0].foods[0].name = name.to_owned();
            day.meals[0].foods[0].portion = portion.to_owned();
        })
    };
    assert_eq!(with("Corn tortillas", "3 tortillas"), [""; 0]);
    assert_eq!(with("Corn tortillas", "3 flour tortillas"), ["allergen"]);
    assert_eq!(with("Rice", "1 cup with bread"), ["allergen"]);
}

#[test]
fn allergens_are_never_mended_nor_harmless() {
    let needs = needs_with(&json!({"foodAllergies": "milk"}));
    let mut day = sample::meal_plan();
    day.meals[0].foods[0].name = "Ghee".to_owned();
    let mut plan = Plan::Meal(Box::new(day));
    repair(&mut plan, &needs);
    assert!(fit(&plan, &needs).is_dangerous());
}

#[test]
fn conditions_can_be_allergies() {
    let needs = needs_with(&json!({"healthConditions": ["Celiac disease", "Fatty liver"]}));
    assert_eq!(needs.allergies.names(), ["gluten"]);
    assert_eq!(
        bent_day(&needs, |day| day.meals[0].foods[0].name = "Couscous".to_owned()),
        ["allergen"]
    );
}

/// An allergy that is written under the conditions is as binding as one under its question.
#[test]
fn an_allergy_among_the_conditions_is_kept_out() {
    for (answers, food) in [
        (json!({"healthConditions": ["Asthma", "Peanut allergy"]}), "Peanut butter"),
        (json!({"healthConditions_other": "severe shellfish allergy"}), "Garlic shrimp"),
        (json!({"healthConditions_other": "Erdnussallergie"}), "Peanut butter"),
    ] {
        let needs = needs_with(&answers);
        let found = bent_day(&needs, |day| day.meals[0].foods[0].name = food.to_owned());
        assert_eq!(found, ["allergen"], "{answers}");
    }
    let none = needs_with(&json!({"healthConditions_other": "no peanut allergy, cat allergy"}));
    assert!(none.allergies.is_empty());
}

#[test]
fn dislikes_and_styles_are_kept() {
    let disliked = needs_with(&json!({"dislikedFoods": "blueberries, fish"}));
    assert_eq!(classes(&sample::meal(), &disliked), ["disliked"]);
    for (style, bad, good) in [
        ("Vegan", "Honey", "Tofu"),
        ("Vegetarian", "Gelatin", "Feta"),
        ("Pescatarian", "Turkey", "Salmon"),
        ("Keto", "Basmati rice", "Halloumi"),
        ("Paleo", "Lentils", "Sweet potato"),
        ("Mediterranean", "Bacon", "Olives"),
        ("Vegan keto", "Cheddar", "Vegan cheddar"),
    ] {
        let needs = needs_with(&json!({"dietaryStyle": style}));
        for (name, wrong) in [(bad, true), (good, false)] {
            let mut plan = sample::meal_plan();
            plan.shopping_list.proteins = vec![name.to_owned()];
            let found = fit(&Plan::Meal(Box::new(plan)), &needs).violations;
            let flagged = found.iter().any(|violation| {
                matches!(violation, Violation::Diet { at, .. } if at.starts_with("/shopping_list/proteins"))
            });
            assert_eq!(flagged, wrong, "{style}: {name}");
        }
    }
}

#[test]
fn fasting_limits_the_hours() {
    let needs = needs_with(&json!({"dietaryStyle": "Intermittent fasting"}));
    assert_eq!(classes(&sample::meal(), &needs), [""; 0]);
    assert_eq!(
        bent_day(&needs, |day| day.meals[2].meal_timing = "22:30".to_owned()),
        ["eating_window"]
    );
}

#[test]
fn foreign_text_is_refused() {
    let linked =
        bent_day(&needs(), |day| day.personalized_tips.push("See https://x.example".to_owned()));
    assert_eq!(linked, ["foreign"]);
    let echoed =
        bent_week(&needs(), |week| week.personalized_tips.push("REGIMEN-TARGETS: {}".to_owned()));
    assert_eq!(echoed, ["foreign"]);
}

#[test]
fn training_fits_the_week_the_places_and_the_equipment() {
    let needs = needs();
    assert_eq!(bent_week(&needs, |week| week.weekly_plan[1].day = Day::Monday), ["day_twice"]);
    assert_eq!(
        bent_week(&needs, |week| week.weekly_plan[0].training_location = Place::Gym),
        ["place"]
    );
    let name = |name: &'static str| {
        move |week: &mut WorkoutPlan| week.weekly_plan[0].exercises[0].name = name.to_owned()
    };
    assert_eq!(bent_week(&needs, name("Barbell back squat")), ["equipment"]);
    assert_eq!(bent_week(&needs, name("Bodyweight squat")), [""; 0]);
    let list = |item: &'static str| {
        move |week: &mut WorkoutPlan| {
            week.weekly_plan[0].exercises[0].equipment_needed = vec![item.to_owned()]
        }
    };
    assert_eq!(bent_week(&needs, list("Kettlebell")), ["equipment"]);
    assert_eq!(bent_week(&needs, list("Dumbbells or water bottles")), [""; 0]);
    assert_eq!(bent_week(&needs, list("Kettlebell (optional)")), [""; 0]);
    assert_eq!(bent_week(&needs, list("Yoga mat")), [""; 0]);
    let fewer = bent_week(&needs, |week| week.weekly_plan.truncate(2));
    assert!(fewer.contains(&"training_days"));
}

#[test]
fn injured_parts_are_not_loaded() {
    let needs = needs_with(&json!({"injuries": "bad knees since 2019"}));
    assert_eq!(classes(&sample::workout(), &needs), [""; 0]);
    let bends: [fn(&mut WorkoutPlan); 6] = [
        |week| week.weekly_plan[0].exercises[0].name = "Jump squats".to_owned(),
        |week| week.weekly_plan[0].exercises[0].name = "Burpees (no equipment)".to_owned(),
        |week| week.weekly_plan[0].exercises[0].name = "Squats without weights".to_owned(),
        |week| {
            week.weekly_plan[0].exercises[0].alternatives.home =
                "Jump squats, no equipment needed".to_owned();
        },
        |week| week.weekly_plan[2].exercises[1].alternatives.harder = "Walking lunges".to_owned(),
        |week| week.weekly_plan[1].warmup.activities.push("Jumping jacks".to_owned()),
    ];
    for bend in bends {
        assert_eq!(bent_week(&needs, bend), ["injury"]);
    }
    let spared = |week: &mut WorkoutPlan| {
        week.weekly_plan[0].exercises[0].alternatives.easier = "Skip the lunges".to_owned();
    };
    assert_eq!(bent_week(&needs, spared), [""; 0]);
}

#[test]
fn repair_mends_what_is_arithmetic() {
    let needs = needs();
    let mut day = sample::meal_plan();
    day.meals[0].total_calories = 1.0;
    day.daily_totals.fats = 0.0;
    day.daily_totals.variance = "none".to_owned();
    day.meals[1].foods[0].fiber = -2.0;
    let mut plan = Plan::Meal(Box::new(day));
    let repairs = repair(&mut plan, &needs);
    let classes: Vec<_> = repairs.iter().map(Repair::class).collect();
    assert_eq!(classes, ["clamped", "meal_totals", "day_totals"]);
    assert!(fit(&plan, &needs).is_clean());
    assert_eq!(repair(&mut plan, &needs), [], "a second repair finds nothing");

    let mut week = sample::workout_plan();
    week.weekly_plan.reverse();
    week.weekly_summary.total_exercises = 99;
    let mut plan = Plan::Workout(Box::new(week));
    assert_eq!(repair(&mut plan, &needs), [Repair::Ordered, Repair::Summary]);
    assert!(fit(&plan, &needs).is_clean());
}

#[test]
fn portions_are_scaled_or_shifted_to_the_targets() {
    let needs = needs();
    for (factor, repaired) in [(0.9, true), (1.12, true), (0.6, false), (1.6, false)] {
        let mut day = sample::meal_plan();
        for food in day.meals.iter_mut().flat_map(|meal| &mut meal.foods) {
            food.calories *= factor;
            food.protein *= factor;
            food.carbs *= factor;
            food.fats *= factor;
        }
        let mut plan = Plan::Meal(Box::new(day));
        repair(&mut plan, &needs);
        assert_eq!(fit(&plan, &needs).is_clean(), repaired, "{factor}");
    }
}

#[test]
fn sources_are_balanced_when_one_factor_is_not_enough() {
    let needs = needs();
    let mut day = sample::meal_plan();
    for food in day.meals.iter_mut().flat_map(|meal| &mut meal.foods) {
        // A fifth more of what carbohydrate comes from, less of protein.
        let by = if food.carbs > food.protein { 1.2 } else { 0.85 };
        food.calories *= by;
        food.protein *= by;
        food.carbs *= by;
        food.fats *= by;
    }
    let mut plan = Plan::Meal(Box::new(day));
    let repairs = repair(&mut plan, &needs);
    assert!(matches!(repairs[0], Repair::Rebalanced { .. }), "{repairs:?}");
    assert!(fit(&plan, &needs).is_clean(), "{:?}", fit(&plan, &needs));
}

#[test]
fn the_correction_names_the_worst_first_and_is_bounded() {
    let needs = needs_with(&json!({"foodAllergies": "milk", "dislikedFoods": "potatoes"}));
    let mut day = sample::meal_plan();
    day.meals[0].foods[0].name = "Ghee".to_owned();
    day.meals[1].total_fats = 500.0;
    let text = correction(&fit(&Plan::Meal(Box::new(day.clone())), &needs).violations, &[]);
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
    assert!(place("\"Ghee\"") < place("Potatoes") && place("Potatoes") < place("total_fats"));
    assert!(text.contains("/meals/0/foods/0/name"));

    day.personalized_tips = (0..900).map(|n| format!("Add {n} g of butter.")).collect();
    let text = correction(&fit(&Plan::Meal(Box::new(day)), &needs).violations, &[]);
    assert!(text.chars().count() <= CORRECTION_LIMIT_CHARS);
    assert!(text.contains("more of these kinds"));
}

#[test]
fn needs_that_cannot_be_met_together_are_loosened() {
    let keto = needs_with(&json!({"dietaryStyle": "Keto"}));
    assert!(keto.carbs.contains(0.0) && keto.fats.contains(160.0));
    let answers = json!({"currentWeight": {"kg": 220}, "targetWeight": {"kg": 90},
        "mainGoal": "Extreme weight loss", "dietaryStyle": "Keto"});
    let heavy = needs_with(&answers);
    assert!(heavy.calories.target > 0.0);
}

#[test]
fn empty_avoidance_costs_nothing() {
    assert!(Avoid::allergies("none").is_empty());
    assert_eq!(sample::meal().kind(), PlanKind::Meal);
}
