//! The token counts that a provider would report and bill.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::chance::hash;
use crate::provider::Provider;

use super::Asked;

/// The tokens of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the prompt, including cached ones.
    pub input: u64,
    /// Tokens of `input` read from the provider's cache.
    pub cached: u64,
    /// Tokens of `input` written to the provider's cache.
    pub cache_write: u64,
    /// Tokens of the visible reply.
    pub output: u64,
    /// Reasoning tokens, in addition to `output`.
    pub reasoning: u64,
}

impl Usage {
    /// No tokens.
    pub(crate) const NONE: Self =
        Self { input: 0, cached: 0, cache_write: 0, output: 0, reasoning: 0 };
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.cached += other.cached;
        self.cache_write += other.cache_write;
        self.output += other.output;
        self.reasoning += other.reasoning;
    }
}

/// A token is about four letters of English.
const BYTES_PER_TOKEN: usize = 4;

/// The number of tokens of `text`.
pub(crate) fn tokens(text: &str) -> u64 {
    text.len().div_ceil(BYTES_PER_TOKEN) as u64
}

/// The longest prefix of `text` that fits `cap` tokens.
pub(crate) fn cut_to(text: &str, cap: u64) -> &str {
    let bytes = usize::try_from(cap).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The prompts in the providers' caches.
#[derive(Debug, Default)]
pub(crate) struct PromptCache(Mutex<HashSet<u64>>);

/// Stored instructions before the cache is cleared.
const REMEMBERED: usize = 10_000;

impl PromptCache {
    /// The prompt's part of the usage of `asked`: (input, cached, cache_write).
    ///
    /// OpenAI and Gemini cache long prompts automatically, in steps of 128 tokens from
    /// 1,024; Anthropic caches from 512 tokens on request.
    pub(crate) fn input(&self, provider: Provider, asked: &Asked) -> (u64, u64, u64) {
        let input = tokens(&asked.prompt);
        let stable = tokens(&asked.instructions);
        let (least, asked_for) = match provider {
            Provider::OpenAi | Provider::Gemini => (1024, true),
            Provider::Anthropic => (512, asked.cache_asked),
            Provider::Llama => (u64::MAX, false),
        };
        let size = (stable / 128 * 128).min(input);
        if !asked_for || size < least {
            return (input, 0, 0);
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        let first = seen.insert(hash((provider, &asked.model, &asked.instructions)));
        match (first, provider) {
            (false, _) => (input, size, 0),
            (true, Provider::Anthropic) => (input, 0, size),
            (true, _) => (input, 0, 0),
        }
    }

    /// Clears the cache.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(instructions: usize, cache_asked: bool) -> Asked {
        let instructions = "abcd".repeat(instructions);
        Asked {
            prompt: format!("{instructions}question"),
            instructions,
            cache_asked,
            ..Asked::default()
        }
    }

    #[test]
    fn long_instructions_are_read_from_the_cache_the_second_time() {
        let cache = PromptCache::default();
        let call = asked(1100, false);
        assert_eq!(cache.input(Provider::OpenAi, &call), (1102, 0, 0));
        assert_eq!(cache.input(Provider::OpenAi, &call), (1102, 1024, 0));
        assert_eq!(cache.input(Provider::OpenAi, &asked(900, false)), (902, 0, 0));
    }

    #[test]
    fn anthropic_writes_first_and_only_when_asked() {
        let cache = PromptCache::default();
        assert_eq!(cache.input(Provider::Anthropic, &asked(640, false)), (642, 0, 0));
        assert_eq!(cache.input(Provider::Anthropic, &asked(640, true)), (642, 0, 640));
        assert_eq!(cache.input(Provider::Anthropic, &asked(640, true)), (642, 640, 0));
    }

    #[test]
    fn cutting_keeps_letters_whole() {
        assert_eq!(cut_to("aaaé", 1), "aaa");
        assert_eq!(cut_to("short", 100), "short");
    }
}
