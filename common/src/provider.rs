//! The names of the AI providers, spelled the same in requests, settings, SQL,
//! Redis keys, metrics and logs.

use serde::{Deserialize, Serialize};

use crate::named::named;

/// The AI providers; `ALL` is the default order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// OpenAI, Chat Completions.
    Openai,
    /// Anthropic, Messages.
    Anthropic,
    /// Google Gemini, generateContent.
    Gemini,
    /// Any host that implements OpenAI's Chat Completions; not configured by default.
    Llama,
}

named!(ProviderName, "provider", {
    Openai => "openai", Anthropic => "anthropic", Gemini => "gemini", Llama => "llama",
});

impl ProviderName {
    /// All names, for messages.
    pub fn list() -> String {
        Self::ALL.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The setting of its key.
    pub fn key_variable(self) -> &'static str {
        match self {
            Self::Openai => "OPENAI_API_KEY",
            Self::Anthropic => "ANTHROPIC_API_KEY",
            Self::Gemini => "GEMINI_API_KEY",
            Self::Llama => "LLAMA_API_KEY",
        }
    }

    /// The settings of all keys, for messages.
    pub fn key_variables() -> String {
        Self::ALL.iter().map(|name| name.key_variable()).collect::<Vec<_>>().join(", ")
    }
}
