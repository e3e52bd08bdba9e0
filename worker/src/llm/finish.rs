//! Finish reasons of all hosts. Only known reasons other than a normal end
//! count as such, because new words for a normal end appear every few months
//! and a complete text is complete.

/// The meaning of a finish reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// Done, or an unknown word: the text decides.
    Done,
    /// The cap on output tokens, or the model's window, was reached.
    Truncated,
    /// A filter or the model itself withheld the reply.
    Refused,
    /// The host failed in the middle.
    Failed,
    /// The model's output was invalid.
    Broken,
}

impl Finish {
    /// The meaning of `reason`.
    pub fn of(reason: &str) -> Self {
        let word = reason.to_ascii_lowercase();
        match word.as_str() {
            "continuation" | "incomplete" => return Self::Truncated,
            "error"
            | "failed"
            | "abort"
            | "aborted"
            | "cancelled"
            | "timeout"
            | "insufficient_system_resource" => {
                return Self::Failed;
            }
            // Requests offer no tools: some hosts write JSON as a tool call.
            "tool_calls" | "tool_call" | "function_call" | "tool_use" => return Self::Done,
            "other" | "missing_thought_signature" => return Self::Broken,
            "recitation" | "language" | "spii" | "escalation" | "pup_limited_disabled" => {
                return Self::Refused;
            }
            _ => {}
        }
        let has = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
        if has(&["length", "max_tok", "max_output", "max_new", "token_limit", "context_window"]) {
            Self::Truncated
        } else if has(&[
            "content_filter",
            "safety",
            "refus",
            "blocklist",
            "prohibited",
            "armor",
            "sensitive",
            "moderation",
            "blocked",
        ]) {
            Self::Refused
        } else if has(&["malformed", "tool_call", "function_call", "tool_use"]) {
            Self::Broken
        } else {
            Self::Done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_hosts_are_understood_and_new_ones_mean_done() {
        for (meaning, words) in [
            (
                Finish::Done,
                "stop end_turn STOP stop_sequence eos eos_token COMPLETE FINISH_REASON_UNSPECIFIED pause_turn tool_calls function_call tool_use",
            ),
            (
                Finish::Truncated,
                "length max_tokens MAX_TOKENS CONTINUATION model_context_window_exceeded max_output_tokens model_length max_length token_limit incomplete",
            ),
            (
                Finish::Refused,
                "content_filter refusal SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII ESCALATION PUP_LIMITED_DISABLED MODEL_ARMOR IMAGE_SAFETY sensitive",
            ),
            (Finish::Failed, "error ERROR failed insufficient_system_resource"),
            (
                Finish::Broken,
                "MALFORMED_RESPONSE MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL OTHER",
            ),
        ] {
            for word in words.split(' ') {
                assert_eq!(Finish::of(word), meaning, "{word}");
            }
        }
        assert_eq!(Finish::of(""), Finish::Done);
    }
}
