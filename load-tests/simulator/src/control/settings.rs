//! The body of `POST /control`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::provider::Provider;
use crate::wire::models::ModelName;
use crate::wire::odd::Shape;
use crate::wire::usage::Usage;

use super::action::Action;

/// Settings to add or change; omitted ones stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Remove the present rules first.
    pub replace: bool,
    /// Rules to add after the present ones.
    pub rules: Vec<RuleSpec>,
    /// The latency where no rule sets another.
    pub latency: Option<Latency>,
    /// Faults for calls on which no rule acts.
    pub mix: Option<Mix>,
    /// Texts to count calls by from now on.
    pub markers: Vec<String>,
    /// Models to serve beside the known ones.
    pub models: Vec<ModelName>,
}

/// When a rule acts on a call, and how. Omitted conditions match every call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Its name in the statistics and for release and removal.
    #[serde(default)]
    pub name: Option<String>,
    /// Calls to this provider.
    #[serde(default)]
    pub provider: Option<Provider>,
    /// Calls for this model.
    #[serde(default)]
    pub model: Option<String>,
    /// Calls whose raw body contains this text.
    #[serde(default)]
    pub marker: Option<String>,
    /// Only the calls with these numbers among the matching ones, from 1.
    #[serde(default)]
    pub nth: Option<Nth>,
    /// The highest number of calls to act on.
    #[serde(default)]
    pub times: Option<u64>,
    /// Count `nth` and `times` separately for each of these.
    #[serde(default)]
    pub per: Option<Per>,
    /// The latency of the answer.
    #[serde(default)]
    pub latency: Option<Latency>,
    /// The token counts of the reply.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// The action.
    pub action: Action,
}

/// One number or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Nth {
    /// This one.
    One(u64),
    /// These.
    Many(Vec<u64>),
}

impl Nth {
    /// Whether `number` is among them.
    pub(crate) fn contains(&self, number: u64) -> bool {
        match self {
            Self::One(one) => *one == number,
            Self::Many(many) => many.contains(&number),
        }
    }
}

/// What a rule counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The `seed` of the call's targets, which is one per job.
    Seed,
}

/// The latency of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// Always this many milliseconds.
    FixedMs(u64),
    /// Uniformly between two numbers of milliseconds.
    UniformMs(u64, u64),
    /// Normally distributed.
    NormalMs {
        /// Milliseconds.
        mean: f64,
        /// Milliseconds.
        deviation: f64,
    },
}

impl Latency {
    /// Draws a latency.
    pub(crate) fn draw(self, chance: &mut Chance) -> Duration {
        match self {
            Self::FixedMs(millis) => Duration::from_millis(millis),
            Self::UniformMs(low, high) => {
                let span = Duration::from_millis(high.saturating_sub(low));
                Duration::from_millis(low) + span.mul_f64(chance.unit())
            }
            Self::NormalMs { mean, deviation } => {
                // Twelve uniform numbers have variance 1 (Irwin-Hall).
                let bell = (0..12).map(|_| chance.unit()).sum::<f64>() - 6.0;
                Duration::from_secs_f64((mean + deviation * bell).clamp(0.0, 3.6e6) / 1000.0)
            }
        }
    }
}

/// Faults for a share of the calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// The share of calls that fail, 0 to 100.
    pub percent: f64,
    /// Their kinds; by default 429 500 529 hang cut truncated invalid_json. `odd` is
    /// every odd shape.
    #[serde(default = "default_kinds")]
    pub kinds: Vec<MixKind>,
    /// The seed: equal seeds fail the same calls of the same jobs.
    #[serde(default)]
    pub seed: u64,
}

/// A fault of a mix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MixKind {
    /// A status code or an action without settings, in one word.
    Word(String),
    /// An action with a weight.
    Weighted {
        /// Its weight; the others have 1.
        weight: f64,
        /// The action.
        action: Action,
    },
    /// An action.
    Action(Action),
}

fn default_kinds() -> Vec<MixKind> {
    let words = ["429", "500", "529", "hang", "cut", "truncated", "invalid_json"];
    words.map(|word| MixKind::Word(word.to_owned())).to_vec()
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A share outside 0 to 100.
    #[error("mix.percent is {0}: give a number from 0 to 100")]
    Percent(f64),
    /// A fault that does not exist.
    #[error(
        "mix.kinds has {0:?}: give a status from 400 to 599, an action that needs no settings, or the action as an object"
    )]
    Kind(String),
    /// There are no kinds.
    #[error("mix.kinds is empty: name at least one fault, or set percent to 0")]
    NoKinds,
    /// A status that HTTP does not have.
    #[error("status {0} is no HTTP status: give one from 200 to 599")]
    Status(u16),
    /// A marker that every body contains.
    #[error("an empty marker is in every call: leave it out")]
    EmptyMarker,
}

