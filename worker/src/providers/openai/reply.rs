//! Reads a Chat Completions reply.

use serde::Deserialize;

use crate::providers::{ProviderError, ProviderName, RawReply, Reply, Usage, json_text};

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl WireUsage {
    fn usage(&self) -> Usage {
        let prompt = self.prompt_tokens_details.unwrap_or_default();
        let completion = self.completion_tokens_details.unwrap_or_default();
        Usage {
            input: self.prompt_tokens,
            cached: prompt.cached_tokens.unwrap_or_default(),
            cache_write: prompt.cache_write_tokens.unwrap_or_default(),
            output: self.completion_tokens,
            reasoning: completion.reasoning_tokens.unwrap_or_default(),
        }
    }
}

/// The reply in `raw`, from OpenAI or a compatible host.
///
/// # Errors
/// As [`crate::providers::interpret`].
pub fn interpret(provider: ProviderName, raw: &RawReply) -> Result<Reply, ProviderError> {
    let completion: Completion = serde_json::from_str(&raw.body).map_err(|error| {
        ProviderError::Cut { detail: format!("not a chat completion: {error}") }
    })?;
    let usage = completion.usage.unwrap_or_default().usage();
    let Some(choice) = completion.choices.into_iter().next() else {
        return Err(ProviderError::Empty { finish: String::new(), usage });
    };
    let finish = choice.finish_reason.unwrap_or_default();
    if let Some(reason) = choice.message.refusal.filter(|text| !text.is_empty()) {
        let reason = crate::providers::error::cut_short(&reason, 200);
        return Err(ProviderError::Refused { reason, usage });
    }
    match finish.as_str() {
        "content_filter" => return Err(ProviderError::Refused { reason: finish, usage }),
        "length" => return Err(ProviderError::Truncated { usage }),
        _ => {}
    }
    let text = json_text(choice.message.content.as_deref().unwrap_or_default(), &finish, usage)?;
    Ok(Reply {
        provider,
        model: completion.model.unwrap_or_default(),
        text,
        finish,
        usage,
        request_id: raw.request_id.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(message: Value, finish: &str) -> Result<Reply, ProviderError> {
        let body = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_795_000_000,
            "model": "gpt-6-luna-2026-09-22",
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }],
            "usage": {
                "prompt_tokens": 1200, "completion_tokens": 900, "total_tokens": 2100,
                "prompt_tokens_details": { "cached_tokens": 1000, "cache_write_tokens": 50, "audio_tokens": 0 },
                "completion_tokens_details": { "reasoning_tokens": 300 }
            }
        });
        interpret(ProviderName::Openai, &raw(&body.to_string()))
    }

    fn raw(body: &str) -> RawReply {
        RawReply { status: 200, body: body.to_owned(), request_id: Some("req_1".to_owned()) }
    }

    const USAGE: Usage =
        Usage { input: 1200, cached: 1000, cache_write: 50, output: 900, reasoning: 300 };

    #[test]
    fn a_plan_is_read_with_its_usage_and_ids() {
        let reply =
            read(json!({ "role": "assistant", "content": "{\"a\":1}", "refusal": null }), "stop");
        let reply = reply.unwrap();
        assert_eq!((reply.text.as_str(), reply.finish.as_str()), ("{\"a\":1}", "stop"));
        assert_eq!(reply.usage, USAGE);
        assert_eq!(reply.model, "gpt-6-luna-2026-09-22");
        assert_eq!(reply.request_id.as_deref(), Some("req_1"));
    }

    #[test]
    fn refused_truncated_empty_and_malformed_are_told_apart_and_carry_the_usage() {
        let class = |message: Value, finish: &str| {
            let error = read(message, finish).unwrap_err();
            assert_eq!(error.billed(), crate::providers::error::Billed::Tokens(USAGE));
            error.class()
        };
        assert_eq!(class(json!({ "content": null, "refusal": "I cannot" }), "stop"), "refused");
        assert_eq!(class(json!({ "content": "{" }), "content_filter"), "refused");
        assert_eq!(class(json!({ "content": "{\"a\":" }), "length"), "truncated");
        assert_eq!(class(json!({ "content": null }), "length"), "truncated");
        assert_eq!(class(json!({ "content": "  " }), "stop"), "empty");
        assert_eq!(class(json!({ "content": "Here is your plan" }), "stop"), "invalid");
    }

    #[test]
    fn a_body_of_another_shape_is_cut_or_empty_but_no_panic() {
        let class = |body: &str| interpret(ProviderName::Llama, &raw(body)).unwrap_err().class();
        assert_eq!(class("<html>"), "cut");
        assert_eq!(class("[]"), "empty");
        assert_eq!(class("{}"), "empty");
        assert_eq!(class(r#"{"choices":[]}"#), "empty");
    }
}
