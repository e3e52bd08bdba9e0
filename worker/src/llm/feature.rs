//! Optional parts of a request. A host that refuses one of these is called once
//! more without it; later calls to the same host and model leave it out.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The highest number of remembered models per host; requests may name any number of
/// them.
const MOST_MODELS: usize = 64;

/// A part of a request that a host may not know. Of several that an error mentions, the
/// first is left out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Feature {
    /// The reply's schema; without it JSON mode is requested, and the schema is put into
    /// the prompt.
    Schema = 1,
    /// JSON mode as a field; without it the prompt alone asks for JSON.
    JsonMode = 2,
    /// The newer name of the output cap.
    CapName = 4,
    /// The reasoning setting.
    Reasoning = 8,
    /// Settings of the stream, such as the usage at its end.
    StreamOptions = 16,
    /// The reply as a stream.
    Stream = 32,
    /// The request not to store the reply. A host that does not know the field is called
    /// without it.
    Storage = 64,
    /// The user's hash.
    UserHash = 128,
    /// The role `developer`; without it `system`.
    DeveloperRole = 256,
}

impl Feature {
    const ALL: [Self; 9] = [
        Self::Schema,
        Self::JsonMode,
        Self::CapName,
        Self::Reasoning,
        Self::StreamOptions,
        Self::Stream,
        Self::Storage,
        Self::UserHash,
        Self::DeveloperRole,
    ];
}

/// Some of the features.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(u16);

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Feature::ALL.iter().filter(|feature| self.has(**feature))).finish()
    }
}

impl Features {
    /// Whether `feature` is among them.
    pub fn has(self, feature: Feature) -> bool {
        self.0 & feature as u16 != 0
    }

    /// These with `feature` added.
    #[must_use]
    pub fn and(self, feature: Feature) -> Self {
        Self(self.0 | feature as u16)
    }

    /// The first of them that is not in `others`.
    pub fn first_but(self, others: Self) -> Option<Feature> {
        Feature::ALL.into_iter().find(|feature| self.has(*feature) && !others.has(*feature))
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Features and the words by which a host's error names them, in lower case.
pub type Names = &'static [(Feature, &'static [&'static str])];

/// The features of `names` that `text` (in lower case) mentions.
pub(super) fn spoken_of(names: Names, text: &str) -> Features {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let stands_alone = |name: &str| {
        text.match_indices(name).any(|(at, _)| {
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let behind = text.get(at + name.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(word) && !behind.is_some_and(word)
        })
    };
    let spoken = names.iter().filter(|(_, names)| names.iter().any(|name| stands_alone(name)));
    spoken.fold(Features::default(), |features, (feature, _)| features.and(*feature))
}

/// The features that a host's models have refused so far.
#[derive(Debug, Default)]
pub struct Refused(Mutex<HashMap<String, Features>>);

impl Refused {
    /// The features to leave out for `model`.
    pub fn of(&self, model: &str) -> Features {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(model).copied().unwrap_or_default()
    }

    /// Remembers that `model` is called without these; false if that was known.
    pub fn remember(&self, model: &str, without: Features) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(model) == Some(&without) {
            return false;
        }
        if known.len() >= MOST_MODELS
            && !known.contains_key(model)
            && let Some(other) = known.keys().next().cloned()
        {
            known.remove(&other);
        }
        known.insert(model.to_owned(), without);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_a_feature_as_a_word_of_its_own() {
        const NAMES: Names = &[
            (Feature::StreamOptions, &["stream_options"]),
            (Feature::Stream, &["stream", "streaming"]),
            (Feature::Schema, &["json_schema"]),
        ];
        let spoken = |text: &str| spoken_of(NAMES, text).first_but(Features::default());
        assert_eq!(spoken("unknown field 'stream_options'"), Some(Feature::StreamOptions));
        assert_eq!(spoken("streaming is off"), Some(Feature::Stream));
        assert_eq!(spoken("response_format.type: json_schema"), Some(Feature::Schema));
        assert_eq!(spoken("the upstream is mainstream"), None);
        let both = spoken_of(NAMES, "json_schema while streaming");
        let schema = Features::default().and(Feature::Schema);
        assert_eq!(both.first_but(schema), Some(Feature::Stream));
        assert_eq!(format!("{both:?}"), "{Schema, Stream}");
    }

    #[test]
    fn what_was_refused_is_remembered_once_and_within_bounds() {
        let refused = Refused::default();
        let without = Features::default().and(Feature::Schema);
        assert!(refused.remember("m", without) && !refused.remember("m", without));
        assert!(refused.of("m").has(Feature::Schema) && !refused.of("m").has(Feature::Stream));
        assert!(refused.of("n").is_empty());
        for n in 0..1_000 {
            refused.remember(&format!("made-up-{n}"), without);
        }
        assert!(refused.0.lock().unwrap().len() <= MOST_MODELS);
    }
}
