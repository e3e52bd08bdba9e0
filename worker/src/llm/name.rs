//! The providers a plan can come from, with one spelling for settings, SQL,
//! Redis keys, metrics and logs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the services that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// OpenAI, Chat Completions.
    Openai,
    /// Anthropic, Messages.
    Anthropic,
    /// Google Gemini, generateContent.
    Gemini,
    /// Any host that speaks OpenAI's Chat Completions; empty until configured.
    Llama,
}

/// A word that names no provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a provider; known are: openai, anthropic, gemini, llama")]
pub struct UnknownProvider {
    found: String,
}

impl ProviderName {
    /// Every provider, in the default order.
    pub const ALL: [Self; 4] = [Self::Openai, Self::Anthropic, Self::Gemini, Self::Llama];

    /// The one spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Llama => "llama",
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProviderName {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownProvider { found: text.chars().take(40).collect() })
    }
}
