//! Lengths and weights as people and clients write them, and as they want to
//! read them back. Total: any JSON value gives a measure or a named error.
//!
//! A measure is a number with its unit, in any of the words of `quiz::words`,
//! in one part or several (`5'10"`, `1 m 75`, `11 st 4`), as text or as an
//! object whose members are named by units. A bare number is in cm or kg. An
//! ambiguous form is refused with both readings. The human range is used only
//! when the written unit is impossible (`1.75 cm`).

mod members;
mod reading;

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::words::Unit;
use reading::Reading;

/// Pounds in a kilogram, as the app has always converted them.
const LBS_PER_KG: f64 = 2.204_622_621_8;
/// Centimetres in a foot.
const CM_PER_FOOT: f64 = 30.48;
/// Centimetres in an inch.
const CM_PER_INCH: f64 = 2.54;
/// Pounds in a stone.
const LBS_PER_STONE: f64 = 14.0;

/// The ranges of a measure, in cm or kg.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// The accepted range.
    pub allowed: RangeInclusive<f64>,
    /// The usual range. A second meaning counts only if it is within this one.
    pub likely: RangeInclusive<f64>,
    /// Accepted forms, for messages.
    pub examples: &'static str,
}

/// Body height. Two numbers without a unit are feet and inches, or metres and
/// centimetres.
pub const HEIGHT: Bounds = Bounds {
    allowed: super::HEIGHT_CM,
    likely: super::HEIGHT_CM,
    examples: r#"{"cm": "175"} or {"ft": "5", "inch": "10"}"#,
};
/// Circumference of a neck.
pub const NECK: Bounds = Bounds {
    allowed: super::CIRCUMFERENCE_CM,
    likely: 25.0..=65.0,
    examples: r#"{"cm": "38"} or {"inch": "15"}"#,
};
/// Circumference of a waist.
pub const WAIST: Bounds = Bounds {
    allowed: super::CIRCUMFERENCE_CM,
    likely: 45.0..=200.0,
    examples: r#"{"cm": "80"} or {"inch": "31.5"}"#,
};
/// Circumference of the hips.
pub const HIP: Bounds = Bounds {
    allowed: super::CIRCUMFERENCE_CM,
    likely: 60.0..=220.0,
    examples: r#"{"cm": "95"} or {"inch": "37.5"}"#,
};
/// Weight of a body, now or as a goal.
pub const WEIGHT: Bounds = Bounds {
    allowed: super::WEIGHT_KG,
    likely: super::WEIGHT_KG,
    examples: r#"{"kg": "80"} or {"lbs": "176"}"#,
};

/// A length with the unit in which it was entered. Its `Display` is in that unit: `170.0
/// cm` or `5'10"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Length(EnteredLength);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EnteredLength {
    Cm(f64),
    Feet { feet: f64, inches: f64 },
}

impl Length {
    /// A length in centimetres.
    pub fn from_cm(cm: f64) -> Self {
        Self(EnteredLength::Cm(cm))
    }

    fn from_feet(feet: f64, inches: f64) -> Self {
        Self(EnteredLength::Feet { feet, inches })
    }

    /// In centimetres.
    pub fn cm(self) -> f64 {
        match self.0 {
            EnteredLength::Cm(cm) => cm,
            EnteredLength::Feet { feet, inches } => feet * CM_PER_FOOT + inches * CM_PER_INCH,
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EnteredLength::Cm(cm) => write!(f, "{cm:.1} cm"),
            EnteredLength::Feet { feet, inches } => write!(f, "{feet}'{inches}\""),
        }
    }
}

/// A weight with the unit in which it was entered; stones are pounds. Its `Display` is in
/// that unit, with one decimal: `80.0 kg` or `176.4 lbs`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weight(EnteredWeight);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EnteredWeight {
    Kg(f64),
    Lbs(f64),
}

impl Weight {
    /// A weight in kilograms.
    pub fn from_kg(kg: f64) -> Self {
        Self(EnteredWeight::Kg(kg))
    }

    fn from_lbs(lbs: f64) -> Self {
        Self(EnteredWeight::Lbs(lbs))
    }

    /// Whether it was entered in pounds or stones.
    pub fn is_imperial(self) -> bool {
        matches!(self.0, EnteredWeight::Lbs(_))
    }

