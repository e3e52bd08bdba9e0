//! The exercises of training days.

use super::table::{self, TableError};
use super::targets::Targets;

/// An exercise of the table.
#[derive(Debug, Clone)]
pub(crate) struct Exercise {
    pub(crate) name: &'static str,
    /// strength, core, cardio, plyometric, mobility or balance.
    pub(crate) category: &'static str,
    /// The movement it trains; exercises of one pattern replace each other.
    pub(crate) pattern: &'static str,
    pub(crate) muscles: Vec<&'static str>,
    /// Its equipment in one word, or `none`.
    pub(crate) equipment: &'static str,
    /// gym, home, outdoor.
    pub(crate) places: Vec<&'static str>,
    /// The joints it loads.
    pub(crate) loads: Vec<&'static str>,
    pub(crate) level: &'static str,
    pub(crate) reps: &'static str,
    pub(crate) instructions: &'static str,
}

/// Every exercise of the table.
///
/// # Errors
/// A row is malformed.
pub(crate) fn load() -> Result<Vec<Exercise>, TableError> {
    table::rows("exercises.tsv", include_str!("exercises.tsv"), |row| {
        Ok(Exercise {
            name: row.text()?,
            category: row.text()?,
            pattern: row.text()?,
            muscles: row.list()?,
            equipment: row.text()?,
            places: row.list()?,
            loads: row.list()?,
            level: row.text()?,
            reps: row.text()?,
            instructions: row.text()?,
        })
    })
}

/// Words for sore joints.
const JOINTS: [(&str, &[&str]); 8] = [
    ("knee", &["knee", "acl", "menisc", "patell"]),
    ("hip", &["hip", "groin"]),
    ("ankle", &["ankle", "foot", "feet", "achilles", "plantar", "shin"]),
    ("back", &["back", "spine", "disc", "lumbar", "sciatic", "hernia"]),
    ("shoulder", &["shoulder", "rotator", "clavicle"]),
    ("wrist", &["wrist", "carpal", "hand"]),
    ("elbow", &["elbow", "forearm"]),
    ("neck", &["neck", "cervical"]),
];

/// Words for equipment.
const EQUIPMENT: [(&str, &[&str]); 7] = [
    ("dumbbells", &["dumbbell", "dumbell", "free weight"]),
    ("barbell", &["barbell"]),
    ("kettlebell", &["kettlebell"]),
    ("resistance bands", &["band"]),
    ("pull-up bar", &["pull-up", "pullup", "pull up"]),
    ("jump rope", &["rope"]),
    ("machines", &["machine", "full gym", "gym equipment", "cable"]),
];

/// The person's equipment, places and sore joints.
#[derive(Debug)]
pub(crate) struct Means {
    /// The places for training; never empty.
    pub(crate) places: Vec<&'static str>,
    equipment: Vec<&'static str>,
    gym_only: Vec<&'static str>,
    sore: Vec<&'static str>,
}

impl Means {
    /// Reads the means from `targets`.
    pub(crate) fn new(targets: &Targets) -> Self {
        let mentions = |texts: &[String], marks: &[&str]| {
            texts.iter().any(|text| marks.iter().any(|mark| text.contains(mark)))
        };
        let known = |table: &[(&'static str, &[&str])], texts: &[String]| {
            let hits = table.iter().filter(|(_, marks)| mentions(texts, marks));
            hits.map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let marks: [(&'static str, &[&str]); 3] = [
            ("gym", &["gym", "studio"]),
            ("home", &["home", "house", "apartment"]),
            ("outdoor", &["outdoor", "outside", "park", "street"]),
        ];
        let mut places = known(&marks, &targets.places);
        if places.is_empty() {
            places.push("home");
        }
        // If no equipment is listed and a gym is available, its equipment may be used.
        let gym = places.contains(&"gym") && targets.equipment.is_empty();
        let gym_only = if gym { vec!["machines", "dumbbells", "barbell"] } else { Vec::new() };
        Self {
            places,
            equipment: known(&EQUIPMENT, &targets.equipment),
            gym_only,
            sore: known(&JOINTS, &targets.injuries),
        }
    }

    /// Whether the person can and may do `exercise` at `place`.
    pub(crate) fn allow(&self, exercise: &Exercise, place: &str) -> bool {
        let at_hand = exercise.equipment == "none"
            || self.equipment.contains(&exercise.equipment)
            || (place == "gym" && self.gym_only.contains(&exercise.equipment));
        at_hand && exercise.places.contains(&place) && self.spares(exercise)
    }

    /// Whether `exercise` does not load sore joints.
    pub(crate) fn spares(&self, exercise: &Exercise) -> bool {
        !exercise.loads.iter().any(|joint| self.sore.contains(joint))
    }

    /// The sore joints.
    pub(crate) fn sore(&self) -> &[&'static str] {
        &self.sore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_uses_known_words() {
        let exercises = load().unwrap();
        assert!(exercises.len() >= 60);
        let equipment: Vec<&str> = EQUIPMENT.iter().map(|(name, _)| *name).collect();
        let joints: Vec<&str> = JOINTS.iter().map(|(name, _)| *name).collect();
        for exercise in &exercises {
            let name = exercise.name;
            assert!(
                exercise.equipment == "none" || equipment.contains(&exercise.equipment),
                "{name}"
            );
            assert!(exercise.loads.iter().all(|joint| joints.contains(joint)), "{name}");
            assert!(
                exercise.places.iter().all(|p| ["gym", "home", "outdoor"].contains(p)),
                "{name}"
            );
            assert!(!exercise.muscles.is_empty() && !exercise.instructions.is_empty(), "{name}");
        }
    }

    #[test]
    fn whatever_hurts_something_is_left_everywhere() {
        let sore: Vec<String> = JOINTS.iter().map(|(_, marks)| marks[0].to_owned()).collect();
        let means = Means::new(&Targets { injuries: sore, ..Targets::default() });
        let exercises = load().unwrap();
        for place in ["home", "outdoor", "gym"] {
            let left = exercises.iter().filter(|exercise| means.allow(exercise, place)).count();
            assert!(left >= 6, "{place}: {left}");
        }
    }

    #[test]
    fn equipment_that_is_not_there_is_not_used() {
        let targets = Targets {
            equipment: vec!["resistance bands (light)".to_owned()],
            places: vec!["home".to_owned()],
            ..Targets::default()
        };
        let means = Means::new(&targets);
        for exercise in load().unwrap().iter().filter(|exercise| means.allow(exercise, "home")) {
            assert!(
                ["none", "resistance bands"].contains(&exercise.equipment),
                "{}",
                exercise.name
            );
        }
    }
}
