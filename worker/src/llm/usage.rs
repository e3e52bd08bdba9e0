//! Token counts of a call. A provider's counts are accepted within bounds: the
//! input up to what was sent, the output up to what was requested. A missing or
//! larger count is estimated and marked.

use serde::{Deserialize, Serialize};

use super::reading::BYTES_PER_TOKEN;

/// The highest number of tokens that hosts add to a prompt.
const OWN_WORDS: u64 = 2_000;

/// Tokens of one call, counted the same way for every provider. 0 for the whole prompt,
/// or for the output of a reply with text, means unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// The whole prompt, cached and cache-written tokens included.
    pub input: u64,
    /// The part of `input` read from a cache.
    pub cached: u64,
    /// The part of `input` written to a cache.
    pub cache_write: u64,
    /// Everything generated, reasoning included.
    pub output: u64,
    /// The part of `output` spent on reasoning.
    pub reasoning: u64,
    /// The visible text, estimated by its length.
    pub written: u64,
    /// A count was missing or impossible, and is estimated.
    pub estimated: bool,
}

/// The size of a call's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// An upper bound of the size of the prompt with its schema, bytes.
    pub prompt_bytes: usize,
    /// The cap on output tokens.
    pub cap: u32,
}

/// What was wrong with a provider's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// One is missing.
    Missing,
    /// One is larger than what was sent or requested.
    Beyond,
}

impl Doubt {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Beyond => "beyond",
        }
    }
}

impl TokenUsage {
    /// The bounded usage of a call with `asked`, and why it differs from the provider's
    /// counts.
    #[must_use]
    pub fn within(self, asked: Asked) -> (Self, Option<Doubt>) {
        let bytes = u64::try_from(asked.prompt_bytes).unwrap_or(u64::MAX);
        // No token is shorter than a byte.
        let most_input = bytes.saturating_add(OWN_WORDS);
        let prompt = (bytes / u64::try_from(BYTES_PER_TOKEN).unwrap_or(1)).max(1);
        let cap = u64::from(asked.cap);
        let (input, of_input) = believed(self.input, most_input, prompt);
        let text = self.written.saturating_add(self.reasoning).min(cap);
        let (output, of_output) = match self.output {
            0 if text == 0 => (0, None),
            output => believed(output, cap, text),
        };
        let doubt = [of_input, of_output].into_iter().flatten().max_by_key(|doubt| *doubt as u8);
        let bounded = Self {
            input,
            cached: self.cached.min(input),
            cache_write: self.cache_write.min(input),
            output,
            reasoning: self.reasoning.min(output),
            written: self.written,
            estimated: self.estimated || doubt.is_some(),
        };
        (bounded, doubt)
    }
}

fn believed(count: u64, most: u64, estimate: u64) -> (u64, Option<Doubt>) {
    match count {
        0 => (estimate, Some(Doubt::Missing)),
        count if count > most => (estimate, Some(Doubt::Beyond)),
        count => (count, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked { prompt_bytes: 9_000, cap: 8_000 };

    fn within(input: u64, output: u64) -> (u64, u64, Option<Doubt>) {
        let usage = TokenUsage { input, output, written: 1_500, ..TokenUsage::default() };
        let (usage, doubt) = usage.within(ASKED);
        assert_eq!(usage.estimated, doubt.is_some());
        (usage.input, usage.output, doubt)
    }

    #[test]
    fn counts_are_believed_within_what_was_sent_and_asked_for() {
        assert_eq!(within(2_500, 1_700), (2_500, 1_700, None));
        assert_eq!(within(11_000, 8_000), (11_000, 8_000, None));
        assert_eq!(within(0, 1_700), (3_000, 1_700, Some(Doubt::Missing)));
        assert_eq!(within(2_500, 0), (2_500, 1_500, Some(Doubt::Missing)));
        assert_eq!(within(0, 0), (3_000, 1_500, Some(Doubt::Missing)));
        for absurd in [8_001, 2_147_483_647, 18_446_744_073_709_551_581, u64::MAX] {
            assert_eq!(within(2_500, absurd), (2_500, 1_500, Some(Doubt::Beyond)));
            assert_eq!(within(0, absurd), (3_000, 1_500, Some(Doubt::Beyond)));
        }
        assert_eq!(within(u64::MAX, 9), (3_000, 9, Some(Doubt::Beyond)));
    }

    #[test]
    fn reasoning_is_paid_for_although_the_output_is_not_counted() {
        let thought = TokenUsage { input: 100, reasoning: 7_000, ..TokenUsage::default() };
        let (usage, doubt) = thought.within(ASKED);
        assert_eq!((usage.output, usage.reasoning, doubt), (7_000, 7_000, Some(Doubt::Missing)));
        let both = TokenUsage { written: 1_500, ..thought };
        assert_eq!(both.within(ASKED).0.output, 8_000);
    }

    #[test]
    fn parts_are_no_larger_than_the_whole_and_no_text_needs_no_output() {
        let odd = TokenUsage {
            input: 100,
            cached: u64::MAX,
            cache_write: 700,
            output: 5,
            reasoning: 9,
            ..TokenUsage::default()
        };
        let (usage, doubt) = odd.within(ASKED);
        assert_eq!((usage.cached, usage.cache_write, usage.reasoning), (100, 100, 5));
        assert_eq!(doubt, None);
        let silent = TokenUsage { input: 100, ..TokenUsage::default() };
        assert_eq!(silent.within(ASKED), (silent, None));
    }
}
