//! Chooses the training days of a week and their exercises.

use crate::chance::Chance;

use super::exercise::{Exercise, Means};

/// A training day.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) day: &'static str,
    /// strength, cardio, mixed or mobility.
    pub(super) kind: &'static str,
    pub(super) place: &'static str,
    pub(super) focus: &'static str,
    pub(super) exercises: Vec<&'a Exercise>,
}

/// A session's outline: kind, focus, patterns in order.
type Outline = (&'static str, &'static str, &'static [&'static str]);

const FULL: Outline = ("strength", "full body", &["squat", "push", "pull", "hinge", "core"]);
const FULL_B: Outline =
    ("strength", "full body", &["lunge", "pull", "push", "hip", "core", "core"]);
const UPPER: Outline =
    ("strength", "upper body", &["push", "pull", "push", "pull", "arms", "core"]);
const LOWER: Outline =
    ("strength", "lower body", &["squat", "hinge", "lunge", "calf", "hip", "core"]);
const CARDIO: Outline = ("cardio", "endurance", &["cardio", "cardio", "core", "mobility"]);
const MIXED: Outline =
    ("mixed", "strength and endurance", &["squat", "push", "pull", "cardio", "core"]);
const EASY: Outline =
    ("mobility", "mobility and balance", &["mobility", "mobility", "balance", "core"]);

/// The outlines of a week with this number of training days.
fn split(days: usize) -> &'static [Outline] {
    match days {
        0 | 1 => &[FULL],
        2 => &[FULL, MIXED],
        3 => &[FULL, CARDIO, FULL_B],
        4 => &[UPPER, LOWER, CARDIO, FULL],
        5 => &[UPPER, LOWER, CARDIO, FULL, MIXED],
        6 => &[UPPER, LOWER, CARDIO, FULL, MIXED, EASY],
        _ => &[UPPER, LOWER, CARDIO, FULL, EASY, MIXED, EASY],
    }
}

/// The weekdays for this number of training days.
fn calendar(days: usize) -> &'static [&'static str] {
    match days {
        0 | 1 => &["monday"],
        2 => &["monday", "thursday"],
        3 => &["monday", "wednesday", "friday"],
        4 => &["monday", "tuesday", "thursday", "saturday"],
        5 => &["monday", "tuesday", "wednesday", "friday", "saturday"],
        6 => &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday"],
        _ => &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
    }
}

/// The sessions of a week with `days` training days.
pub(super) fn compose<'a>(
    exercises: &'a [Exercise],
    means: &Means,
    days: usize,
    chance: &mut Chance,
) -> Vec<Session<'a>> {
    let outlines = split(days).iter().zip(calendar(days)).enumerate();
    outlines
        .map(|(index, ((kind, focus, patterns), day))| {
            let place = means.places[index % means.places.len()];
            let exercises = fill(exercises, means, place, patterns, chance);
            Session { day, kind, place, focus, exercises }
        })
        .collect()
}

/// One exercise for each pattern; missing ones are replaced by others.
fn fill<'a>(
    exercises: &'a [Exercise],
    means: &Means,
    place: &str,
    patterns: &[&str],
    chance: &mut Chance,
) -> Vec<&'a Exercise> {
    let mut pool: Vec<&Exercise> =
        exercises.iter().filter(|exercise| means.allow(exercise, place)).collect();
    chance.shuffle(&mut pool);
    let mut chosen: Vec<&Exercise> = Vec::new();
    for pattern in patterns {
        let free = |exercise: &&&'a Exercise| !chosen.iter().any(|old| old.name == exercise.name);
        let fits = pool.iter().filter(free).find(|exercise| exercise.pattern == *pattern);
        let pick = fits.or_else(|| pool.iter().find(free)).copied();
        chosen.extend(pick);
    }
    chosen
}

/// Another exercise of the same pattern that `fits`, if there is one.
pub(super) fn instead<'a>(
    exercises: &'a [Exercise],
    of: &Exercise,
    fits: impl Fn(&Exercise) -> bool,
) -> Option<&'a Exercise> {
    exercises
        .iter()
        .find(|other| other.pattern == of.pattern && other.name != of.name && fits(other))
}
