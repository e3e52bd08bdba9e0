//! The simulated providers and their wire formats.

use serde::{Deserialize, Serialize};

/// A provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// OpenAI, with Chat Completions and Responses.
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini, generateContent.
    Gemini,
    /// An OpenAI-compatible host.
    Llama,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 4] = [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Llama];

    /// Its name in the control API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Llama => "llama",
        }
    }
}

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Api {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Gemini generateContent and streamGenerateContent.
    Generate,
    /// Chat Completions of an OpenAI-compatible host.
    LlamaChat,
}

impl Api {
    /// The provider of the format.
    pub(crate) fn provider(self) -> Provider {
        match self {
            Self::Chat | Self::Responses => Provider::OpenAi,
            Self::Messages => Provider::Anthropic,
            Self::Generate => Provider::Gemini,
            Self::LlamaChat => Provider::Llama,
        }
    }
}
