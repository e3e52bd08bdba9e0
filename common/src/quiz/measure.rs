//! Lengths and weights as clients write them, and as they want to read them
//! back. Total: any JSON value gives a measure or a named error.
//!
//! Known shapes: `{"cm": "175"}`, `{"ft": "5", "inch": "10"}`,
//! `{"kg": "80.0"}`, `{"lbs": "176.4"}`, bare numbers (cm and kg), and text
//! with a unit: `"175cm"`, `"1.75 m"`, `"5'10\""`, `"80kg"`, `"176 lbs"`.
//! A form that keeps both units (`{"cm": "175", "ft": "", "inch": ""}`) is
//! read in the unit that is filled in, metric first.

use std::fmt;

use serde_json::{Map, Value};

use super::number::{decimal, is_blank, number};

/// Pounds in a kilogram, as the app has always converted them.
const LBS_PER_KG: f64 = 2.204_622_621_8;
/// Centimetres in a foot.
const CM_PER_FOOT: f64 = 30.48;
/// Centimetres in an inch.
const CM_PER_INCH: f64 = 2.54;
/// No amount in any of the units comes near this.
const MAX_AMOUNT: f64 = 1e6;

/// A length, which remembers the unit it was entered in. Its `Display` is in
/// that unit: `170.0 cm` or `5'10"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Length(EnteredLength);

#[derive(Debug, Clone, Copy, PartialEq)]
enum EnteredLength {
    Cm(f64),
    Feet { feet: f64, inches: f64 },
}

