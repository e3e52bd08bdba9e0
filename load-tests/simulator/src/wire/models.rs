//! The models, and what each of them accepts.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::provider::Provider;

/// A model's handling of temperature, top_p and similar fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Accepts any value.
    Free,
    /// Refuses everything but the default (OpenAI: unless effort is none).
    DefaultOnly,
    /// Ignores them.
    Ignored,
}

/// A model that is served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model {
    provider: Provider,
    pub(crate) name: &'static str,
    /// The accepted reasoning efforts or thinking levels; empty: it does not reason.
    pub(crate) efforts: &'static [&'static str],
    /// The default effort.
    pub(crate) default_effort: &'static str,
    pub(crate) sampling: Sampling,
    /// The highest number of output tokens.
    pub(crate) max_output: u64,
}

/// Why a model is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotServed {
    /// It never existed.
    Unknown,
    /// Shut down.
    Retired,
}

/// The number of reasoning tokens at an effort.
pub(crate) fn reasoning_tokens(effort: &str) -> u64 {
    match effort.to_ascii_lowercase().as_str() {
        "minimal" => 32,
        "low" => 128,
        "medium" => 512,
        "high" => 1536,
        "xhigh" => 3072,
        "max" => 6144,
        _ => 0,
    }
}

const GPT: &[&str] = &["none", "low", "medium", "high", "xhigh", "max"];
const CLAUDE: &[&str] = &["low", "medium", "high", "xhigh", "max"];
const THINK: &[&str] = &["MINIMAL", "LOW", "MEDIUM", "HIGH"];
const THINK_MORE: &[&str] = &["LOW", "MEDIUM", "HIGH"];
const META: &[&str] = &["minimal", "low", "medium", "high", "xhigh"];

use Provider::{Anthropic, Gemini, Llama, OpenAi};
use Sampling::{DefaultOnly, Free, Ignored};

const fn model(
    provider: Provider,
    name: &'static str,
    efforts: &'static [&'static str],
    default_effort: &'static str,
    sampling: Sampling,
    max_output: u64,
) -> Model {
    Model { provider, name, efforts, default_effort, sampling, max_output }
}

/// Served at the end of November 2026.
const SERVED: &[Model] = &[
    model(OpenAi, "gpt-4o-mini", &[], "", Free, 16_384),
    model(OpenAi, "gpt-4o-mini-2024-07-18", &[], "", Free, 16_384),
    model(OpenAi, "gpt-4.1-mini", &[], "", Free, 32_768),
    model(
        OpenAi,
        "gpt-5-mini",
        &["minimal", "low", "medium", "high"],
        "medium",
        DefaultOnly,
        128_000,
    ),
    model(
        OpenAi,
        "gpt-5-nano",
        &["minimal", "low", "medium", "high"],
        "medium",
        DefaultOnly,
        128_000,
    ),
    model(OpenAi, "gpt-5.4-nano", GPT, "none", DefaultOnly, 128_000),
    model(OpenAi, "gpt-5.4-mini", GPT, "none", DefaultOnly, 128_000),
    model(OpenAi, "gpt-5.6-luna", GPT, "medium", DefaultOnly, 128_000),
    model(OpenAi, "gpt-6-luna", GPT, "medium", DefaultOnly, 128_000),
    model(OpenAi, "gpt-6.1-terra", GPT, "medium", DefaultOnly, 128_000),
    model(OpenAi, "gpt-6.1-sol", CLAUDE, "medium", DefaultOnly, 128_000),
    model(Anthropic, "claude-haiku-4-5", &[], "", Free, 64_000),
    model(Anthropic, "claude-haiku-4-5-20251001", &[], "", Free, 64_000),
    model(Anthropic, "claude-sonnet-4-5", &[], "", Free, 64_000),
    model(Anthropic, "claude-haiku-5-5", CLAUDE, "medium", DefaultOnly, 128_000),
    model(Anthropic, "claude-sonnet-5-5", CLAUDE, "medium", DefaultOnly, 128_000),
    model(Gemini, "gemini-2.5-flash", &[], "", Free, 65_536),
    model(Gemini, "gemini-3.1-flash-lite", THINK, "MINIMAL", Free, 65_536),
    model(Gemini, "gemini-3.5-flash-lite", THINK, "MINIMAL", Ignored, 65_536),
    model(Gemini, "gemini-3.6-flash", THINK, "MEDIUM", Ignored, 65_536),
    model(Gemini, "gemini-3.8-flash", THINK_MORE, "MEDIUM", Ignored, 65_536),
    model(Gemini, "gemini-4-argon", THINK_MORE, "MEDIUM", Ignored, 65_536),
];

