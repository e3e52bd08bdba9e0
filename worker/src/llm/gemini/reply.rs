//! Reads a generateContent reply. Thought parts are not text.

use serde_json::Value;

use crate::llm::content::{count, is_there, reason, text_in, word};
use crate::llm::reading::{Spoken, document, verdict};
use crate::llm::{ProviderError, ProviderName, RawReply, Reply, TokenUsage};

/// Reasoning is billed as output and is not part of the candidates.
fn usage(usage: &Value) -> TokenUsage {
    let thoughts = count(&usage["thoughtsTokenCount"]);
    let written = count(&usage["candidatesTokenCount"]);
    let input = count(&usage["promptTokenCount"]);
    // Where the candidates' count is missing, the total tells whether there was a text.
    let all_thought = count(&usage["totalTokenCount"]) == input.saturating_add(thoughts);
    let output = match written {
        0 if !all_thought => 0,
        written => written.saturating_add(thoughts),
    };
    TokenUsage {
        input,
        cached: count(&usage["cachedContentTokenCount"]),
        output,
        reasoning: thoughts,
        ..TokenUsage::default()
    }
}

/// The block reason of a prompt that is not blocked.
pub(super) const BLOCKED_BY_NOTHING: &str = "BLOCK_REASON_UNSPECIFIED";

/// The text of a candidate, whole or a piece of a stream.
pub(super) fn text_of(candidate: &Value) -> String {
    let content = &candidate["content"];
    if is_there(&content["parts"]) { text_in(&content["parts"]) } else { text_in(content) }
}

/// The reply in `raw`.
///
/// # Errors
/// As [`crate::llm::interpret`].
pub fn interpret(raw: &RawReply) -> Result<Reply, ProviderError> {
    let response = document(raw)?;
    let candidate = &response["candidates"][0];
    let blocked = word(&response["promptFeedback"]["blockReason"]);
    let refusal = (candidate.is_null() && !blocked.is_empty()).then_some(blocked);
    verdict(Spoken {
        provider: ProviderName::Gemini,
        model: word(&response["modelVersion"]),
        text: text_of(candidate),
        finish: reason(&candidate["finishReason"]),
        refusal,
        usage: usage(&response["usageMetadata"]),
        request_id: raw.request_id.clone().or(response["responseId"].as_str().map(str::to_owned)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Reply, ProviderError> {
        interpret(&RawReply { status: 200, body: body.to_string().into(), request_id: None })
    }

    fn candidate(parts: Value, finish: &str) -> Value {
        json!({
            "candidates": [{ "content": { "role": "model", "parts": parts }, "finishReason": finish, "index": 0 }],
            "usageMetadata": {
                "promptTokenCount": 1200, "cachedContentTokenCount": 1000,
                "candidatesTokenCount": 600, "thoughtsTokenCount": 300, "totalTokenCount": 2100
            },
            "modelVersion": "gemini-3.5-flash-lite", "responseId": "resp_1"
        })
    }

    #[test]
    fn thoughts_are_no_text_and_are_billed_as_output() {
        let parts = json!([
            { "text": "{\"not\":1}", "thought": true },
            { "text": "{\"a\":" },
            { "text": "1}", "thoughtSignature": "c2ln" },
        ]);
        let reply = read(candidate(parts, "STOP")).unwrap();
        assert_eq!(reply.text, "{\"a\":1}");
        let usage = TokenUsage {
            input: 1200,
            cached: 1000,
            output: 900,
            reasoning: 300,
            written: 3,
            ..TokenUsage::default()
        };
        assert_eq!(reply.usage, usage);
        assert_eq!(reply.request_id.as_deref(), Some("resp_1"));
    }

    #[test]
    fn reasoning_that_used_up_the_cap_is_paid_for() {
        // The count of an empty text is left out.
        let body = json!({
            "candidates": [{ "content": { "role": "model" }, "finishReason": "MAX_TOKENS" }],
            "usageMetadata": {
                "promptTokenCount": 3000, "thoughtsTokenCount": 16096, "totalTokenCount": 19096
            }
        });
        let usage =
            TokenUsage { input: 3000, output: 16096, reasoning: 16096, ..TokenUsage::default() };
        assert_eq!(read(body).unwrap_err(), ProviderError::Truncated { usage });
    }

    #[test]
    fn refused_truncated_empty_and_malformed_are_told_apart() {
        let class = |body: Value| read(body).unwrap_err().class();
        let text = json!([{ "text": "{\"a\":1}" }]);
        for finish in ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "PUP_LIMITED_DISABLED"] {
            assert_eq!(class(candidate(text.clone(), finish)), "refused", "{finish}");
        }
        for finish in ["MAX_TOKENS", "CONTINUATION"] {
            assert_eq!(class(candidate(text.clone(), finish)), "truncated", "{finish}");
        }
        for finish in ["MALFORMED_RESPONSE", "OTHER", "UNEXPECTED_TOOL_CALL"] {
            assert_eq!(class(candidate(text.clone(), finish)), "invalid", "{finish}");
        }
        for finish in ["INVENTED_TOMORROW", "FINISH_REASON_UNSPECIFIED", ""] {
            assert!(read(candidate(text.clone(), finish)).is_ok(), "{finish}: a whole text");
        }
        assert_eq!(class(candidate(json!([]), "STOP")), "empty");
        assert_eq!(class(candidate(json!([{ "text": "Sure!" }]), "STOP")), "invalid");
        assert_eq!(class(json!({ "promptFeedback": { "blockReason": "SAFETY" } })), "refused");
        assert_eq!(class(json!({ "usageMetadata": {} })), "empty");
        assert_eq!(class(json!({ "candidates": [{ "finishReason": "SAFETY" }] })), "refused");
    }
}
