//! Reads a generateContent reply. Thought parts are not text.

use serde::Deserialize;

use crate::providers::{ProviderError, ProviderName, RawReply, Reply, Usage, json_text};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    candidates: Vec<Candidate>,
    #[serde(default)]
    prompt_feedback: Option<PromptFeedback>,
    #[serde(default)]
    usage_metadata: Option<WireUsage>,
    #[serde(default)]
    model_version: Option<String>,
    #[serde(default)]
    response_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
    #[serde(default)]
    thought: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    #[serde(default)]
    block_reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WireUsage {
    prompt_token_count: u64,
    cached_content_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
}

impl WireUsage {
    /// Thoughts are billed as output and are not part of the candidates.
    fn usage(&self) -> Usage {
        Usage {
            input: self.prompt_token_count,
            cached: self.cached_content_token_count,
            cache_write: 0,
            output: self.candidates_token_count.saturating_add(self.thoughts_token_count),
            reasoning: self.thoughts_token_count,
        }
    }
}

/// What a finish reason means for us.
enum Finish {
    Complete,
    Truncated,
    Blocked,
    Broken,
}

fn meaning(finish: &str) -> Finish {
    match finish {
        "STOP" => Finish::Complete,
        "MAX_TOKENS" | "CONTINUATION" => Finish::Truncated,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "ESCALATION"
        | "PUP_LIMITED_DISABLED"
        | "MODEL_ARMOR" => Finish::Blocked,
        // MALFORMED_*, UNEXPECTED_TOOL_CALL, OTHER and what is yet to be invented.
        _ => Finish::Broken,
    }
}

/// The reply in `raw`.
///
/// # Errors
/// As [`crate::providers::interpret`].
pub fn interpret(raw: &RawReply) -> Result<Reply, ProviderError> {
    let response: Response = serde_json::from_str(&raw.body).map_err(|error| {
        ProviderError::Cut { detail: format!("not a generateContent response: {error}") }
    })?;
    let usage = response.usage_metadata.unwrap_or_default().usage();
    let Some(candidate) = response.candidates.into_iter().next() else {
        let blocked = response.prompt_feedback.and_then(|feedback| feedback.block_reason);
        return Err(match blocked {
            Some(reason) => ProviderError::Refused { reason, usage },
            None => ProviderError::Empty { finish: String::new(), usage },
        });
    };
    let finish = candidate.finish_reason.unwrap_or_default();
    match meaning(&finish) {
        Finish::Complete => {}
        Finish::Truncated => return Err(ProviderError::Truncated { usage }),
        Finish::Blocked => return Err(ProviderError::Refused { reason: finish, usage }),
        Finish::Broken => {
            let detail = format!("the model stopped with {finish:?}");
            return Err(ProviderError::Invalid { detail, usage });
        }
    }
    let parts = candidate.content.map(|content| content.parts).unwrap_or_default();
    let text: String =
        parts.iter().filter(|part| !part.thought).map(|part| part.text.as_str()).collect();
    let text = json_text(&text, &finish, usage)?;
    Ok(Reply {
        provider: ProviderName::Gemini,
        model: response.model_version.unwrap_or_default(),
        text,
        finish,
        usage,
        request_id: raw.request_id.clone().or(response.response_id),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: Value) -> Result<Reply, ProviderError> {
        interpret(&RawReply { status: 200, body: body.to_string(), request_id: None })
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
        let usage =
            Usage { input: 1200, cached: 1000, cache_write: 0, output: 900, reasoning: 300 };
        assert_eq!(reply.usage, usage);
        assert_eq!(reply.request_id.as_deref(), Some("resp_1"));
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
        for finish in ["MALFORMED_RESPONSE", "OTHER", "INVENTED_TOMORROW"] {
            assert_eq!(class(candidate(text.clone(), finish)), "invalid", "{finish}");
        }
        assert_eq!(class(candidate(json!([]), "STOP")), "empty");
        assert_eq!(class(candidate(json!([{ "text": "Sure!" }]), "STOP")), "invalid");
        assert_eq!(class(json!({ "promptFeedback": { "blockReason": "SAFETY" } })), "refused");
        assert_eq!(class(json!({ "usageMetadata": {} })), "empty");
        assert_eq!(class(json!({ "candidates": [{ "finishReason": "SAFETY" }] })), "refused");
    }
}
