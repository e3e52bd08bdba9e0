//! The violations of a plan.

use std::fmt;
use std::ops::RangeInclusive;

use regimen_common::food::Style;

use crate::plan::training::{Gear, Region};
use crate::plan::words::{Day, Place};

/// The severity of a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A number that is not the sum of its parts; repair fixes it.
    Arithmetic,
    /// The plan does not fit the person.
    Unfit,
    /// The plan must never be saved as active.
    Dangerous,
}

/// One violation of a plan. Places are JSON pointers into it.
#[derive(Debug, Clone, PartialEq)]
pub enum Violation {
    /// A food that this person is allergic to.
    Allergen {
        /// Where it is named.
        at: String,
        /// As the plan names it.
        food: String,
        /// The allergens.
        contains: Vec<String>,
    },
    /// A food that this person does not like.
    Disliked {
        /// Where it is named.
        at: String,
        /// As the plan names it.
        food: String,
    },
    /// A food that the diet forbids.
    Diet {
        /// The diet.
        style: Style,
        /// Where it is named.
        at: String,
        /// As the plan names it.
        food: String,
        /// The forbidden traits.
        contains: Vec<String>,
    },
    /// Text that does not belong in a plan: a link, markup, our own markers.
    Foreign {
        /// Where it stands.
        at: String,
        /// The sign of it.
        what: String,
    },
    /// Words that this person should not read.
    Sensitive {
        /// Where they stand.
        at: String,
        /// The first of them.
        what: String,
    },
    /// A food named only in another language, although it must be checked.
    Untranslated {
        /// Where it is named.
        at: String,
        /// As the plan names it.
        food: String,
    },
    /// A food with impossible nutrient values.
    Impossible {
        /// Where it stands.
        at: String,
        /// As the plan names it.
        food: String,
        /// The impossible value.
        what: &'static str,
    },
    /// A food whose nutrient values contradict the reference.
    Nutrients {
        /// Where it stands.
        at: String,
        /// As the plan names it.
        food: String,
        /// Which values.
        figures: Vec<&'static str>,
    },
    /// The day's calories miss the target.
    Calories {
        /// Target, kcal.
        target: f64,
        /// kcal in the meals.
        found: f64,
    },
    /// A day's macronutrient misses its target.
    Macro {
        /// Which one.
        name: &'static str,
        /// Least allowed, g.
        low: f64,
        /// Most allowed, g; infinite if only too little is wrong.
        high: f64,
        /// g in the meals.
        found: f64,
    },
    /// A number that is not the sum of its parts.
    Sum {
        /// Where it stands.
        at: String,
        /// As stated.
        stated: f64,
        /// As computed.
        counted: f64,
    },
    /// An impossible number.
    OutOfRange {
        /// Where it stands.
        at: String,
        /// The number.
        value: f64,
    },
    /// Too few or too many meals.
    Meals {
        /// The requested number per day.
        wanted: RangeInclusive<u8>,
        /// In the plan.
        found: usize,
    },
    /// Meals spread over more hours than intermittent fasting allows.
    EatingWindow {
        /// From the first to the last meal, hours.
        hours: f64,
        /// Most allowed, hours.
        limit: f64,
    },
    /// Too few or too many training days.
    TrainingDays {
        /// The requested number per week.
        wanted: RangeInclusive<u8>,
        /// In the plan.
        found: usize,
    },
    /// Two sessions on one weekday.
    DayTwice {
        /// Which day.
        day: Day,
    },
    /// A session in a place where this person does not train.
    PlaceUnavailable {
        /// Where it stands.
        at: String,
        /// The place.
        place: Place,
        /// The available places.
        available: Vec<Place>,
    },
    /// An exercise without its equipment.
    EquipmentMissing {
        /// Where it stands.
        at: String,
        /// The exercise.
        exercise: String,
        /// What is missing.
        missing: Vec<Gear>,
        /// Where the session is.
        place: Place,
    },
    /// An exercise that loads an injured part.
    InjuryLoaded {
        /// Where it stands.
        at: String,
        /// The exercise.
        exercise: String,
        /// The parts.
        regions: Vec<Region>,
    },
}

