//! A week of training, checked against frequency, places, equipment and
//! injuries.

use super::violation::Violation;
use crate::plan::WorkoutPlan;
use crate::plan::needs::Needs;
use crate::plan::training::{GearSet, Regions};
use crate::plan::words::{Place, WorkoutType};
use crate::plan::workout::{Exercise, TrainingDay, WeeklySummary};

/// Records everything in the week that does not fit the person.
pub(super) fn check(week: &WorkoutPlan, needs: &Needs, violations: &mut Vec<Violation>) {
    days(week, needs, violations);
    for (index, day) in week.weekly_plan.iter().enumerate() {
        place(index, day, needs, violations);
        for (number, exercise) in day.exercises.iter().enumerate() {
            let at = format!("/weekly_plan/{index}/exercises/{number}");
            equipment(&at, exercise, day.training_location, needs, violations);
        }
    }
    injuries(week, needs, violations);
    summary(week, violations);
}

fn days(week: &WorkoutPlan, needs: &Needs, violations: &mut Vec<Violation>) {
    let found = week.weekly_plan.len();
    if !u8::try_from(found).is_ok_and(|found| needs.training_days.contains(&found)) {
        violations.push(Violation::TrainingDays { wanted: needs.training_days.clone(), found });
    }
    for (index, day) in week.weekly_plan.iter().enumerate() {
        if week.weekly_plan[..index].iter().any(|earlier| earlier.day == day.day) {
            violations.push(Violation::DayTwice { day: day.day });
        }
    }
}

fn place(index: usize, day: &TrainingDay, needs: &Needs, violations: &mut Vec<Violation>) {
    if !needs.places.contains(&day.training_location) {
        violations.push(Violation::PlaceUnavailable {
            at: format!("/weekly_plan/{index}/training_location"),
            place: day.training_location,
            available: needs.places.clone(),
        });
    }
}

fn equipment(
    at: &str,
    exercise: &Exercise,
    place: Place,
    needs: &Needs,
    violations: &mut Vec<Violation>,
) {
    let available = needs.gear_at(place);
    let listed = exercise.equipment_needed.iter().map(|item| missing(item, available));
    let missing = listed.fold(GearSet::implied_by(&exercise.name).without(available), GearSet::or);
    if !missing.is_empty() {
        violations.push(Violation::EquipmentMissing {
            at: at.to_owned(),
            exercise: exercise.name.chars().take(60).collect(),
            missing: missing.iter().collect(),
            place,
        });
    }
}

/// The missing equipment of a list item. "Dumbbells or water bottles" needs one of the
/// two, "(optional)" none.
fn missing(item: &str, available: GearSet) -> GearSet {
    let item = item.to_lowercase();
    if item.contains("optional") {
        return GearSet::default();
    }
    let mut choices = item
        .split(" or ")
        .flat_map(|choice| choice.split('/'))
        .map(|choice| GearSet::named_in(choice).without(available));
    let first = choices.next().unwrap_or_default();
    if first.is_empty() || choices.any(GearSet::is_empty) { GearSet::default() } else { first }
}

fn injuries(week: &WorkoutPlan, needs: &Needs, violations: &mut Vec<Violation>) {
    if needs.injuries.is_empty() {
        return;
    }
    let mut look = |at: String, text: &str| {
        let regions = Regions::loaded_by(text).and(needs.injuries);
        if !regions.is_empty() {
            violations.push(Violation::InjuryLoaded {
                at,
                exercise: text.chars().take(60).collect(),
                regions: regions.iter().collect(),
            });
        }
    };
    for (index, day) in week.weekly_plan.iter().enumerate() {
        let day_at = format!("/weekly_plan/{index}");
        for (phase, list) in
            [("warmup", &day.warmup.activities), ("cooldown", &day.cooldown.activities)]
        {
            for (number, activity) in list.iter().enumerate() {
                look(format!("{day_at}/{phase}/activities/{number}"), activity);
            }
        }
        for (number, exercise) in day.exercises.iter().enumerate() {
            let at = format!("{day_at}/exercises/{number}");
            look(format!("{at}/name"), &exercise.name);
            for (name, text) in alternatives(exercise) {
                look(format!("{at}/alternatives/{name}"), text);
            }
        }
    }
    for (name, list) in library(week) {
        for (number, exercise) in list.iter().enumerate() {
            look(format!("/exercise_library_by_location/{name}/{number}"), exercise);
        }
    }
}

fn alternatives(exercise: &Exercise) -> [(&'static str, &str); 4] {
    let other = &exercise.alternatives;
    [
        ("home", &other.home),
        ("outdoor", &other.outdoor),
        ("easier", &other.easier),
        ("harder", &other.harder),
    ]
}

fn library(week: &WorkoutPlan) -> [(&'static str, &[String]); 3] {
    let library = &week.exercise_library_by_location;
    [
        ("gym_exercises", &library.gym_exercises),
        ("home_exercises", &library.home_exercises),
        ("outdoor_exercises", &library.outdoor_exercises),
    ]
}

fn summary(week: &WorkoutPlan, violations: &mut Vec<Violation>) {
    let stated = &week.weekly_summary;
    let counted = counted(week);
    for (name, stated, counted) in [
        ("total_workout_days", stated.total_workout_days, counted.total_workout_days),
        ("strength_days", stated.strength_days, counted.strength_days),
        ("cardio_days", stated.cardio_days, counted.cardio_days),
        ("rest_days", stated.rest_days, counted.rest_days),
        ("total_time_minutes", stated.total_time_minutes, counted.total_time_minutes),
        ("total_exercises", stated.total_exercises, counted.total_exercises),
        (
            "estimated_weekly_calories_burned",
            stated.estimated_weekly_calories_burned,
            counted.estimated_weekly_calories_burned,
        ),
    ] {
        if stated != counted {
            violations.push(Violation::Sum {
                at: format!("/weekly_summary/{name}"),
                stated: f64::from(stated),
                counted: f64::from(counted),
            });
        }
    }
}

/// The summary with its counts computed from the days.
pub(super) fn counted(week: &WorkoutPlan) -> WeeklySummary {
    let days = &week.weekly_plan;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let of_type = |types: &[WorkoutType]| {
        count(days.iter().filter(|day| types.contains(&day.workout_type)).count())
    };
    let sum = |part: fn(&TrainingDay) -> u32| {
        days.iter().fold(0_u32, |sum, day| sum.saturating_add(part(day)))
    };
    let total = count(days.len());
    WeeklySummary {
        total_workout_days: total,
        strength_days: of_type(&[WorkoutType::Strength, WorkoutType::Mixed]),
        cardio_days: of_type(&[WorkoutType::Cardio, WorkoutType::Hiit]),
        rest_days: 7_u32.saturating_sub(total),
        total_time_minutes: sum(|day| day.duration_minutes),
        total_exercises: count(days.iter().map(|day| day.exercises.len()).sum()),
        estimated_weekly_calories_burned: sum(|day| day.estimated_calories_burned),
        ..week.weekly_summary.clone()
    }
}
