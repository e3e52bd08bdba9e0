//! Reads a Chat Completions reply.

use serde_json::Value;

use crate::json::only_object;
use crate::llm::content::{count, is_there, reason, text_in, word};
use crate::llm::reading::{Spoken, document, first_count, verdict};
use crate::llm::{ProviderError, ProviderName, RawReply, Reply, TokenUsage};

/// The counts in a document: in the format's place, or where some hosts put them.
pub(super) fn usage_in(document: &Value) -> &Value {
    let places =
        [&document["usage"], &document["choices"][0]["usage"], &document["x_groq"]["usage"]];
    places.into_iter().find(|usage| is_there(usage)).unwrap_or(&Value::Null)
}

/// Compatible hosts name some counts as other formats do.
fn usage(usage: &Value) -> TokenUsage {
    let (prompt, completion) =
        (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
    let input = first_count([&usage["prompt_tokens"], &usage["input_tokens"]]);
    let written = first_count([&usage["completion_tokens"], &usage["output_tokens"]]);
    let reasoning = first_count([&completion["reasoning_tokens"]]);
    // xAI counts reasoning beside the completion, which its total tells.
    let both = written.saturating_add(reasoning);
    let beside = count(&usage["total_tokens"]) == input.saturating_add(both);
    TokenUsage {
        input,
        cached: first_count([&prompt["cached_tokens"], &usage["prompt_cache_hit_tokens"]]),
        cache_write: first_count([&prompt["cache_write_tokens"]]),
        output: if beside { both } else { written },
        reasoning,
        ..TokenUsage::default()
    }
}

/// The text of a choice, whole or a piece of a stream.
pub(super) fn text_of(choice: &Value) -> String {
    let places = [&choice["delta"]["content"], &choice["message"]["content"], &choice["text"]];
    places.into_iter().map(content_text).find(|text| !text.is_empty()).unwrap_or_default()
}

/// A content that is an object of no known kind is the answer, already parsed.
fn content_text(content: &Value) -> String {
    let part = ["type", "text", "content"].iter().any(|name| !content[*name].is_null());
    match content {
        Value::Object(fields) if !fields.is_empty() && !part => content.to_string(),
        content => text_in(content),
    }
}

/// The model's refusal.
pub(super) fn refusal_of(choice: &Value) -> String {
    let said = |message: &Value| {
        let parts = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let refusals = parts.iter().filter(|part| part["type"] == "refusal");
        let in_parts: String = refusals.map(|part| text_in(&part["refusal"])).collect();
        text_in(&message["refusal"]) + &in_parts
    };
    said(&choice["delta"]) + &said(&choice["message"])
}

/// The fields of a choice, whole or a piece of a stream, beside its text: tool arguments,
/// and reasoning.
pub(super) fn elsewhere_of(choice: &Value) -> [String; 2] {
    let message = if is_there(&choice["delta"]) { &choice["delta"] } else { &choice["message"] };
    let called = [&message["tool_calls"][0]["function"], &message["function_call"]];
    let arguments = called.into_iter().map(|call| content_text(&call["arguments"]));
    let thoughts = ["reasoning_content", "reasoning", "thinking"];
    let thoughts = thoughts.iter().map(|name| text_in(&message[*name]));
    let first = |mut texts: Box<dyn Iterator<Item = String> + '_>| {
        texts.find(|text| !text.is_empty()).unwrap_or_default()
    };
    [first(Box::new(arguments)), first(Box::new(thoughts))]
}

/// The answer of a model without text, if it is complete in a field where hosts put it by
/// mistake.
pub(super) fn misplaced<'a>(text: &str, elsewhere: &'a [String; 2]) -> Option<&'a str> {
    if !text.trim().is_empty() {
        return None;
    }
    elsewhere.iter().find(|text| only_object(text).is_ok()).map(String::as_str)
}

