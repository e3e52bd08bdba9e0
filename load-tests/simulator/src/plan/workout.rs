//! Writes a composed week as a workout plan with the names the app reads.

use serde_json::{Value, json};

use crate::chance::Chance;

use super::exercise::{Exercise, Means};
use super::targets::Targets;
use super::week::{self, Session};

/// The workout plan for `targets` as JSON.
pub(super) fn write(exercises: &[Exercise], targets: &Targets, chance: &mut Chance) -> Value {
    let means = Means::new(targets);
    let days = match targets.days.unwrap_or(3.0).round() {
        days if days <= 1.0 => 1,
        2.0 => 2,
        3.0 => 3,
        4.0 => 4,
        5.0 => 5,
        6.0 => 6,
        _ => 7,
    };
    let sessions = week::compose(exercises, &means, days, chance);
    let written: Vec<Value> =
        sessions.iter().map(|session| day(session, exercises, &means)).collect();
    json!({
        "weekly_summary": summary(&sessions, &written),
        "weekly_plan": written,
        "periodization_plan": {
            "week_1_2": "Learn the movements and leave three repetitions in reserve.",
            "week_3_4": "Add one set to the first two exercises of each day.",
            "week_5_6": "Raise the load or the repetitions a little every session.",
            "week_7": "Half the sets, same movements: let the body catch up.",
            "week_8_plus": "Start over from week 3 with what you can do now.",
        },
        "exercise_library_by_location": library(exercises, &means),
        "progression_tracking": {
            "what_to_track": ["repetitions and load of every set", "how hard it felt", "sleep before the session"],
            "when_to_progress": "When all sets reach the upper end of the range with good form twice in a row.",
            "how_much_to_add": "The smallest step there is, or one repetition in each set.",
            "plateau_breakers": ["Take an easy week", "Change the grip or the stance", "Slow the way down to four counts"],
        },
        "personalized_tips": [
            format!("{days} training days a week are enough when they happen every week."),
            "Put the sessions into the calendar like appointments.",
            "Stop a set when the form goes, not when the strength goes.",
        ],
        "injury_prevention": care(&means),
        "nutrition_timing": {
            "pre_workout": "A light meal one to two hours before.",
            "post_workout": "The next regular meal within two hours, with enough protein.",
            "rest_days": "The same meals; rest is when the work pays off.",
            "hydration": "Half a litre of water over the hour before and sips in between.",
        },
        "lifestyle_integration": {
            "busy_day_workouts": "The first three exercises, two sets each, in a quarter of an hour.",
            "travel_workouts": "The movements without equipment, in any room.",
            "social_considerations": "Bring somebody along on the endurance day.",
            "work_schedule_tips": "Early sessions are the ones that least often fall through.",
        },
    })
}

fn day(session: &Session<'_>, exercises: &[Exercise], means: &Means) -> Value {
    let minutes = minutes(session);
    let (intensity, effort, burn) = match session.kind {
        "cardio" => ("moderate", "5-6", 8),
        "mobility" => ("low", "3-4", 3),
        "mixed" => ("moderate", "6-7", 7),
        _ => ("moderate", "7-8", 6),
    };
    let list: Vec<Value> =
        session.exercises.iter().map(|exercise| entry(exercise, exercises, means)).collect();
    json!({
        "day": session.day,
        "workout_type": session.kind,
        "training_location": session.place,
        "focus": session.focus,
        "duration_minutes": minutes,
        "intensity": intensity,
        "exercises": list,
        "warmup": {"duration_minutes": 6, "activities": ["Easy marching with arm swings", "Slow practice of the first exercise"]},
        "cooldown": {"duration_minutes": 5, "activities": ["Slow walking", "Quiet breathing on the back"]},
        "estimated_calories_burned": minutes * burn,
        "rpe_target": effort,
        "success_criteria": "Every planned set done with the form you would show a friend.",
        "if_low_energy": "Do two sets of each exercise and end with the cool-down.",
        "optional": session.kind == "mobility",
        "if_feeling_good": "Add one set to the exercise you like best.",
    })
}

/// The duration of warm-up, cool-down and exercises.
fn minutes(session: &Session<'_>) -> usize {
    let each = if session.kind == "mobility" { 4 } else { 6 };
    11 + session.exercises.len() * each
}

fn sets(exercise: &Exercise) -> usize {
    match exercise.category {
        "strength" | "plyometric" => 3,
        "core" | "balance" => 2,
        _ => 1,
    }
}