impl Mix {
    /// The kinds as actions with their weights.
    ///
    /// # Errors
    /// A kind that does not exist, or numbers out of range.
    pub(crate) fn resolve(&self) -> Result<Vec<(f64, Action)>, SettingsError> {
        if !(0.0..=100.0).contains(&self.percent) {
            return Err(SettingsError::Percent(self.percent));
        }
        if self.kinds.is_empty() && self.percent > 0.0 {
            return Err(SettingsError::NoKinds);
        }
        let one = |kind: &MixKind| match kind {
            MixKind::Word(word) => {
                let action =
                    Action::named(word).ok_or_else(|| SettingsError::Kind(word.clone()))?;
                Ok((1.0, action))
            }
            MixKind::Weighted { weight, action } => Ok((weight.max(0.0), action.clone())),
            MixKind::Action(action) => Ok((1.0, action.clone())),
        };
        // One word for every odd shape.
        let is_odd = |kind: &&MixKind| matches!(kind, MixKind::Word(word) if word == "odd");
        let mut kinds = self
            .kinds
            .iter()
            .filter(|kind| !is_odd(kind))
            .map(one)
            .collect::<Result<Vec<_>, _>>()?;
        if self.kinds.iter().any(|kind| is_odd(&kind)) {
            let share = 1.0 / f64::from(u16::try_from(Shape::ALL.len()).unwrap_or(u16::MAX));
            kinds.extend(Shape::ALL.iter().map(|shape| (share, Action::Odd { shape: *shape })));
        }
        Ok(kinds)
    }
}

impl Control {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// The first impossible setting.
    pub(crate) fn validate(&self) -> Result<(), SettingsError> {
        if let Some(mix) = &self.mix {
            mix.resolve()?;
        }
        let texts = self.rules.iter().filter_map(|rule| rule.marker.as_ref()).chain(&self.markers);
        if texts.into_iter().any(String::is_empty) {
            return Err(SettingsError::EmptyMarker);
        }
        for rule in &self.rules {
            let status = match &rule.action {
                Action::Status(error) => error.status,
                Action::ExactBody { status, .. } => *status,
                _ => 200,
            };
            if !(200..600).contains(&status) {
                return Err(SettingsError::Status(status));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_full_body_reads_and_an_unknown_field_does_not() {
        let control: Control = serde_json::from_value(json!({
            "rules": [
                {"marker": "job-1", "nth": [1, 2], "action": {"do": "status", "status": 500}},
                {"provider": "gemini", "times": 1, "per": "seed", "latency": {"uniform_ms": [5, 10]}, "action": {"do": "hang"}}
            ],
            "latency": {"normal_ms": {"mean": 2000, "deviation": 400}},
            "mix": {"percent": 30, "kinds": ["529", {"do": "hang"}, {"weight": 2, "action": {"do": "truncated"}}], "seed": 7}
        }))
        .unwrap();
        assert_eq!(control.rules.len(), 2);
        assert_eq!(control.mix.as_ref().unwrap().resolve().unwrap().len(), 3);
        assert!(control.validate().is_ok());
        assert!(serde_json::from_value::<Control>(json!({"rule": []})).is_err());
    }

    #[test]
    fn impossible_settings_are_refused_with_what_to_do() {
        let with =
            |value| serde_json::from_value::<Control>(value).unwrap().validate().unwrap_err();
        assert_eq!(with(json!({"mix": {"percent": 130}})), SettingsError::Percent(130.0));
        let kind = with(json!({"mix": {"percent": 1, "kinds": ["allergen"]}}));
        assert!(kind.to_string().contains("allergen"), "{kind}");
        let status = with(json!({"rules": [{"action": {"do": "status", "status": 42}}]}));
        assert_eq!(status, SettingsError::Status(42));
        assert_eq!(with(json!({"markers": [""]})), SettingsError::EmptyMarker);
    }

    #[test]
    fn latencies_stay_where_they_should() {
        let mut chance = Chance::new(1);
        let millis: Vec<u128> =
            (0..500).map(|_| Latency::UniformMs(10, 20).draw(&mut chance).as_millis()).collect();
        assert!(millis.iter().all(|ms| (10..20).contains(ms)));
        let bell = Latency::NormalMs { mean: 100.0, deviation: 10.0 };
        let mean: u128 = (0..500).map(|_| bell.draw(&mut chance).as_millis()).sum::<u128>() / 500;
        assert!((95..105).contains(&mean), "{mean}");
    }
}