/// Shut down before the end of November 2026.
const RETIRED: &[(Provider, &str)] = &[
    (OpenAi, "gpt-3.5-turbo-0301"),
    (OpenAi, "gpt-4-vision-preview"),
    (OpenAi, "text-davinci-003"),
    (Anthropic, "claude-3-5-sonnet-20240620"),
    (Anthropic, "claude-3-5-sonnet-20241022"),
    (Gemini, "gemini-1.5-flash"),
    (Gemini, "gemini-1.5-pro"),
    (Gemini, "gemini-2.0-flash"),
    (Gemini, "gemini-2.0-flash-lite"),
];

/// A model named by its provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelName {
    /// Who serves it.
    pub provider: Provider,
    /// Its id.
    pub model: String,
}

/// The catalogue and the models that a test has added.
#[derive(Debug, Default)]
pub(crate) struct Models {
    added: RwLock<HashSet<ModelName>>,
}

impl Models {
    /// Adds a model with the traits of its provider's small one.
    pub(crate) fn add(&self, name: ModelName) {
        self.added.write().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// Removes the added models.
    pub(crate) fn clear(&self) {
        self.added.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The model `name` of `provider`. The compatible host serves any name.
    ///
    /// # Errors
    /// There is no such model, or no longer.
    pub(crate) fn find(&self, provider: Provider, name: &str) -> Result<Model, NotServed> {
        let own = |model: &&Model| model.provider == provider && model.name == name;
        if let Some(model) = SERVED.iter().find(own) {
            return Ok(*model);
        }
        let asked = ModelName { provider, model: name.to_owned() };
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner).contains(&asked);
        if added || (provider == Llama && !name.is_empty()) {
            return Ok(small(provider));
        }
        let retired = RETIRED.contains(&(provider, name));
        Err(if retired { NotServed::Retired } else { NotServed::Unknown })
    }

    /// Every id of `provider`, for the list of models.
    pub(crate) fn names(&self, provider: Provider) -> Vec<String> {
        let served = SERVED.iter().filter(|model| model.provider == provider);
        let mut names: Vec<String> = served.map(|model| model.name.to_owned()).collect();
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        names.extend(
            added.iter().filter(|name| name.provider == provider).map(|name| name.model.clone()),
        );
        names
    }
}

/// The traits of a provider's current small model.
fn small(provider: Provider) -> Model {
    match provider {
        OpenAi => model(OpenAi, "", GPT, "medium", DefaultOnly, 128_000),
        Anthropic => model(Anthropic, "", CLAUDE, "medium", DefaultOnly, 128_000),
        Gemini => model(Gemini, "", THINK, "MINIMAL", Ignored, 65_536),
        Llama => model(Llama, "", META, "", Free, 131_072),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn served_retired_unknown_and_added_are_told_apart() {
        let models = Models::default();
        assert_eq!(models.find(OpenAi, "gpt-6-luna").unwrap().default_effort, "medium");
        assert_eq!(models.find(Gemini, "gemini-1.5-flash").unwrap_err(), NotServed::Retired);
        assert_eq!(models.find(OpenAi, "my-model").unwrap_err(), NotServed::Unknown);
        assert!(models.find(Llama, "anything").is_ok());
        models.add(ModelName { provider: OpenAi, model: "my-model".to_owned() });
        assert!(models.find(OpenAi, "my-model").is_ok());
        assert!(models.find(Anthropic, "my-model").is_err());
    }
}