/// The reply in `raw`, from OpenAI or a compatible host.
///
/// # Errors
/// As [`crate::llm::interpret`].
pub fn interpret(provider: ProviderName, raw: &RawReply) -> Result<Reply, ProviderError> {
    let completion = document(raw)?;
    let choice = &completion["choices"][0];
    let (text, elsewhere) = (text_of(choice), elsewhere_of(choice));
    verdict(Spoken {
        provider,
        model: word(&completion["model"]),
        text: misplaced(&text, &elsewhere).unwrap_or(&text).to_owned(),
        finish: reason(&choice["finish_reason"]),
        refusal: Some(refusal_of(choice)),
        usage: usage(usage_in(&completion)),
        request_id: raw.request_id.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        RawReply { status: 200, body: body.into(), request_id: Some("req_1".to_owned()) }
    }

    fn usage_of(text: &str) -> TokenUsage {
        let written = text.len().div_ceil(3) as u64;
        TokenUsage {
            input: 1200,
            cached: 1000,
            cache_write: 50,
            output: 900,
            reasoning: 300,
            written,
            estimated: false,
        }
    }

    #[test]
    fn a_plan_is_read_with_its_usage_and_ids() {
        let reply =
            read(json!({ "role": "assistant", "content": "{\"a\":1}", "refusal": null }), "stop");
        let reply = reply.unwrap();
        assert_eq!((reply.text.as_str(), reply.finish.as_str()), ("{\"a\":1}", "stop"));
        assert_eq!(reply.usage, usage_of("{\"a\":1}"));
        assert_eq!(reply.model, "gpt-6-luna-2026-09-22");
        assert_eq!(reply.request_id.as_deref(), Some("req_1"));
    }

    #[test]
    fn refused_truncated_empty_and_malformed_are_told_apart_and_carry_the_usage() {
        let class = |message: Value, finish: &str| {
            let error = read(message.clone(), finish).unwrap_err();
            let text = message["content"].as_str().unwrap_or_default();
            assert_eq!(error.billed(), crate::llm::error::Billed::Tokens(usage_of(text)));
            error.class()
        };
        assert_eq!(class(json!({ "content": null, "refusal": "I cannot" }), "stop"), "refused");
        assert_eq!(class(json!({ "content": "{" }), "content_filter"), "refused");
        let declined = json!({ "content": [{ "type": "refusal", "refusal": "I cannot" }] });
        assert_eq!(class(declined, "stop"), "refused");
        let thought = json!({ "content": null, "reasoning": "which {days}? I cannot say" });
        assert_eq!(class(thought, "stop"), "empty");
        let called =
            json!({ "content": null, "tool_calls": [{ "function": { "arguments": "{" } }] });
        assert_eq!(class(called, "tool_calls"), "empty");
        assert_eq!(class(json!({ "content": "{\"a\":" }), "length"), "truncated");
        assert_eq!(class(json!({ "content": null }), "length"), "truncated");
        assert_eq!(class(json!({ "content": "  " }), "stop"), "empty");
        assert_eq!(class(json!({ "content": "Here is your plan" }), "stop"), "invalid");
        assert_eq!(class(json!({ "content": "{\"a\":1}" }), "MALFORMED_RESPONSE"), "invalid");
        assert_eq!(class(json!({ "content": "{\"a\":" }), "stop"), "invalid");
    }

    #[test]
    fn a_reply_is_read_whatever_is_odd_beside_its_text() {
        for body in [
            r#"{"choices":[{"message":{"content":"{\"a\":1}","tool_calls":null,"function_call":null,"reasoning":"hm","reasoning_content":"{}"},"finish_reason":"eos_token"}],"usage":null}"#,
            r#"{"choices":[{"message":{"content":[{"type":"thinking","thinking":[]},{"type":"text","text":"{\"a\":1}"}]},"finish_reason":null}],"usage":""}"#,
            r#"{"choices":[{"text":"{\"a\":1}","finish_reason":"stop"}],"error":null,"usage":[1]}"#,
            r#"{"model":7,"choices":[{"message":{"content":{"type":"text","text":"{\"a\":1}"}}}],"usage":{"prompt_tokens":-1}}"#,
            r#"{"choices":[{"message":{"content":null,"reasoning_content":"{\"a\":1}"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"message":{"content":"\n","reasoning":[{"type":"text","text":"{\"a\":1}"}]}}]}"#,
            r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"x","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}]}"#,
            r#"{"choices":[{"message":{"function_call":{"arguments":{"a":1}}},"finish_reason":"function_call"}]}"#,
            r#"{"choices":[{"message":{"content":{"a":1}},"finish_reason":{"type":"stop"}}]}"#,
            "\u{feff}{\"choices\":[{\"delta\":{\"content\":\"{\\\"a\\\":1}\"},\"finish_reason\":\"stop\"},],}",
        ] {
            let reply = interpret(ProviderName::Llama, &raw(body)).unwrap();
            assert_eq!(reply.text, "{\"a\":1}", "{body}");
            assert_eq!((reply.usage.input, reply.usage.output), (0, 0));
        }
    }

    #[test]
    fn reasoning_beside_the_completion_is_paid_for() {
        let output = |total: u64| {
            let usage = json!({
                "prompt_tokens": 10120, "completion_tokens": 1499, "total_tokens": total,
                "completion_tokens_details": { "reasoning_tokens": 2809 }
            });
            super::usage(&usage).output
        };
        assert_eq!(output(14_428), 4_308, "xAI");
        assert_eq!(output(11_619), 1_499, "OpenAI: it is part of the completion");
        assert_eq!(output(0), 1_499);
    }

    #[test]
    fn counts_are_found_where_some_hosts_put_them() {
        for place in [r#""usage":{}"#, r#""x_groq":{"usage":{}}"#] {
            let place = place.replace("{}}", "USAGE}").replace("{}", "USAGE");
            let place = place.replace("USAGE", r#"{"prompt_tokens":9,"completion_tokens":5}"#);
            let body = format!(r#"{{"choices":[{{"message":{{"content":"{{}}"}}}}],{place}}}"#);
            let usage = interpret(ProviderName::Llama, &raw(&body)).unwrap().usage;
            assert_eq!((usage.input, usage.output), (9, 5), "{body}");
        }
        let in_choice = r#"{"choices":[{"text":"{}","usage":{"prompt_tokens":9}}],"usage":null}"#;
        assert_eq!(interpret(ProviderName::Llama, &raw(in_choice)).unwrap().usage.input, 9);
    }

    #[test]
    fn a_body_of_another_shape_is_named_but_no_panic() {
        let class = |body: &str| interpret(ProviderName::Llama, &raw(body)).unwrap_err().class();
        assert_eq!(class("<html>"), "cut");
        assert_eq!(class("[]"), "empty");
        assert_eq!(class("{}"), "empty");
        assert_eq!(class(r#"{"choices":[]}"#), "empty");
        assert_eq!(class(r#"{"choices":null,"error":{"code":429}}"#), "rate_limited");
        assert_eq!(
            class(r#"{"choices":[{"finish_reason":"error","message":{"content":"{"}}]}"#),
            "unavailable"
        );
        assert_eq!(class(r#"{"choices":[{"message":{"content":"{\"a\":"}}]}"#), "cut");
    }
}
