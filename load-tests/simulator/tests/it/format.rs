//! One way to speak all formats, for tests that hold for each of them.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::{Lab, chat_body, meal_prompt, meal_schema};

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Chat,
    Responses,
    Anthropic,
    Gemini,
    Llama,
}

use Format::{Anthropic, Chat, Gemini, Llama, Responses};

pub(crate) const ALL: [Format; 5] = [Chat, Responses, Anthropic, Gemini, Llama];

impl Format {
    /// A good body; whether to stream is said elsewhere at Gemini.
    pub(crate) fn body(self, seed: &str, stream: bool) -> Value {
        let mut body = match self {
            Chat | Llama => chat_body(seed),
            Responses => json!({
                "model": "gpt-6-luna", "instructions": "You write plans.", "input": meal_prompt(seed),
                "max_output_tokens": 16000, "reasoning": {"effort": "low"}, "store": false,
                "text": {"format": {"type": "json_schema", "name": "meal_plan", "strict": true, "schema": meal_schema()}},
            }),
            Anthropic => json!({
                "model": "claude-haiku-5-5", "max_tokens": 16000, "system": "You write plans.",
                "messages": [{"role": "user", "content": meal_prompt(seed)}],
                "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": meal_schema()}},
            }),
            Gemini => json!({
                "systemInstruction": {"parts": [{"text": "You write plans."}]},
                "contents": [{"role": "user", "parts": [{"text": meal_prompt(seed)}]}],
                "generationConfig": {
                    "maxOutputTokens": 16000, "responseMimeType": "application/json",
                    "responseJsonSchema": meal_schema(), "thinkingConfig": {"thinkingLevel": "LOW"},
                },
            }),
        };
        if self == Llama {
            body["model"] = json!("llama-3.3-70b");
        }
        if stream && self != Gemini {
            body["stream"] = json!(true);
        }
        body
    }

    /// A request with `body`, with a key and whatever else is asked for.
    pub(crate) fn request(self, lab: &Lab, body: &Value, stream: bool) -> RequestBuilder {
        let path = match (self, stream) {
            (Chat, _) => "/v1/chat/completions",
            (Llama, _) => "/llama/v1/chat/completions",
            (Responses, _) => "/v1/responses",
            (Anthropic, _) => "/v1/messages",
            (Gemini, false) => "/v1/models/gemini-3.5-flash-lite:generateContent",
            (Gemini, true) => "/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent?alt=sse",
        };
        let request = lab.client.post(lab.url(path)).json(body);
        match self {
            Chat | Responses | Llama => request.bearer_auth("sk-test"),
            Anthropic => {
                request.header("x-api-key", "sk-ant").header("anthropic-version", "2026-10-21")
            }
            Gemini => request.header("x-goog-api-key", "AQ.test"),
        }
    }

    /// A good request.
    pub(crate) fn good(self, lab: &Lab, seed: &str, stream: bool) -> RequestBuilder {
        self.request(lab, &self.body(seed, stream), stream)
    }

    /// The model's text in a whole reply.
    pub(crate) fn text(self, reply: &Value) -> String {
        let texts = |list: &Value, kind: &str| -> String {
            let of_kind = list.as_array().into_iter().flatten().filter(|part| part["type"] == kind);
            of_kind.filter_map(|part| part["text"].as_str()).collect()
        };
        match self {
            Chat | Llama => {
                reply["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
            }
            Responses => {
                let items = reply["output"].as_array().into_iter().flatten();
                items.map(|item| texts(&item["content"], "output_text")).collect()
            }
            Anthropic => texts(&reply["content"], "text"),
            Gemini => {
                let parts = reply["candidates"][0]["content"]["parts"].as_array();
                parts.into_iter().flatten().filter_map(|part| part["text"].as_str()).collect()
            }
        }
    }

    /// Why the model stopped, in the format's words.
    pub(crate) fn stop(self, reply: &Value) -> String {
        let words = match self {
            Chat | Llama => &reply["choices"][0]["finish_reason"],
            Responses => match &reply["incomplete_details"]["reason"] {
                Value::Null => &reply["status"],
                reason => reason,
            },
            Anthropic => &reply["stop_reason"],
            Gemini => match &reply["promptFeedback"]["blockReason"] {
                Value::Null => &reply["candidates"][0]["finishReason"],
                reason => reason,
            },
        };
        words.as_str().unwrap_or_default().to_owned()
    }

    /// The text of a stream, and whether it came to its proper end.
    pub(crate) fn streamed(self, stream: &str) -> (String, bool) {
        let events = events(stream);
        let text = events.iter().filter_map(|event| {
            let piece = match self {
                Chat | Llama => &event["choices"][0]["delta"]["content"],
                Responses if event["type"] == "response.output_text.delta" => &event["delta"],
                Anthropic if event["delta"]["type"] == "text_delta" => &event["delta"]["text"],
                Gemini => &event["candidates"][0]["content"]["parts"][0]["text"],
                _ => &Value::Null,
            };
            piece.as_str()
        });
        let ended = match self {
            Chat | Llama => stream.ends_with("data: [DONE]\n\n"),
            Responses => events.iter().any(|event| event["type"] == "response.completed"),
            Anthropic => events.iter().any(|event| event["type"] == "message_stop"),
            Gemini => events.iter().any(|event| event["candidates"][0]["finishReason"].is_string()),
        };
        (text.collect(), ended)
    }

    /// The error in a body or event: its kind as callers branch on it.
    pub(crate) fn error_kind(self, body: &Value) -> String {
        let kind = match self {
            Gemini => &body["error"]["status"],
            Responses if body["type"] == "error" => &body["code"],
            _ => &body["error"]["type"],
        };
        kind.as_str().unwrap_or_default().to_owned()
    }
}

/// The JSON of every event of a stream.
pub(crate) fn events(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|line| *line != "[DONE]").map(|line| serde_json::from_str(line).unwrap()).collect()
}