fn entry(exercise: &Exercise, all: &[Exercise], means: &Means) -> Value {
    let strength = exercise.category == "strength";
    let equipment: &[&str] =
        if exercise.equipment == "none" { &[] } else { std::slice::from_ref(&exercise.equipment) };
    json!({
        "name": exercise.name,
        "category": exercise.category,
        "sets": sets(exercise),
        "reps": exercise.reps,
        "rest_seconds": if strength { 90 } else { 45 },
        "tempo": if strength { "2-1-2" } else { "" },
        "instructions": exercise.instructions,
        "muscle_groups": exercise.muscles,
        "difficulty": exercise.level,
        "equipment_needed": equipment,
        "alternatives": alternatives(exercise, all, means),
        "progression": "Add a repetition a session until the range is full, then make it harder.",
        "safety_notes": "Stop at sharp pain and go back to the easier version.",
    })
}

fn alternatives(exercise: &Exercise, all: &[Exercise], means: &Means) -> Value {
    let bare = |other: &Exercise, place: &str| {
        other.equipment == "none" && other.places.contains(&place) && means.spares(other)
    };
    let level = |other: &Exercise| match other.level {
        "beginner" => 0,
        "intermediate" => 1,
        _ => 2,
    };
    let own = level(exercise);
    let at_hand = |other: &Exercise| means.places.iter().any(|place| means.allow(other, place));
    let name = |found: Option<&Exercise>, otherwise: &str| {
        found.map_or_else(|| otherwise.to_owned(), |other| other.name.to_owned())
    };
    json!({
        "home": name(week::instead(all, exercise, |other| bare(other, "home")), "The same movement, slower"),
        "outdoor": name(week::instead(all, exercise, |other| bare(other, "outdoor")), "The same movement, slower"),
        "easier": name(week::instead(all, exercise, |other| at_hand(other) && level(other) < own), "Fewer repetitions in a smaller range"),
        "harder": name(week::instead(all, exercise, |other| at_hand(other) && level(other) > own), "A pause of two seconds at the hardest point"),
    })
}

fn library(exercises: &[Exercise], means: &Means) -> Value {
    let at = |place: &str| {
        let used = means.places.contains(&place);
        let fits = exercises.iter().filter(|exercise| used && means.allow(exercise, place));
        fits.step_by(3).take(10).map(|exercise| exercise.name).collect::<Vec<_>>()
    };
    json!({
        "gym_exercises": at("gym"),
        "home_exercises": at("home"),
        "outdoor_exercises": at("outdoor"),
    })
}

fn care(means: &Means) -> Value {
    let considerations = match means.sore() {
        [] => "Nothing was reported; tell your plan when that changes.".to_owned(),
        joints => format!("Exercises that load these were left out: {}.", joints.join(", ")),
    };
    json!({
        "mobility_work": "Five minutes of gentle circles for all joints on most days.",
        "red_flags": "Sharp pain, numbness, dizziness or chest pressure: stop and see a doctor.",
        "modification_guidelines": "Make the range smaller first, then the load, then change the exercise.",
        "pre_existing_considerations": considerations,
    })
}

fn summary(sessions: &[Session<'_>], written: &[Value]) -> Value {
    let kinds = |kinds: &[&str]| sessions.iter().filter(|s| kinds.contains(&s.kind)).count();
    let burned: u64 =
        written.iter().filter_map(|day| day["estimated_calories_burned"].as_u64()).sum();
    let hard =
        sessions.iter().flat_map(|s| &s.exercises).any(|exercise| exercise.level == "advanced");
    json!({
        "difficulty_level": if hard { "intermediate" } else { "beginner" },
        "training_split": sessions.iter().map(|session| session.focus).collect::<Vec<_>>().join(" / "),
        "progression_strategy": "More repetitions first, then more load, with an easy week in every seven.",
        "total_workout_days": sessions.len(),
        "strength_days": kinds(&["strength", "mixed"]),
        "cardio_days": kinds(&["cardio", "hiit"]),
        "rest_days": 7 - sessions.len().min(7),
        "total_time_minutes": sessions.iter().map(minutes).sum::<usize>(),
        "total_exercises": sessions.iter().map(|session| session.exercises.len()).sum::<usize>(),
        "estimated_weekly_calories_burned": burned,
    })
}