impl Length {
    /// A length of so many centimetres.
    pub fn from_cm(cm: f64) -> Self {
        Self(EnteredLength::Cm(cm))
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

/// A weight, which remembers the unit it was entered in. Its `Display` is in
/// that unit, with one decimal: `80.0 kg` or `176.4 lbs`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight(EnteredWeight);

#[derive(Debug, Clone, Copy, PartialEq)]
enum EnteredWeight {
    Kg(f64),
    Lbs(f64),
}

impl Weight {
    /// A weight of so many kilograms.
    pub fn from_kg(kg: f64) -> Self {
        Self(EnteredWeight::Kg(kg))
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

/// Why a value is no measure, and in which member of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasureProblem {
    /// The member at fault (`cm`, `ft`, …); none means the value as a whole.
    pub member: Option<&'static str>,
    /// What is wrong there.
    pub error: MeasureError,
}

/// Why a value is no measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// Nothing was entered.
    #[error("is missing")]
    Missing,
    /// Neither a number nor decimal text, nor one of the units.
    #[error("is not a number in a unit we know")]
    NotANumber,
    /// Less than zero.
    #[error("is negative")]
    Negative,
    /// So large that converting it would leave the finite numbers.
    #[error("is far too large")]
    TooLarge,
}

impl MeasureError {
    fn of(self, member: &'static str) -> MeasureProblem {
        MeasureProblem { member: Some(member), error: self }
    }

    fn of_all(self) -> MeasureProblem {
        MeasureProblem { member: None, error: self }
    }
}

/// Reads a length in any shape the module describes; bare numbers are
/// centimetres.
pub fn parse_length(value: &Value) -> Result<Length, MeasureProblem> {
    match value {
        Value::Object(members) => length_members(members),
        Value::String(text) => length_text(text).map_err(MeasureError::of_all),
        other => amount(other).map(Length::from_cm).map_err(MeasureError::of_all),
    }
}

/// Reads a weight in any shape the module describes; bare numbers are
/// kilograms.
pub fn parse_weight(value: &Value) -> Result<Weight, MeasureProblem> {
    match value {
        Value::Object(members) => weight_members(members),
        Value::String(text) => weight_text(text).map_err(MeasureError::of_all),
        other => amount(other).map(Weight::from_kg).map_err(MeasureError::of_all),
    }
}

fn length_members(members: &Map<String, Value>) -> Result<Length, MeasureProblem> {
    if let Some(cm) = member(members, "cm")? {
        return Ok(Length::from_cm(cm));
    }
    match (member(members, "ft")?, member(members, "inch")?) {
        (None, None) => Err(missing(members, &["cm", "ft", "inch"])),
        (feet, inches) => Ok(Length(EnteredLength::Feet {
            feet: feet.unwrap_or_default(),
            inches: inches.unwrap_or_default(),
        })),
    }
}

fn weight_members(members: &Map<String, Value>) -> Result<Weight, MeasureProblem> {
    if let Some(kg) = member(members, "kg")? {
        return Ok(Weight::from_kg(kg));
    }
    match member(members, "lbs")? {
        Some(lbs) => Ok(Weight(EnteredWeight::Lbs(lbs))),
        None => Err(missing(members, &["kg", "lbs"])),
    }
}

/// The number in a member; none when the member is absent or blank.
fn member(members: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, MeasureProblem> {
    match members.get(name) {
        Some(value) if !is_blank(value) => amount(value).map(Some).map_err(|error| error.of(name)),
        _ => Ok(None),
    }
}

/// A form with nothing in it; names the first field the client shows.
fn missing(members: &Map<String, Value>, names: &[&'static str]) -> MeasureProblem {
    let shown = names.iter().find(|name| members.contains_key(**name));
    MeasureProblem { member: shown.copied(), error: MeasureError::Missing }
}

fn length_text(text: &str) -> Result<Length, MeasureError> {
    let text = text.trim().to_lowercase();
    if let Some((feet, inches)) = text.split_once('\'').or_else(|| text.split_once("ft")) {
        let inches = inches.trim_end_matches(['"', 'i', 'n', 'c', 'h']).trim();
        let inches = if inches.is_empty() { 0.0 } else { amount_text(inches)? };
        return Ok(Length(EnteredLength::Feet { feet: amount_text(feet)?, inches }));
    }
    if let Some(cm) = text.strip_suffix("cm") {
        return amount_text(cm).map(Length::from_cm);
    }
    if let Some(metres) = text.strip_suffix('m') {
        return amount_text(metres).map(|metres| Length::from_cm(metres * 100.0));
    }
    amount_text(&text).map(Length::from_cm)
}

fn weight_text(text: &str) -> Result<Weight, MeasureError> {
    let text = text.trim().to_lowercase();
    if let Some(lbs) = text.strip_suffix("lbs").or_else(|| text.strip_suffix("lb")) {
        return amount_text(lbs).map(|lbs| Weight(EnteredWeight::Lbs(lbs)));
    }
    amount_text(text.strip_suffix("kg").unwrap_or(&text)).map(Weight::from_kg)
}

fn amount(value: &Value) -> Result<f64, MeasureError> {
    if is_blank(value) {
        return Err(MeasureError::Missing);
    }
    number(value).ok_or(MeasureError::NotANumber).and_then(plausible)
}

fn amount_text(text: &str) -> Result<f64, MeasureError> {
    if text.trim().is_empty() {
        return Err(MeasureError::Missing);
    }
    decimal(text).ok_or(MeasureError::NotANumber).and_then(plausible)
}

fn plausible(number: f64) -> Result<f64, MeasureError> {
    if number < 0.0 {
        Err(MeasureError::Negative)
    } else if number > MAX_AMOUNT {
        Err(MeasureError::TooLarge)
    } else {
        Ok(number)
    }
}

/// What lengths and weights have in common for whoever validates them.
pub(super) trait Measure: Sized {
    /// The unit of [`Measure::amount`].
    const UNIT: &'static str;
    /// How to write one, for messages.
    const EXAMPLE: &'static str;
    /// Reads one.
    fn parse(value: &Value) -> Result<Self, MeasureProblem>;
    /// In the metric unit.
    fn amount(&self) -> f64;
    /// The member of an object it was read from.
    fn member(&self) -> &'static str;
}

impl Measure for Length {
    const UNIT: &'static str = "cm";
    const EXAMPLE: &'static str = r#"{"cm": "175"} or {"ft": "5", "inch": "10"}"#;

    fn parse(value: &Value) -> Result<Self, MeasureProblem> {
        parse_length(value)
    }

    fn amount(&self) -> f64 {
        self.cm()
    }

    fn member(&self) -> &'static str {
        match self.0 {
            EnteredLength::Cm(_) => "cm",
            EnteredLength::Feet { .. } => "ft",
        }
    }
}

impl Measure for Weight {
    const UNIT: &'static str = "kg";
    const EXAMPLE: &'static str = r#"{"kg": "80"} or {"lbs": "176"}"#;

    fn parse(value: &Value) -> Result<Self, MeasureProblem> {
        parse_weight(value)
    }

    fn amount(&self) -> f64 {
        self.kg()
    }

    fn member(&self) -> &'static str {
        match self.0 {
            EnteredWeight::Kg(_) => "kg",
            EnteredWeight::Lbs(_) => "lbs",
        }
    }
}