impl Violation {
    /// Its severity.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Allergen { .. } | Self::Foreign { .. } => Severity::Dangerous,
            Self::Disliked { .. }
            | Self::Diet { .. }
            | Self::Sensitive { .. }
            | Self::Untranslated { .. }
            | Self::Impossible { .. }
            | Self::Nutrients { .. }
            | Self::Calories { .. }
            | Self::Macro { .. }
            | Self::OutOfRange { .. }
            | Self::Meals { .. }
            | Self::EatingWindow { .. }
            | Self::TrainingDays { .. }
            | Self::DayTwice { .. }
            | Self::PlaceUnavailable { .. }
            | Self::EquipmentMissing { .. }
            | Self::InjuryLoaded { .. } => Severity::Unfit,
            Self::Sum { .. } => Severity::Arithmetic,
        }
    }

    /// The short name for metrics and events.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Allergen { .. } => "allergen",
            Self::Disliked { .. } => "disliked",
            Self::Diet { .. } => "diet",
            Self::Foreign { .. } => "foreign",
            Self::Sensitive { .. } => "sensitive",
            Self::Untranslated { .. } => "untranslated",
            Self::Impossible { .. } => "impossible",
            Self::Nutrients { .. } => "nutrients",
            Self::Calories { .. } => "calories",
            Self::Macro { .. } => "macro",
            Self::Sum { .. } => "sum",
            Self::OutOfRange { .. } => "out_of_range",
            Self::Meals { .. } => "meals",
            Self::EatingWindow { .. } => "eating_window",
            Self::TrainingDays { .. } => "training_days",
            Self::DayTwice { .. } => "day_twice",
            Self::PlaceUnavailable { .. } => "place",
            Self::EquipmentMissing { .. } => "equipment",
            Self::InjuryLoaded { .. } => "injury",
        }
    }
}

/// What is wrong and what would be right, for the log and for the provider.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allergen { at, food, contains } => {
                let contains = contains.join(", ");
                write!(
                    f,
                    "{at}: {food:?} is or may contain {contains}, which this person must not eat. Replace it; if a version without is meant, say so in its name."
                )
            }
            Self::Disliked { at, food } => {
                write!(f, "{at}: {food:?} is a food this person does not like. Replace it.")
            }
            Self::Diet { style, at, food, contains } => {
                let contains = contains.join(", ");
                write!(
                    f,
                    "{at}: {food:?} is or contains {contains}, which a {} day excludes. Replace it; if a version without is meant, say so in its name.",
                    style.name()
                )
            }
            Self::Foreign { at, what } => {
                write!(
                    f,
                    "{at}: {what:?} does not belong in a plan. Write plain text about the plan only."
                )
            }
            Self::Sensitive { at, what } => {
                write!(
                    f,
                    "{at}: {what:?} counts or withholds food, which this person must not read. Say it without."
                )
            }
            Self::Untranslated { at, food } => {
                write!(f, "{at}: write the English name of {food:?} in brackets behind it.")
            }
            Self::Impossible { at, food, what } => {
                write!(f, "{at}: {food:?} has {what}. Give the figures of this weight of it.")
            }
            Self::Nutrients { at, food, figures } => {
                write!(
                    f,
                    "{at}: {} of {food:?} are not those of this weight of it. Look them up, and change portions so that the day still meets its targets.",
                    figures.join(", ")
                )
            }
            Self::Calories { target, found } => {
                write!(
                    f,
                    "The foods add up to {found:.0} kcal; the day must have {target:.0} kcal. Change portions."
                )
            }
            Self::Macro { name, low, high, found } if high.is_finite() => {
                write!(
                    f,
                    "The foods add up to {found:.0} g of {name}; the day must have {low:.0} to {high:.0} g. Change foods or portions."
                )
            }
            Self::Macro { name, low, found, .. } => {
                write!(
                    f,
                    "The foods add up to {found:.0} g of {name}; the day must have at least {low:.0} g."
                )
            }
            Self::Sum { at, stated, counted } => {
                write!(f, "{at}: says {stated:.1}, but its parts add up to {counted:.1}.")
            }
            Self::OutOfRange { at, value } => {
                write!(f, "{at}: {value} is not possible. Give a realistic number.")
            }
            Self::Meals { wanted, found } => {
                write!(f, "There are {found} meals; this person eats {} a day.", range(wanted))
            }
            Self::EatingWindow { hours, limit } => {
                write!(
                    f,
                    "The meals span {hours:.1} hours; with intermittent fasting they lie within {limit:.0} hours."
                )
            }
            Self::TrainingDays { wanted, found } => {
                write!(
                    f,
                    "There are {found} training days; this person trains on {} days a week.",
                    range(wanted)
                )
            }
            Self::DayTwice { day } => {
                write!(f, "There are two sessions on {}; give each its own day.", day.as_str())
            }
            Self::PlaceUnavailable { at, place, available } => {
                let available: Vec<_> = available.iter().map(|place| place.as_str()).collect();
                write!(
                    f,
                    "{at}: this person does not train at {}; use {}.",
                    place.as_str(),
                    available.join(" or ")
                )
            }
            Self::EquipmentMissing { at, exercise, missing, place } => {
                let missing: Vec<_> = missing.iter().map(|gear| gear.name()).collect();
                write!(
                    f,
                    "{at}: {exercise:?} needs {}, which is not there ({}). Choose another exercise.",
                    missing.join(", "),
                    place.as_str()
                )
            }
            Self::InjuryLoaded { at, exercise, regions } => {
                let regions: Vec<_> = regions.iter().map(|region| region.name()).collect();
                write!(
                    f,
                    "{at}: {exercise:?} loads the {}, which is injured. Choose an exercise that spares it.",
                    regions.join(", ")
                )
            }
        }
    }
}

fn range(range: &RangeInclusive<u8>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{} to {}", range.start(), range.end())
    }
}