    /// In kilograms.
    pub fn kg(self) -> f64 {
        match self.0 {
            EnteredWeight::Kg(kg) => kg,
            EnteredWeight::Lbs(lbs) => lbs / LBS_PER_KG,
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EnteredWeight::Kg(kg) => write!(f, "{kg:.1} kg"),
            EnteredWeight::Lbs(lbs) => write!(f, "{lbs:.1} lbs"),
        }
    }
}

/// Why a value is not a measure, and in which member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasureProblem {
    /// The member with the error, by the name that was sent; none means the value as a
    /// whole.
    pub member: Option<String>,
    /// The error.
    pub error: MeasureError,
}

/// Why a value is not a measure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// Nothing was entered.
    #[error("is missing")]
    Missing,
    /// Not a number, or not in a known unit.
    #[error("is not a number in a unit we know")]
    NotANumber,
    /// A member with an unknown name.
    #[error("is not a unit we know")]
    UnknownMember,
    /// Units that do not go together, such as 5 feet and 20 inches.
    #[error("does not go together with the rest of it")]
    Mixed,
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// Too large to be converted.
    #[error("is far too large")]
    TooLarge,
    /// Outside the human range.
    #[error("is out of range")]
    OutOfRange,
    /// Ambiguous, with an unambiguous form of each reading.
    #[error("can be read as {}", .0.join(" or as "))]
    Ambiguous(Vec<String>),
}

impl MeasureError {
    fn of(self, member: &str) -> MeasureProblem {
        MeasureProblem { member: Some(member.to_owned()), error: self }
    }

    fn of_all(self) -> MeasureProblem {
        MeasureProblem { member: None, error: self }
    }
}

/// Parses a length in any form that the module describes.
///
/// # Errors
/// It is not a length, outside the human range, or ambiguous.
pub fn parse_length(value: &Value, bounds: &Bounds) -> Result<Length, MeasureProblem> {
    Length::parse(value, bounds)
}

/// Parses a weight in any form that the module describes.
///
/// # Errors
/// It is not a weight, outside the human range, or ambiguous.
pub fn parse_weight(value: &Value, bounds: &Bounds) -> Result<Weight, MeasureProblem> {
    Weight::parse(value, bounds)
}

/// What validation needs of lengths and weights.
pub(super) trait Measure: Sized {
    /// The unit of bare numbers and of [`Bounds`].
    const UNIT: Unit;
    /// Its name.
    const UNIT_NAME: &'static str;

    /// From a reading in a unit of this kind.
    fn from_reading(reading: &Reading) -> Self;

    /// The intended amount behind an impossible one, if it is a known mistake of clients,
    /// with an explanation for the person.
    fn mistaken(_value: &Value, _bounds: &Bounds) -> Option<(Self, String)> {
        None
    }

    /// Parses one.
    fn parse(value: &Value, bounds: &Bounds) -> Result<Self, MeasureProblem> {
        let reading = members::read(value, Self::UNIT, bounds)?;
        Ok(Self::from_reading(&reading))
    }
}

impl Measure for Length {
    const UNIT: Unit = Unit::Cm;
    const UNIT_NAME: &'static str = "cm";

    fn from_reading(reading: &Reading) -> Self {
        match reading.feet_and_inches() {
            Some((feet, inches)) => Self::from_feet(feet, inches),
            None => Self::from_cm(reading.amount()),
        }
    }

    /// Inches stored as centimetres, and possibly converted to feet since.
    fn mistaken(value: &Value, bounds: &Bounds) -> Option<(Self, String)> {
        let anything = Bounds { allowed: 0.0..=f64::MAX, ..bounds.clone() };
        let stored = Self::parse(value, &anything).ok()?;
        let inches = super::forgiving::inches_stored_as_cm(stored.cm(), &bounds.allowed)?;
        let meant = Self::from_feet((inches / 12.0).floor(), inches % 12.0);
        let text = format!(
            "Your height was given as {stored}, which nobody has. It was taken for {inches} inches \
             ({meant}, {:.0} cm): correct it in your profile if that is wrong.",
            meant.cm()
        );
        Some((meant, text))
    }
}

impl Measure for Weight {
    const UNIT: Unit = Unit::Kg;
    const UNIT_NAME: &'static str = "kg";

    fn from_reading(reading: &Reading) -> Self {
        match reading.pounds() {
            Some(lbs) => Self::from_lbs(lbs),
            None => Self::from_kg(reading.amount()),
        }
    }
}
